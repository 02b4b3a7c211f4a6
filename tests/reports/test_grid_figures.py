"""Figures of a comparison: what is drawn, at both widths, and None where there is nothing."""

import pytest
from tests.reports.conftest import METHODS, made

from metaxcr.reports import canvas, grid_figures

WIDTHS = (canvas.WIDE, canvas.NARROW)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["forest", "by_language", "shots", "costs", "matrix"])
def test_all_are_drawn_within_their_frame(name: str, width: int) -> None:
    with canvas.drawing():
        fig = getattr(grid_figures, name)(made(METHODS, [0, 16], matrix=True), width)
        assert fig is not None and fig.get_size_inches()[0] * 72 == pytest.approx(width)
        fig.canvas.draw()
        for text in fig.findobj(lambda artist: hasattr(artist, "get_text") and artist.get_text()):
            box = text.get_window_extent()
            assert box.x0 > -2 and box.x1 < width + 8, text.get_text()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_forest_has_a_point_for_each_difference_at_its_place(width: int) -> None:
    summary = made(METHODS, [0, 16], matrix=False)
    with canvas.drawing():
        fig = grid_figures.forest(summary, width)
    points = [line.get_xdata()[0] for line in fig.axes[0].lines if len(line.get_xdata()) == 1]
    assert points == pytest.approx([100 * row["mean"] for row in summary["differences"]])


def test_many_methods_become_a_table_of_colours() -> None:
    summary = made(METHODS, [0, 16], matrix=False)
    summary["languages"] = [
        {**row, "method": f"{row['method']} {copy}"} for row in summary["languages"] for copy in range(3)
    ]
    with canvas.drawing():
        fig = grid_figures.by_language(summary, canvas.WIDE)
    assert len(fig.axes[0].patches) == len(fig.axes[0].texts) == len(summary["languages"])


def test_nothing_to_draw() -> None:
    summary = made(METHODS, [0], matrix=False)
    assert grid_figures.matrix(summary, 900) is None and grid_figures.shots(summary, 900) is None
    empty = summary | {"differences": [], "languages": [], "averages": []}
    assert (
        grid_figures.forest(empty, 900)
        is grid_figures.by_language(empty, 900)
        is grid_figures.costs(empty, 900)
        is None
    )
