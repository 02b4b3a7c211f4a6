"""Parts of reports: HTML templates with inline figures, names, units, licences and the glossary."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from metaxcr.config.regimes import REGIMES
from metaxcr.data.registry import task_spec
from metaxcr.errors import UserError
from metaxcr.printable import printable
from metaxcr.reports import canvas
from metaxcr.reports.run_records import Record, records


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


LANGUAGES: Final = {
    "ar": "Arabic", "bn": "Bengali", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
    "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French", "hi": "Hindi",
    "ht": "Haitian Creole", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "my": "Burmese", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "qu": "Quechua", "ru": "Russian",
    "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tr": "Turkish", "ur": "Urdu",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip

MINUS: Final = "\N{MINUS SIGN}"

STAGES: Final = {
    "trunk": "trunk",
    "ctml": "CTML",
    "clml": "CLML",
    "finetune": "fine-tuning",
    "evaluate": "evaluation",
    "dev": "development",
}

GLOSSARY: Final = (
    *((name, regime.labels) for name, regime in REGIMES.items()),
    ("k", "Shots in the tested language."),
    ("total labels", "Labelled target examples that a row was allowed to use, in all languages together."),
    ("CTML", "Cross-task meta-learning: adapt on a batch from a sampled English source task, and learn from "
     "how well that carries over to a query batch."),
    ("CLML", "Cross-lingual meta-learning: support in one language, query in another."),
    ("raw, repaired", "The official files as they are, and with known wrong fields put right."),
    ("95 % interval", "Of such intervals, 95 in 100 hold the true value. “items x seeds” counts the chance "
     "in both the test items and the training seeds; “items” only the former."),
    ("mdd", "Minimum detectable difference: a smaller true one would be found less than 8 times in 10. Of an "
     "average: from a fixed number such as chance; of a difference: from zero."),
    ("token-passes", "Tokens through the encoder; a forward pass counts 1, a backward pass 2. The measure of "
     "compute that does not depend on the machine."),
    ("trunk, cold and warm", "The frozen lower layers are computed once (cold) and then read from the cache "
     "(warm)."),
)  # fmt: skip


def language(code: str) -> str:
    """A language's English name, or its code if the name is not known."""
    return LANGUAGES.get(code, code)


def points(value: float) -> str:
    """A difference of accuracies in points, with its sign."""
    return f"{100 * value:+.2f}".replace("-", MINUS)


def percent(value: float) -> str:
    """An accuracy in per cent."""
    return f"{100 * value:.1f}"


def interval(ends: Sequence[float | None], sign: str = "") -> str:
    """The ends of an interval in per cent or points; empty if there is none."""
    return "" if None in ends else " to ".join(f"{100 * (end or 0.0):{sign}.1f}" for end in ends)


def duration(seconds: float) -> str:
    """A time span in readable units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def amount(value: float) -> str:
    """A large count with three figures: 1.23 k, 45.6 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def licences(tasks: Iterable[str]) -> list[dict[str, Any]]:
    """One row a data set: name, licence, citation, address.

    A task that is not declared here (a user's own, on another machine) is listed as such.
    """
    rows = []
    for name in dict.fromkeys(tasks):
        try:
            spec = task_spec(name)
        except UserError:
            rows.append({"task": name, "licence": "not declared here", "citation": "", "url": ""})
            continue
        citation = " ".join(spec.citation.split())
        rows.append({"task": name, "licence": spec.licence, "citation": citation, "url": spec.url})
    return rows


def tasks_of(config: Record) -> list[str]:
    """Ids of the tasks in a run's settings: target, English target data, sources, auxiliary data."""
    target = config.get("target")
    if not isinstance(target, dict):
        return []
    groups = [target, target.get("english"), *records(config.get("sources")), target.get("auxiliary")]
    return [str(group["task"]) for group in groups if isinstance(group, dict) and group.get("task")]
