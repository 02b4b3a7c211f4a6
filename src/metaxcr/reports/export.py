"""Figures and tables of a report as files: SVG, PDF, CSV and LaTeX."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from metaxcr.errors import UserError
from metaxcr.files import disk_error, write_atomically
from metaxcr.reports import canvas, curves, grid_page, run_figures, run_tables
from metaxcr.reports.accuracies import averages, differences, language_points, main_place
from metaxcr.reports.grid_tables import Named, grid_tables
from metaxcr.reports.run_records import read_run
from metaxcr.reports.run_tables import ReportTable

Draw = Callable[[int], Figure | None]
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "−": "$-$", "–": "--", "“": "``", "”": "''", "…": r"\dots{}",
}  # fmt: skip


def export(folder: Path, out: Path) -> list[Path]:
    """Write figures (``.svg``, ``.pdf``) and tables (``.csv``, ``.tex``) of a run or a comparison.

    The same input gives the same bytes.
    """
    figures, tables = _grid(folder) if (folder / "compare.json").is_file() else _run(folder)
    written = [path for key, draw in figures.items() for path in _draw(draw, out, key)]
    for table in tables:
        for suffix, text in ((".csv", as_csv(table)), (".tex", as_latex(table))):
            path = out / f"{table.key}{suffix}"
            write_atomically(path, text)
            written.append(path)
    if not written:
        raise UserError("there is nothing to show yet", str(folder), "finish it first")
    return written


def as_csv(table: Named | ReportTable) -> str:
    """A table as comma-separated values with ASCII minus signs."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.head)
    writer.writerows([[cell.replace("−", "-") for cell in row] for row in table.rows])
    return buffer.getvalue()


def as_latex(table: Named) -> str:
    """A table as a LaTeX ``tabular`` in the style of the package booktabs."""
    columns = "".join("r" if place in table.numeric else "l" for place in range(len(table.head)))
    lines = [f"% {table.title}; \\usepackage{{booktabs}}", f"\\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [_latex_row(table.head), r"\midrule", *map(_latex_row, table.rows)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_row(cells: Sequence[str]) -> str:
    escaped = (re.sub(r"[\\&%$#_{}~^<>−–“”…]", lambda found: _LATEX[found[0]], cell) for cell in cells)
    return " & ".join(escaped) + r" \\"


def _draw(draw: Draw, out: Path, key: str) -> list[Path]:
    """Write a figure at the width of a desktop page, if there is something to draw."""
    paths = []
    with canvas.drawing():
        fig = draw(canvas.WIDE)
        for suffix in (".svg", ".pdf") if fig is not None else ():
            path = out / f"{key}{suffix}"
            dates = {"Date": None} if suffix == ".svg" else {"CreationDate": None}
            try:
                out.mkdir(parents=True, exist_ok=True)
                fig.savefig(path, bbox_inches="tight", metadata=dates)  # type: ignore[union-attr]
            except OSError as error:
                raise disk_error(error, path) from error
            paths.append(path)
    return paths


def _grid(folder: Path) -> tuple[dict[str, Draw], list[Named]]:
    summary = grid_page.read_summary(folder)
    drawn: dict[str, Draw] = {key: partial(draw, summary) for key, (draw, *_) in grid_page.FIGURES.items()}
    return drawn, grid_tables(summary)


def _run(folder: Path) -> tuple[dict[str, Draw], list[Named]]:
    run = read_run(folder)
    means = averages(run.results)
    place = main_place(means, run.target)
    points = language_points(run.results, place) if place else []
    shown = [average for average in means if average.place == place]
    panels = curves.panels(run)
    drawn: dict[str, Draw] = {
        "sampler": lambda width: curves.sampler(run.stage("ctml"), width),
        "learning": lambda width: curves.learning(panels, width),
        "costs": lambda width: run_figures.costs(run.costs, width),
    }
    if points:
        drawn["accuracy"] = lambda width: run_figures.accuracy(points, shown, width)
    found = {
        "averages": ("Averages over languages", run_tables.averages_table(means) if means else None),
        "differences": ("Paired differences", run_tables.differences_table(differences(run.results))),
        "languages": ("Accuracy by language", run_tables.languages_table(points) if points else None),
        "costs": ("Costs", run_tables.costs_table(run.costs)),
        "rows": ("Every row", run_tables.rows_table(run.results)),
    }
    named = [
        Named(key, title, table.head, table.rows, table.numeric)
        for key, (title, table) in found.items()
        if table is not None and table.rows
    ]
    return drawn, named
