"""Dots with whiskers in bands, one below the other: how accuracy by language is drawn everywhere."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metaxcr.reporting import canvas

CHARACTER = 7.4  # px
_STEP = 11  # px between two dots of one band
_LEGEND_ROW = 19  # px


class Style(NamedTuple):
    """What one method looks like, everywhere in a figure."""

    title: str
    colour: str
    marker: str


class Dot(NamedTuple):
    """An accuracy with its interval, between 0 and 1; ``line``: it is drawn through the whole band, too."""

    mean: float
    low: float | None
    high: float | None
    line: bool = False


def bands(
    rows: Sequence[tuple[str, Mapping[int, Dot]]], styles: Sequence[Style], width: int
) -> tuple[Figure, Axes, int]:
    """Draw accuracies in per cent, a band for each row; on top is room for the :func:`legend`.

    To be called inside ``canvas.drawing()``.

    Args:
        rows: Name of each band, and its dots by place of their style.
        styles: Of the dots, from top to bottom of a band.
        width: Width in pixels.

    Returns:
        Figure, axes, and the height of a band in the axes' units.
    """
    band = _STEP * len(styles) + 12
    top = legend_height(len(styles), width) + 12
    short, room = canvas.fit([name for name, _ in rows], 0.45 * width, CHARACTER)
    left = 8 + room
    height = band * len(rows)
    fig = canvas.figure(width, top + height + 44)
    axes = canvas.place(fig, left, top, width - left - 12, height)
    for index, (_, dots) in enumerate(rows):
        if index % 2 == 0:
            axes.axhspan(index * band, (index + 1) * band, color=canvas.BAND, linewidth=0, zorder=0)
        _draw(axes, index * band, band, dots, styles)
    axes.set_ylim(height, 0)
    axes.set_yticks([(index + 0.5) * band for index in range(len(rows))], [short[name] for name, _ in rows])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("accuracy, %", fontsize=12)
    return fig, axes, band


def _draw(axes: Axes, top: float, height: float, dots: Mapping[int, Dot], styles: Sequence[Style]) -> None:
    for place, dot in dots.items():
        style, y, mean = styles[place], top + 6 + _STEP * (place + 0.5), 100 * dot.mean
        if dot.low is not None and dot.high is not None:
            axes.plot([100 * dot.low, 100 * dot.high], [y, y], color=style.colour, linewidth=1.6)
        axes.plot(mean, y, marker=style.marker, color=style.colour, markersize=6, linestyle="none")
        if dot.line:
            axes.plot([mean, mean], [top, top + height], color=style.colour, linewidth=0.9, zorder=1)


def _columns(width: int) -> int:
    return 3 if width > 600 else 1


def legend_room(width: int) -> float:
    """Pixels that a name in a legend may take."""
    return width / _columns(width) - 40


def legend_height(entries: int, width: int) -> int:
    """Height of a legend in pixels."""
    return _LEGEND_ROW * -(-entries // _columns(width))


def legend(fig: Figure, axes: Axes, styles: Sequence[Style], width: int) -> None:
    """Put a legend above the axes."""
    handles = [
        axes.plot([], [], color=colour, marker=marker, markersize=6, linewidth=1.6, label=title)[0]
        for title, colour, marker in styles
    ]
    full_width, full_height = fig.get_size_inches() * 72
    anchor = (8 / full_width, 1 - 2 / full_height)
    fig.legend(
        handles=handles, loc="upper left", bbox_to_anchor=anchor, ncols=_columns(width), fontsize=11,
        columnspacing=2.0, labelspacing=0.4,
    )  # fmt: skip
