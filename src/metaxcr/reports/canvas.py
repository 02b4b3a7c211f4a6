"""Drawing: colours by role, pixel layout, accuracy bands, and figures as SVG in the page's colour scheme.

Figures are plain ``Figure`` objects inside an ``rc_context``; pyplot is never imported, so the caller's
backend, open figures and settings are not changed.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, Final, Literal, NamedTuple

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metaxcr.evaluation.statistics import Estimate
from metaxcr.printable import printable, shorten_all

WIDE: Final = 960  # px: the text column of the report on a desktop
NARROW: Final = 358  # px: a phone of 390 px less the page's margins
CHARACTER: Final = 7.4  # px: width of a character of a name
_STEP = 11  # px between two dots of one band
_LEGEND_ROW = 19  # px

# Colours are drawn as their light values and replaced by `var(--role)` in the SVG; the style sheet has both
# schemes. Methods: Okabe and Ito (2008). Sources: Paul Tol's "muted" scheme.
LIGHT: Final = {
    "ink": "#1b1f24", "soft": "#57606a", "line": "#d0d7de", "band": "#f3f5f7", "paper": "#fefefe",
    "none": "#6e7781", "m1": "#0072b2", "m2": "#009e73", "m3": "#d55e00", "m4": "#b05a93", "m5": "#b07d00",
    "s0": "#4477aa", "s1": "#cc6677", "s2": "#228833", "s3": "#ddcc77", "s4": "#882255",
    "s5": "#88ccee", "s6": "#999933", "s7": "#aa4499", "s8": "#44aa99", "s9": "#ee8866",
}  # fmt: skip
INK, SOFT, LINE, BAND, PAPER = (LIGHT[role] for role in ("ink", "soft", "line", "band", "paper"))
SOURCES: Final = tuple(LIGHT[f"s{index}"] for index in range(10))

_VARIABLES: Final = {colour: f"var(--{role})" for role, colour in LIGHT.items()}
_RC: Final = {
    "svg.fonttype": "none", "svg.hashsalt": "metaxcr",
    "text.parse_math": False,  # a task called `a_$b$` is not a formula
    "text.color": INK, "font.size": 12.0, "font.family": ["sans-serif"], "font.sans-serif": ["DejaVu Sans"],
    "axes.labelcolor": INK, "axes.edgecolor": LINE, "axes.facecolor": "none", "figure.facecolor": "none",
    "axes.titlesize": 12.0, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.unicode_minus": False,
    "grid.color": LINE, "grid.linewidth": 0.8,
    "xtick.color": LINE, "ytick.color": LINE, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "legend.frameon": False, "legend.borderaxespad": 0.0, "legend.handletextpad": 0.5,
}  # fmt: skip


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with this package's settings instead of the user's matplotlibrc, and restore theirs after."""
    settings: dict[Any, Any] = {**matplotlib.rcParamsDefault, **_RC}
    for key in ("backend", "backend_fallback"):  # setting them would switch the caller's backend
        settings.pop(key, None)
    with matplotlib.rc_context(settings):
        yield


def css(colour: str) -> str:
    """A colour as the page's variable, so that it follows the light or dark scheme."""
    return _VARIABLES.get(colour, colour)


def figure(width: float, height: float) -> Figure:
    """An empty figure of the given size in CSS pixels (72 to the inch, so that a point is a pixel)."""
    return Figure(figsize=(width / 72, height / 72), dpi=72)


def place(fig: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes by pixels from the upper left corner, so that text has the same room at every width."""
    full_width, full_height = fig.get_size_inches() * 72
    bottom = full_height - top - height
    return fig.add_axes((left / full_width, bottom / full_height, width / full_width, height / full_height))


def label(axes: Axes, x: str, title: str = "", grid: Literal["x", "y", "both"] | None = None) -> None:
    """Label axes in the size of all panels, and draw grid lines."""
    axes.set_xlabel(x, fontsize=11)
    axes.tick_params(labelsize=11)
    if title:
        axes.set_title(title)
    if grid:
        axes.grid(axis=grid)


def fit(names: Sequence[str], room: float, character: float = 7.6) -> tuple[Mapping[str, str], float]:
    """Shorten names to ``room`` pixels of ``character`` pixels each; return short names and the width used.

    Names are the users', of any length: a column as wide as the longest one may be wider than the page.
    """
    short = shorten_all(names, max(6, int(room / character)))
    return short, character * max(map(len, short.values()), default=0)


class Style(NamedTuple):
    """Name and look of one method in a figure."""

    title: str
    colour: str
    marker: str
    line: bool = False  # whether its accuracies are also drawn through the whole band


def bands(
    rows: Sequence[tuple[str, Mapping[int, Estimate]]], styles: Sequence[Style], width: int
) -> tuple[Figure, Axes, int]:
    """Draw accuracies in per cent, a band for each row, with room for the :func:`legend` on top.

    To be called inside :func:`drawing`. Rows have a name and accuracies by index of their style; styles are
    drawn from top to bottom of a band. Returns figure, axes, and the height of a band in the axes' units.
    """
    band = _STEP * len(styles) + 12
    top = legend_height(len(styles), width) + 12
    short, room = fit([name for name, _ in rows], 0.45 * width, CHARACTER)
    left = 8 + room
    height = band * len(rows)
    fig = figure(width, top + height + 44)
    axes = place(fig, left, top, width - left - 12, height)
    for index, (_, dots) in enumerate(rows):
        if index % 2 == 0:
            axes.axhspan(index * band, (index + 1) * band, color=BAND, linewidth=0, zorder=0)
        _draw(axes, index * band, band, dots, styles)
    axes.set_ylim(height, 0)
    axes.set_yticks([(index + 0.5) * band for index in range(len(rows))], [short[name] for name, _ in rows])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("accuracy, %", fontsize=12)
    return fig, axes, band


def _draw(
    axes: Axes, top: float, height: float, dots: Mapping[int, Estimate], styles: Sequence[Style]
) -> None:
    for place, dot in dots.items():
        style, y, mean = styles[place], top + 6 + _STEP * (place + 0.5), 100 * dot.mean
        if dot.low is not None and dot.high is not None:
            axes.plot([100 * dot.low, 100 * dot.high], [y, y], color=style.colour, linewidth=1.6)
        axes.plot(mean, y, marker=style.marker, color=style.colour, markersize=6, linestyle="none")
        if style.line:
            axes.plot([mean, mean], [top, top + height], color=style.colour, linewidth=0.9, zorder=1)


def legend_height(entries: int, width: int) -> int:
    """Height of a legend in pixels."""
    return _LEGEND_ROW * -(-entries // _columns(width))


def legend(fig: Figure, axes: Axes, styles: Sequence[Style], width: int) -> None:
    """Put a legend above the axes, with names as long as there is room for."""
    columns = _columns(width)
    short, _ = fit([style.title for style in styles], width / columns - 40, CHARACTER)
    handles = [
        axes.plot([], [], color=s.colour, marker=s.marker, markersize=6, linewidth=1.6, label=short[s.title])[
            0
        ]
        for s in styles
    ]
    full_width, full_height = fig.get_size_inches() * 72
    anchor = (8 / full_width, 1 - 2 / full_height)
    fig.legend(
        handles=handles, loc="upper left", bbox_to_anchor=anchor, ncols=columns, fontsize=11,
        columnspacing=2.0, labelspacing=0.4,
    )  # fmt: skip


def _columns(width: int) -> int:
    return 3 if width > 600 else 1


class Picture(NamedTuple):
    """A figure as inline SVG for a desktop and for a phone, with a plain-text caption."""

    wide: Markup
    narrow: Markup
    caption: str


def picture(key: str, alt: str, caption: str, draw: Callable[[int], Figure | None]) -> Picture | None:
    """Draw a figure at both widths, because a scaled one would be unreadable on a phone.

    ``key`` is unique in the page, ``alt`` is for screen readers; ``draw`` takes the width in pixels and
    returns None if there is nothing to draw.
    """
    with drawing():
        wide, narrow = draw(WIDE), draw(NARROW)
        if wide is None or narrow is None:
            return None
        texts = (svg(fig, f"{key}-{layout}", escape(alt)) for fig, layout in ((wide, "w"), (narrow, "n")))
        on_desktop, on_phone = (Markup(printable(text)) for text in texts)
        return Picture(on_desktop, on_phone, caption)


def svg(fig: Figure, key: str, alt: str) -> str:
    """Return a figure as one inline ``<svg>`` element without date or metadata, in the page's CSS variables.

    ``key`` prefixes all ids, which would otherwise collide between figures; ``alt`` is for screen readers,
    already escaped for an attribute.
    """
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    fig.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    view = re.search(r'viewBox="0 0 (\S+) (\S+)"', text)
    assert view is not None  # matplotlib always writes one
    head = f'<svg viewBox="{view[0][9:-1]}" role="img" aria-label="{alt}" style="max-width: {view[1]}px">'
    text = head + text[text.index(">") + 1 :]
    text = re.sub(r' id="(?![pm][0-9a-f]{10}")[^"]*"', "", text)  # group names; nothing refers to them
    text = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{key}-", text).replace("xlink:href", "href")
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
    text = re.sub(r"#[0-9a-f]{6}", lambda colour: css(colour[0]), text)
    return re.sub(r"\s*\n\s*", " ", text)
