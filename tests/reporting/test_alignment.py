"""The figure of the alignment check."""

from pathlib import Path
from typing import Any

from metaxcr.reporting import canvas
from metaxcr.reporting.alignment import alignment_png, draw


def rows(languages: int) -> list[dict[str, Any]]:
    codes = ["sw", "qu", "ht", "et", "it"][:languages]
    return [
        {
            "language": code,
            "stack": stack,
            "layer": layer,
            "retrieval": value,
            "ci95": [value - 0.05, value + 0.05],
        }
        for n, code in enumerate(codes)
        for stack in (["encoder", "language"] if code == "sw" else ["encoder"])
        for layer, value in enumerate((0.2, 0.3 + 0.1 * n, 0.6))
    ]


def test_a_panel_a_language_a_line_a_stack_and_the_limit() -> None:
    with canvas.drawing():
        fig = draw(rows(5), 0.5)
    assert [axes.get_title(loc="left") for axes in fig.axes] == [
        "Swahili",
        "Quechua",
        "Haitian Creole",
        "Estonian",
        "Italian",
    ]
    first, second = ([line for line in axes.lines if len(line.get_xdata()) == 3] for axes in fig.axes[:2])
    assert len(first) == 2 and len(second) == 1
    assert [round(float(y), 6) for y in second[0].get_ydata()] == [20, 40, 60]
    assert all(50 in axes.lines[0].get_ydata() for axes in fig.axes)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == [
        "encoder alone",
        "with language adapters",
    ]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = (alignment_png(rows(2), 0.5, tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert one == two and one.startswith(b"\x89PNG")
