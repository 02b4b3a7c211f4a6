"""Reports as self-contained HTML: templates with inline figures, everything escaped and printable."""

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
    """A figure as inline SVG for a desktop and for a phone, with a plain-text caption."""

    wide: Markup
    narrow: Markup
    caption: str


def picture(key: str, alt: str, caption: str, draw: Callable[[int], Figure | None]) -> Picture | None:
    """Draw a figure at both widths, because a scaled one would be unreadable on a phone.

    ``key`` is unique in the page, ``alt`` is for screen readers; ``draw`` takes the width in pixels and
    returns None if there is nothing to draw.
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
    """Fill in a template of ``templates/``; a name missing in the context is an error."""
    environment = Environment(
        loader=PackageLoader("metaxcr.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style = environment.loader.get_source(environment, "style.css")[0] if environment.loader else ""
    return environment.get_template(template).render(style=Markup(style), **context)


def _printable(value: object) -> object:
    """Make a text of the page printable: a direction override would affect what follows."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
