"""Figure of the alignment check: retrieval of translations by layer, one small panel a language."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from metaxcr.printable import shorten
from metaxcr.reporting import canvas
from metaxcr.reporting.words import language as language_name

_STYLES = {  # stack -> colour, dashes, name
    "encoder": (canvas.LIGHT["none"], "-", "encoder alone"),
    "language": (canvas.LIGHT["m1"], "-", "with language adapters"),
    "task": (canvas.LIGHT["m3"], "--", "with the task adapter, too"),
}
_COLUMNS, _PANEL, _GAP, _LEFT, _TOP = 4, 150, 46, 44, 44  # px


def draw(rows: Sequence[dict[str, Any]], limit: float, width: int = canvas.WIDE) -> Figure:
    """Draw an alignment table; to be called inside ``canvas.drawing()``.

    Args:
        rows: From :func:`metaxcr.evaluation.alignment.alignment_table`.
        limit: Retrieval below which a language counts as weak, drawn as a line.
        width: In pixels.
    """
    languages = list(dict.fromkeys(row["language"] for row in rows))
    stacks = [stack for stack in _STYLES if any(row["stack"] == stack for row in rows)]
    columns = _COLUMNS if width > 600 else 2
    lines = math.ceil(len(languages) / columns)
    side = (width - _LEFT - 12) / columns
    above = _TOP if width > 600 else _TOP + 18 * (len(stacks) - 1)  # the legend of a phone has a row a stack
    fig = canvas.figure(width, above + lines * (_PANEL + _GAP) + 24)
    for n, language in enumerate(languages):
        left, top = _LEFT + n % columns * side, above + 18 + n // columns * (_PANEL + _GAP)
        axes = canvas.place(fig, left, top, side - 16, _PANEL)
        axes.axhline(100 * limit, color=canvas.LINE, linewidth=1)
        for stack in stacks:
            own = [row for row in rows if row["language"] == language and row["stack"] == stack]
            own.sort(key=lambda row: row["layer"])
            layers, colour, dashes = [row["layer"] for row in own], *_STYLES[stack][:2]
            axes.fill_between(
                layers,
                [100 * row["ci95"][0] for row in own],
                [100 * row["ci95"][1] for row in own],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
            axes.plot(layers, [100 * row["retrieval"] for row in own], color=colour, linestyle=dashes)
        axes.set_ylim(0, 102)  # room for the line at 100 %
        axes.set_title(shorten(language_name(language), 20))
        if n % columns:
            axes.set_yticklabels([])
        if n + columns >= len(languages):
            axes.set_xlabel("layer")
    handles = [fig.axes[0].plot([], [], color=c, linestyle=d, label=name)[0] for c, d, name in _looks(stacks)]
    fig.legend(
        handles=handles,
        loc="upper left",
        ncols=len(stacks) if width > 600 else 1,
        bbox_to_anchor=(0.01, 0.995),
    )
    if width > 600:  # a phone has no room for it beside the legend; its caption says it
        fig.text(0.99, 0.99, "translations found, %", ha="right", va="top", color=canvas.SOFT)
    return fig


def _looks(stacks: Sequence[str]) -> list[tuple[str, str, str]]:
    return [_STYLES[stack] for stack in stacks]


def alignment_png(rows: Sequence[dict[str, Any]], limit: float, path: Path) -> Path:
    """Write the figure as PNG; the same rows give the same bytes.

    Args:
        rows: See :func:`draw`.
        limit: See :func:`draw`.
        path: Of the file.
    """
    with canvas.drawing():
        fig = draw(rows, limit)
        path.parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(path, format="png", dpi=90, facecolor="#ffffff", metadata={"Software": None})
    return path
