"""The pages of runs and comparisons, ``report.html``, and their figures and tables as files."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from metaxcr.diagnosis.rules import diagnose
from metaxcr.errors import UserError
from metaxcr.evaluation.alignment import WEAK
from metaxcr.evaluation.results import Place
from metaxcr.files import disk_error, write_atomically
from metaxcr.parse import read_json_object
from metaxcr.printable import printable
from metaxcr.records import Record, damaged
from metaxcr.reports import canvas, curves, grid_figures, run_figures, run_tables
from metaxcr.reports.canvas import Picture, picture
from metaxcr.reports.grid_tables import grid_tables
from metaxcr.reports.run_records import (
    Average,
    LanguagePoint,
    RunRecords,
    averages,
    differences,
    language_points,
    main_place,
    place_of,
    read_run,
)
from metaxcr.reports.tables import GLOSSARY, ReportTable, as_csv, as_latex, language, licences

Draw = Callable[[int], Figure | None]  # width in pixels -> the figure, or None if there is nothing to draw
_AGAIN = "run 'metaxcr compare' again: finished cells are kept"
# Figures of a comparison: how it is drawn, alternative text, caption, and the table that has its numbers.
GRID_FIGURES: dict[str, tuple[Callable[[Record, int], Figure | None], str, str, str]] = {
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


def render(context: Mapping[str, object], template: str = "report.html.j2") -> str:
    """Fill in a template of ``templates/``; a name missing in the context is an error."""
    loader = PackageLoader("metaxcr.reports", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, finalize=_printable, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    style = Markup(loader.get_source(environment, "style.css")[0])
    return environment.get_template(template).render(style=style, **context)


def _printable(value: object) -> object:
    """Make a text of the page printable: a direction override would affect what follows."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    The page is self-contained (inline styles and SVG, no scripts) and depends only on the folder's files: the
    same input gives the same bytes. If the run was stopped, the page says what is missing.
    """
    run, path = read_run(run_dir), run_dir / "report.html"
    write_atomically(path, render(_run_context(run)))  # never half a page
    return path


def _run_context(run: RunRecords) -> dict[str, object]:
    means, diffs = averages(run.results), differences(run.results)
    figures = {name: picture(name, *figure) for name, figure in _run_figures(run).items()}
    environment = {key: value for key, value in run.environment.items() if key != "command"}
    hashes = [(key, run.results[key]) for key in ("config_hash", "data_hash") if key in run.results]
    return {
        "target": run.target or "unknown target",
        "name": run.config.get("run", {}).get("name") or "",
        "demonstration": run.demonstration,
        "leaks": run.leaks,
        "headline": run_tables.headline(means, diffs, run.target),
        "missing": _missing(run, means),
        "averages": run_tables.averages_table(means) if means else None,
        "differences": run_tables.differences_table(diffs) if diffs else None,
        "others": _others(run, means),
        "raw": run_tables.raw_table(means),
        "accuracy": _accuracy(run, means),
        "figures": figures,
        "diagnosis": diagnose(run) if run.events else None,
        "costs": run_tables.costs_table(run.costs),
        "trunk": run_tables.trunk_sentence(run.costs),
        "command": run.environment.get("command"),
        "hashes": hashes,
        "environment": run_tables.pairs_table(environment),
        "shares": run_tables.shares_table(run.results.get("shares", {})),
        "shots": run_tables.shots_table(run.shots),
        "config": run.config_text,
        "rows": run_tables.rows_table(run.results) if run.results.get("rows") else None,
        "licences": licences(tasks_of(run.config)),
        "glossary": GLOSSARY,
    }


def _missing(run: RunRecords, means: Sequence[Average]) -> list[str]:
    """Sentences on missing files, then on stages without events."""
    notes = list(run.missing)
    if run.events:
        absent = [stage for stage in ("ctml", "clml", "finetune") if not run.all_of(stage)]
        notes += [f"No events of the stage {stage}: it was not run or not reached." for stage in absent]
        if run.all_of("ctml") and not any("probabilities" in event for event in run.all_of("ctml")):
            notes.append("The CTML events have no sampler probabilities.")
    if run.results and not means:
        notes.append("results.json has no averages over languages.")
    return notes


def tasks_of(config: Record) -> list[str]:
    """Ids of the tasks in a run's settings: target, English target data, sources, auxiliary data."""
    target = config.get("target")
    if not isinstance(target, dict):
        return []
    groups = [target, target.get("english"), *(config.get("sources") or ()), target.get("auxiliary")]
    return [group["task"] for group in groups if group and group.get("task")]


def _points(
    run: RunRecords, means: Sequence[Average], task: str
) -> tuple[list[LanguagePoint], list[Average]]:
    """Accuracies by language at the main place of a task, and their averages; empty without rows."""
    place = main_place(means, task)
    points = language_points(run.results, place) if place else []
    return points, [mean for mean in means if mean.place == place]


def _accuracy(run: RunRecords, means: Sequence[Average]) -> list[tuple[str, Picture | None, ReportTable]]:
    """Figure and numbers per task, the target first."""
    found: list[tuple[str, Picture | None, ReportTable]] = []
    tasks = {mean.place.task for mean in means}
    for task in sorted(tasks, key=lambda name: (name != run.target, name)):
        points, shown = _points(run, means, task)
        if points:
            alt = f"Accuracy per language on {task}, with 95 % intervals; the numbers are in the table below"
            apart = {point.lang for point in points} - set(shown[0].langs)
            caption = _accuracy_caption(shown[0].place, apart)
            drawn = picture(f"acc{len(found)}", alt, caption, partial(run_figures.accuracy, points, shown))
            found.append((task, drawn, run_tables.languages_table(points)))
    return found


def _accuracy_caption(place: Place, apart: set[str]) -> str:
    names = ", ".join(sorted(language(lang) for lang in apart))
    outside = f" Not in the average: {names}." if apart else ""
    return (
        f"{place.task}, {place.data} data. Languages are sorted by the untrained baseline, whose accuracy "
        f"runs through each band as a grey line.{outside} Whiskers: 95 % intervals; those of single "
        "languages over several seeds are computed from the accuracies alone and err on the wide side. "
        "Overlapping whiskers do not tell whether two settings differ, since both answer the same items: see "
        "the paired differences."
    )


def _others(run: RunRecords, means: Sequence[Average]) -> list[tuple[str, ReportTable]]:
    """Accuracies on tasks without an average, such as the English test set."""
    averaged = {mean.place.task for mean in means}
    places = {place_of(row) for row in run.results.get("rows", ())}
    return [
        (", ".join(place), run_tables.languages_table(language_points(run.results, place)))
        for place in sorted(places)
        if place.task not in averaged
    ]


def _run_figures(run: RunRecords) -> dict[str, tuple[str, str, Draw]]:
    """Alternative text, caption and drawing of each figure of a run, accuracies apart."""
    panels = curves.panels(run)
    window = curves.smoothing(panels)
    smoothed = f" Moving averages over up to {window} steps." if window > 1 else ""
    figures: dict[str, tuple[str, str, Draw]] = {
        "sampler": (
            "Stacked area of the probability with which the sampler chose each source task, and bars of how "
            "often each was drawn",
            "Mean over seeds. Dotted lines: the borders, and the share of draws, if every source had the "
            "same probability. Bars have the order and colours of the areas.",
            partial(curves.sampler, run.all_of("ctml")),
        ),
        "learning": (
            "Learning curves: " + "; ".join(panel.title for panel in panels),
            "Thin lines: seeds; thick lines: their mean. Losses are divided by the loss of guessing, so 1 "
            "(dashed) is chance; a reward above 0 (dashed) means that the step on the source helped. "
            f"Fine-tuning and development accuracy are averaged over languages.{smoothed}",
            partial(curves.learning, panels),
        ),
        "costs": (
            "Time and token-passes of each stage; numbers in the table below",
            "Time depends on the machine, token-passes do not (forward 1, backward 2).",
            partial(run_figures.costs, run.costs),
        ),
    }
    if run.alignment:  # what ``metaxcr adapters align`` left in the run folder
        figures["alignment"] = (
            "Share of sentences whose translation is the nearest one, by layer, one panel a language",
            "Translations found, %, by layer; bands: 95 % intervals. The line is the limit below which a "
            "language counts as too weakly aligned for English training to reach.",
            partial(run_figures.alignment, run.alignment, WEAK),
        )
    return figures


def write_grid_report(folder: Path) -> Path:
    """Write ``report.html`` into the folder of a comparison, and return its path."""
    path, summary = folder / "report.html", _read_summary(folder)
    with damaged("the comparison", folder / "compare.json", _AGAIN):
        text = render(_grid_context(summary), "grid.html.j2")
    write_atomically(path, text)
    return path


def _read_summary(folder: Path) -> Record:
    path = folder / "compare.json"
    summary = read_json_object(path, _AGAIN)
    if summary.get("schema") != 1:
        raise UserError("not a comparison of this version", str(path), "run 'metaxcr compare' again")
    return summary


def _grid_context(summary: Record) -> dict[str, object]:
    tables = {table.key: table for table in grid_tables(summary)}
    sections = [
        (key, picture(key, alt, caption, partial(draw, summary)), tables.pop(numbers, None))
        for key, (draw, alt, caption, numbers) in GRID_FIGURES.items()
    ]
    return {
        "summary": summary,
        "averages": tables.pop("averages", None),
        "sections": [section for section in sections if section[1] or section[2]],
        "tables": list(tables.values()),
        "demonstration": any(row["task"].startswith("starter") for row in summary["data"]),
        "environments": [run_tables.pairs_table(environment) for environment in summary["environments"]],
        "glossary": GLOSSARY,
    }


def export(folder: Path, out: Path) -> list[Path]:
    """Write figures (``.svg``, ``.pdf``) and tables (``.csv``, ``.tex``) of a run or a comparison.

    The same input gives the same bytes.
    """
    if (folder / "compare.json").is_file():
        summary = _read_summary(folder)
        figures: dict[str, Draw] = {key: partial(draw, summary) for key, (draw, *_) in GRID_FIGURES.items()}
        tables = grid_tables(summary)
    else:
        figures, tables = _run_contents(folder)
    written = [path for key, draw in figures.items() for path in _write_figure(draw, out, key)]
    for table in tables:
        for suffix, text in ((".csv", as_csv(table)), (".tex", as_latex(table))):
            path = out / f"{table.key}{suffix}"
            write_atomically(path, text)
            written.append(path)
    if not written:
        raise UserError("there is nothing to show yet", str(folder), "finish it first")
    return written


def _run_contents(folder: Path) -> tuple[dict[str, Draw], list[ReportTable]]:
    run = read_run(folder)
    means = averages(run.results)
    points, shown = _points(run, means, run.target)
    figures = {name: draw for name, (*_, draw) in _run_figures(run).items()}
    if points:
        figures["accuracy"] = partial(run_figures.accuracy, points, shown)
    tables = [
        run_tables.averages_table(means),
        run_tables.differences_table(differences(run.results)),
        run_tables.languages_table(points),
        run_tables.costs_table(run.costs),
        run_tables.rows_table(run.results),
    ]
    return figures, [table for table in tables if table and table.rows]


def _write_figure(draw: Draw, out: Path, key: str) -> list[Path]:
    """Write a figure at the width of a desktop page, if there is something to draw."""
    with canvas.drawing():
        fig = draw(canvas.WIDE)
        if fig is None:
            return []
        paths = {out / f"{key}.svg": "Date", out / f"{key}.pdf": "CreationDate"}
        for path, date in paths.items():
            try:
                out.mkdir(parents=True, exist_ok=True)
                fig.savefig(path, bbox_inches="tight", metadata={date: None})
            except OSError as error:
                raise disk_error(error, path) from error
    return list(paths)
