"""Bands: every dot where its numbers say, whiskers and lines only where they are asked for."""

import numpy as np

from metaxcr.reporting import canvas
from metaxcr.reporting.bands import Dot, Style, bands, legend

STYLES = [Style("one", "#0072b2", "o"), Style("two", "#d55e00", "s")]
ROWS = [
    ("Estonian", {0: Dot(0.5, None, None, line=True), 1: Dot(0.6, 0.55, 0.65)}),
    ("Swahili", {1: Dot(0.7, None, None)}),
]


def test_dots_lie_in_their_bands_from_the_top_in_the_order_of_the_styles() -> None:
    with canvas.drawing():
        fig, axes, band = bands(ROWS, STYLES, canvas.NARROW)
        legend(fig, axes, STYLES, canvas.NARROW)
    lines = [line for line in axes.lines if len(line.get_xdata())]
    dots = [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines if len(line.get_xdata()) == 1]
    assert [x for x, _ in dots] == [50, 60, 70]
    ys = [y for _, y in dots]
    assert 0 < ys[0] < ys[1] < band < ys[2] < 2 * band and ys[2] - band == ys[1]
    others = [tuple(line.get_xdata()) for line in lines if len(line.get_xdata()) == 2]
    assert np.allclose(others, [(50, 50), (55, 65)])  # the line through the band, the whisker
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["Estonian", "Swahili"]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["one", "two"]
