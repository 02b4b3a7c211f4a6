"""The page of a comparison, ``report.html``: one self-contained file, made from ``compare.json`` alone."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from metaxcr.errors import UserError
from metaxcr.files import write_atomically
from metaxcr.parse import read_json_object
from metaxcr.records import damaged
from metaxcr.reports import grid_figures
from metaxcr.reports.grid_tables import grid_tables
from metaxcr.reports.run_tables import pairs_table
from metaxcr.reports.wording import GLOSSARY, picture, render

Row = dict[str, Any]
AGAIN = "run 'metaxcr compare' again: finished cells are kept"
Draw = Callable[[Row, int], Figure | None]

# Figure, alternative text, caption, and the table that has its numbers.
FIGURES: dict[str, tuple[Draw, str, str, str]] = {
    "forest": (
        grid_figures.forest,
        "Forest plot of the paired differences from the baseline",
        "Paired differences with 95 % intervals over items x seeds; p values, corrected for their number, "
        "are in the table.",
        "differences",
    ),
    "languages": (
        grid_figures.by_language,
        "Accuracy of each method by language",
        "Whiskers: 95 % intervals. Many methods are tinted by their gain on the baseline instead: blue "
        "above, orange below. The paired differences show whether two methods differ.",
        "languages",
    ),
    "shots": (
        grid_figures.shots,
        "Accuracy over the number of labelled examples in the tested language",
        "Average over languages; whiskers: 95 % intervals.",
        "equivalents",
    ),
    "matrix": (
        grid_figures.matrix,
        "Accuracy by language of the labels, down, and tested language, across",
        "Accuracy, %; tinted by the gain on the baseline of the same tested language.",
        "matrix",
    ),
    "costs": (
        grid_figures.costs,
        "Token-passes of a cell of each method, stage by stage",
        "Token-passes do not depend on the machine (forward 1, backward 2).",
        "costs",
    ),
}


def read_summary(folder: Path) -> Row:
    """Read ``compare.json`` of a comparison.

    Raises:
        UserError: It is missing or damaged.
    """
    path = folder / "compare.json"
    value = read_json_object(path, AGAIN)
    if value.get("schema") != 1:
        raise UserError("not a comparison of this version", str(path), "run 'metaxcr compare' again")
    return value


def write_grid_report(folder: Path) -> Path:
    """Write ``report.html`` into the folder of a comparison, and return its path.

    Raises:
        UserError: The folder is not one of a comparison.
    """
    path = folder / "report.html"
    summary = read_summary(folder)
    with damaged("the comparison", folder / "compare.json", AGAIN):
        text = render(_context(summary), "grid.html.j2")
    write_atomically(path, text)
    return path


def _context(summary: Row) -> dict[str, object]:
    tables = {table.key: table for table in grid_tables(summary)}
    sections = []
    for key, (draw, alt, caption, numbers) in FIGURES.items():
        drawn = picture(key, alt, caption, partial(draw, summary))
        sections.append((key, drawn, tables.pop(numbers, None)))
    first = tables.pop("averages", None)
    return {
        "summary": summary,
        "averages": first,
        "sections": [section for section in sections if section[1] or section[2]],
        "tables": list(tables.values()),
        "demonstration": any(row["task"].startswith("starter") for row in summary["data"]),
        "environments": [pairs_table(environment) for environment in summary["environments"]],
        "glossary": GLOSSARY,
    }
