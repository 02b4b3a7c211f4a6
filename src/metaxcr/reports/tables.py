"""Tables of text with their CSV and LaTeX forms, and how reports write names, numbers and terms."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from metaxcr.config.regimes import REGIMES
from metaxcr.data.registry import task_spec
from metaxcr.errors import UserError

MINUS: Final = "\N{MINUS SIGN}"
LANGUAGES: Final = {
    "ar": "Arabic", "bn": "Bengali", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
    "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French", "hi": "Hindi",
    "ht": "Haitian Creole", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "my": "Burmese", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "qu": "Quechua", "ru": "Russian",
    "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tr": "Turkish", "ur": "Urdu",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
STAGES: Final = {
    "trunk": "trunk", "ctml": "CTML", "clml": "CLML", "finetune": "fine-tuning", "evaluate": "evaluation",
    "dev": "development",
}  # fmt: skip
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
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "−": "$-$", "–": "--", "“": "``", "”": "''", "…": r"\dots{}",
}  # fmt: skip


class ReportTable(NamedTuple):
    """A table of text; ``numeric`` are the indices of the columns that are aligned right."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: Sequence[int] = ()
    key: str = ""  # for file names
    title: str = ""
    note: str = ""


def as_csv(table: ReportTable) -> str:
    """A table as comma-separated values with ASCII minus signs."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.head)
    writer.writerows([[cell.replace(MINUS, "-") for cell in row] for row in table.rows])
    return buffer.getvalue()


def as_latex(table: ReportTable) -> str:
    """A table as a LaTeX ``tabular`` in the style of the package booktabs."""
    columns = "".join("r" if place in table.numeric else "l" for place in range(len(table.head)))
    lines = [f"% {table.title}; \\usepackage{{booktabs}}", f"\\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [_latex_row(table.head), r"\midrule", *map(_latex_row, table.rows)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_row(cells: Sequence[str]) -> str:
    escaped = (re.sub(r"[\\&%$#_{}~^<>−–“”…]", lambda found: _LATEX[found[0]], cell) for cell in cells)
    return " & ".join(escaped) + r" \\"


def language(code: str) -> str:
    """A language's English name, or its code if the name is not known."""
    return LANGUAGES.get(code, code)


def known(value: Any, show: Callable[[Any], str] = str) -> str:
    """A value as text, or a dash if it is None."""
    return "–" if value is None else show(value)


def percent(value: float) -> str:
    """An accuracy in per cent."""
    return f"{100 * value:.1f}"


def points(value: float) -> str:
    """A difference of accuracies in points, with its sign."""
    return f"{100 * value:+.2f}".replace("-", MINUS)


def interval(ends: Sequence[float | None] | None, sign: str = "") -> str:
    """The ends of an interval in per cent or points; empty if there is none."""
    return " to ".join(f"{100 * (end or 0.0):{sign}.1f}" for end in ends) if ends and None not in ends else ""


def p_value(value: float | None) -> str:
    """A p value for a cell."""
    return known(value, lambda p: "< 0.001" if p < 0.001 else f"{p:.3f}")


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
