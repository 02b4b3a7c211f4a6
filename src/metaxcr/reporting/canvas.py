"""Where figures are drawn: colours by role, pixel layout, and SVG that follows the page's scheme.

Figures are plain ``Figure`` objects inside an ``rc_context``; pyplot is never imported, so the caller's
backend, open figures and settings stay as they are.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metaxcr.printable import shorten_all

WIDE: Final = 960  # px: the text column of the report on a desktop
NARROW: Final = 358  # px: a phone of 390 px less the page's margins

# Each colour is drawn as its light value and exchanged for `var(--role)` in the SVG; the style sheet has both
# schemes. Methods: Okabe and Ito (2008). Sources: Paul Tol's "muted" scheme.
LIGHT: Final = {
    "ink": "#1b1f24",
    "soft": "#57606a",
    "line": "#d0d7de",
    "band": "#f3f5f7",
    "paper": "#fefefe",
    "none": "#6e7781",
    "m1": "#0072b2",
    "m2": "#009e73",
    "m3": "#d55e00",
    "m4": "#b05a93",
    "m5": "#b07d00",
    "s0": "#4477aa",
    "s1": "#cc6677",
    "s2": "#228833",
    "s3": "#ddcc77",
    "s4": "#882255",
    "s5": "#88ccee",
    "s6": "#999933",
    "s7": "#aa4499",
    "s8": "#44aa99",
    "s9": "#ee8866",
}
INK, SOFT, LINE, BAND, PAPER = (LIGHT[role] for role in ("ink", "soft", "line", "band", "paper"))
SOURCES: Final = tuple(LIGHT[f"s{index}"] for index in range(10))

_VARIABLES: Final = {colour: f"var(--{role})" for role, colour in LIGHT.items()}
_RC: Final = {
    "svg.fonttype": "none",
    "svg.hashsalt": "metaxcr",
    "text.parse_math": False,  # a task called `a_$b$` is not a formula
    "font.size": 12.0,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.titlesize": 12.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.borderaxespad": 0.0,
    "legend.handletextpad": 0.5,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with this package's settings, whatever the user's matplotlibrc says, and restore theirs after."""
    settings: dict[Any, Any] = {**matplotlib.rcParamsDefault, **_RC}
    for key in ("backend", "backend_fallback"):  # setting them would switch the caller's backend
        settings.pop(key, None)
    with matplotlib.rc_context(settings):
        yield


def css(colour: str) -> str:
    """Return a colour as the page's variable, so that it follows the light or dark scheme."""
    return _VARIABLES.get(colour, colour)


def figure(width: float, height: float) -> Figure:
    """Return an empty figure of the given size in CSS pixels (72 to the inch, so that a point is a pixel)."""
    return Figure(figsize=(width / 72, height / 72), dpi=72)


def place(fig: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes by pixels from the upper left corner: text keeps its room at every width."""
    full_width, full_height = fig.get_size_inches() * 72
    bottom = full_height - top - height
    return fig.add_axes((left / full_width, bottom / full_height, width / full_width, height / full_height))


def fit(names: Sequence[str], room: float, character: float = 7.6) -> tuple[Mapping[str, str], float]:
    """Shorten names so that they leave room for what is drawn beside them.

    Names are other people's, of any length: a column as wide as the longest one may be wider than the page.

    Args:
        names: Beside the axes, or in a legend.
        room: Pixels that they may take.
        character: Pixels of a character.

    Returns:
        What to write for each name, and the pixels that the longest of them takes.
    """
    short = shorten_all(names, max(6, int(room / character)))
    return short, character * max(map(len, short.values()), default=0)


def svg(fig: Figure, key: str, alt: str) -> str:
    """Return a figure as inline SVG.

    Args:
        fig: The figure.
        key: Unique in the page; it prefixes all ids, which would otherwise collide between inlined figures.
        alt: What the figure shows, for those who cannot see it (already escaped for an attribute).

    Returns:
        One ``<svg>`` element without width, height, date or metadata; colours are the page's CSS variables.
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
