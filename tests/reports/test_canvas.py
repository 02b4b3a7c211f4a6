"""Bands: every dot where its numbers say, whiskers and lines only where they are asked for."""

import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from metaxcr.evaluation.statistics import Estimate
from metaxcr.reports import canvas
from metaxcr.reports.canvas import Style, bands, legend, picture


def draw(key="x"):
    with canvas.drawing():
        fig = canvas.figure(300, 200)
        axes = canvas.place(fig, 40, 20, 240, 140)
        axes.plot([0, 1], [0, 1], color=canvas.LIGHT["m1"], marker="o", label="a_$b$ <i>")
        axes.legend()
        return canvas.svg(fig, key, "what it shows")


def test_callers_settings_are_untouched():
    with matplotlib.rc_context({"font.size": 33.0}):
        before = dict(matplotlib.rcParams)
        draw()
        assert dict(matplotlib.rcParams) == before


def test_pyplot_is_not_needed():
    code = "import sys, metaxcr.reports; assert 'matplotlib.pyplot' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_same_bytes_whatever_the_callers_settings():
    first = draw()
    with matplotlib.rc_context({"font.size": 30.0, "svg.hashsalt": "other", "axes.facecolor": "red"}):
        assert draw() == first


def test_colours_follow_the_page_and_text_stays_text():
    text = draw()
    assert "var(--m1)" in text and "var(--ink)" in text
    assert not re.search(r"#[0-9a-f]{6}", text)
    assert "a_$b$ &lt;i&gt;" in text  # neither a formula nor markup
    assert 'role="img" aria-label="what it shows"' in text
    assert 'viewBox="0 0 300 200"' in text and " width=" not in text[: text.index(">")]


def test_ids_are_prefixed_and_every_reference_resolves():
    text = draw("one")
    ids = set(re.findall(r' id="([^"]+)"', text))
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text))
    assert ids and used
    assert all(name.startswith("one-") for name in ids)
    assert {a or b for a, b in used} <= ids
    assert not ids & set(re.findall(r' id="([^"]+)"', draw("two")))


def test_pixels_are_measured_from_the_upper_left_corner():
    with canvas.drawing():
        box = canvas.place(canvas.figure(200, 100), 20, 10, 100, 50).get_position()
    assert (box.x0, box.y1, box.width, box.height) == pytest.approx((0.1, 0.9, 0.5, 0.5))


STYLES = [Style("one", "#0072b2", "o", line=True), Style("two", "#d55e00", "s")]
ROWS = [
    ("Estonian", {0: Estimate(0.5), 1: Estimate(0.6, 0.55, 0.65)}),
    ("Swahili", {1: Estimate(0.7)}),
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


def test_picture_is_drawn_at_both_widths():
    widths = []

    def draw(width):
        widths.append(width)
        fig = canvas.figure(width, 50)
        canvas.place(fig, 10, 10, width - 20, 20).plot([0, 1])
        return fig

    found = picture("key", 'a "quoted" <alt>', "caption", draw)
    assert found is not None and widths == [canvas.WIDE, canvas.NARROW]
    assert 'aria-label="a &quot;quoted&quot; &lt;alt&gt;"' in found.wide
    assert 'viewBox="0 0 960 50"' in found.wide and 'viewBox="0 0 358 50"' in found.narrow


def test_nothing_to_draw_is_no_picture():
    assert picture("key", "alt", "caption", lambda width: None) is None
