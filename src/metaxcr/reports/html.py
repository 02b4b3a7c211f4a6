"""The report's pages: a template filled in, everything inline, everything escaped and printable."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from metaxcr.printable import printable
from metaxcr.reports import canvas


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as inline SVG in two layouts; the style sheet shows the one that fits."""

    wide: Markup
    narrow: Markup
    caption: str


def picture(key: str, alt: str, caption: str, draw: Callable[[int], Figure | None]) -> Picture | None:
    """Draw a figure at both widths.

    Scaling one picture down would make its text unreadable on a phone, so it is drawn twice.
    """
    drawn = []
    with canvas.drawing():
        for layout, width in (("w", canvas.WIDE), ("n", canvas.NARROW)):
            fig = draw(width)
            if fig is None:
                return None
            drawn.append(Markup(printable(canvas.svg(fig, f"{key}-{layout}", escape(alt, quote=True)))))
    return Picture(drawn[0], drawn[1], caption)


def render(context: dict[str, object], template: str = "report.html.j2") -> str:
    """Fill in a page."""
    environment = Environment(
        loader=PackageLoader("metaxcr.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style = environment.loader.get_source(environment, "style.css")[0] if environment.loader else ""
    return environment.get_template(template).render(style=Markup(style), **context)


def _shown(value: object) -> object:
    """Make a value of the page printable: an override of the direction of writing would go on after it."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
