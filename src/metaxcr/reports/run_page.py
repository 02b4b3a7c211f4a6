"""The report of a run: ``report.html``."""

from functools import partial
from pathlib import Path

from metaxcr.diagnosis.rules import diagnose
from metaxcr.evaluation.alignment import WEAK
from metaxcr.evaluation.results import Place
from metaxcr.files import write_atomically
from metaxcr.reports import curves, run_figures, run_tables
from metaxcr.reports.accuracies import Average, averages, differences, language_points, main_place, place_of
from metaxcr.reports.run_records import RunRecords, read_run, records, stages_without
from metaxcr.reports.run_tables import headline
from metaxcr.reports.wording import GLOSSARY, Picture, language, licences, picture, render, tasks_of

_TRAINING = ("ctml", "clml", "finetune")


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    The page is self-contained (inline styles and SVG, no scripts) and depends only on the folder's files: the
    same input gives the same bytes. If the run was stopped, the page says what is missing.
    """
    run = read_run(run_dir)
    path = run_dir / "report.html"
    write_atomically(path, render(_context(run)))  # never half a page
    return path


def _context(run: RunRecords) -> dict[str, object]:
    means, diffs = averages(run.results), differences(run.results)
    return {
        "target": run.target or "unknown target",
        "name": _name(run),
        "demonstration": run.demonstration,
        "leaks": run.leaks,
        "headline": headline(means, diffs, run.target),
        "missing": _missing(run, means),
        "averages": run_tables.averages_table(means) if means else None,
        "differences": run_tables.differences_table(diffs) if diffs else None,
        "others": _others(run, means),
        "raw": run_tables.raw_table(means),
        "accuracy": _accuracy(run, means),
        "sampler": _sampler(run),
        "learning": _learning(run),
        "diagnosis": diagnose(run.evidence) if run.events else None,
        "alignment": _alignment(run),
        "costs_figure": _costs(run),
        "costs": run_tables.costs_table(run.costs),
        "trunk": run_tables.trunk_sentence(run.costs),
        "command": run.environment.get("command"),
        "hashes": [
            (key, str(run.results[key])) for key in ("config_hash", "data_hash") if run.results.get(key)
        ],
        "environment": run_tables.pairs_table(
            {key: value for key, value in run.environment.items() if key != "command"}
        ),
        "shares": run_tables.shares_table(run.results.get("shares")),
        "shots": run_tables.shots_table(run.shots),
        "config": run.config_text,
        "rows": run_tables.rows_table(run.results) if run.results.get("rows") else None,
        "licences": licences(tasks_of(run.config)),
        "glossary": GLOSSARY,
    }


def _name(run: RunRecords) -> str:
    section = run.config.get("run")
    name = section.get("name") if isinstance(section, dict) else None
    return str(name) if name else ""


def _missing(run: RunRecords, means: list[Average]) -> list[str]:
    """Sentences on missing files, then on stages without events."""
    notes = list(run.missing)
    if run.events:
        absent = stages_without(run.events, _TRAINING)
        notes += [f"No events of the stage {stage}: it was not run or not reached." for stage in absent]
        if run.stage("ctml") and not any("probabilities" in event for event in run.stage("ctml")):
            notes.append("The CTML events have no sampler probabilities.")
    if run.results and not means:
        notes.append("results.json has no averages over languages.")
    return notes


def _accuracy(run: RunRecords, means: list[Average]) -> list[tuple[str, Picture, run_tables.ReportTable]]:
    """Figure and numbers per task, the target first."""
    found: list[tuple[str, Picture, run_tables.ReportTable]] = []
    tasks = {average.place.task for average in means}
    for task in sorted(tasks, key=lambda name: (name != run.target, name)):
        place = main_place(means, task)
        points = language_points(run.results, place) if place else []
        if place is None or not points:
            continue
        shown = [average for average in means if average.place == place]
        drawn = picture(
            f"acc{len(found)}",
            f"Accuracy per language on {task}, with 95 % intervals; the numbers are in the table below",
            _accuracy_caption(place, {point.lang for point in points} - set(shown[0].langs)),
            partial(run_figures.accuracy, points, shown),
        )
        if drawn is not None:
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


def _others(run: RunRecords, means: list[Average]) -> list[tuple[str, run_tables.ReportTable]]:
    """Accuracies on tasks without an average, such as the English test set."""
    averaged = {average.place.task for average in means}
    places = {place_of(row) for row in records(run.results.get("rows"))}
    return [
        (", ".join(filter(None, place)), run_tables.languages_table(language_points(run.results, place)))
        for place in sorted(places)
        if place.task not in averaged
    ]


def _sampler(run: RunRecords) -> Picture | None:
    events = run.stage("ctml")
    return picture(
        "sampler",
        "Stacked area of the probability with which the sampler chose each source task, and bars of how "
        "often each was drawn",
        "Mean over seeds. Dotted lines: the borders, and the share of draws, if every source had the same "
        "probability. Bars have the order and colours of the areas.",
        lambda width: curves.sampler(events, width),
    )


def _learning(run: RunRecords) -> Picture | None:
    panels = curves.panels(run)
    window = curves.smoothing(panels)
    smoothed = f" Moving averages over up to {window} steps." if window > 1 else ""
    return picture(
        "learning",
        "Learning curves: " + "; ".join(panel.title for panel in panels),
        "Thin lines: seeds; thick lines: their mean. Losses are divided by the loss of guessing, so 1 "
        "(dashed) is chance; a reward above 0 (dashed) means that the step on the source helped. "
        f"Fine-tuning and development accuracy are averaged over languages.{smoothed}",
        lambda width: curves.learning(panels, width),
    )


def _alignment(run: RunRecords) -> Picture | None:
    """The alignment check, if ``metaxcr adapters align`` left its table in the run folder."""
    if not run.alignment:
        return None
    return picture(
        "alignment",
        "Share of sentences whose translation is the nearest one, by layer, one panel a language",
        "Translations found, %, by layer; bands: 95 % intervals. The line is the limit below which a "
        "language counts as too weakly aligned for English training to reach.",
        lambda width: run_figures.alignment(run.alignment, WEAK, width),
    )


def _costs(run: RunRecords) -> Picture | None:
    return picture(
        "costs",
        "Time and token-passes of each stage; numbers in the table below",
        "Time depends on the machine, token-passes do not (forward 1, backward 2).",
        lambda width: run_figures.costs(run.costs, width),
    )
