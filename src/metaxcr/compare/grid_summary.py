"""What a comparison found: averages, paired differences, curves, matrices, costs.

The cost-equivalent curve: how many labelled examples a baseline needs to match a method.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from metaxcr.compare.cell_store import CellRecord, CellStore
from metaxcr.compare.comparison import Comparison
from metaxcr.compare.grid import varied
from metaxcr.compare.grid_scores import Answers, Line, collect, seeds_of, tables, targets
from metaxcr.data.languages import language_groups
from metaxcr.evaluation.results import rounded
from metaxcr.evaluation.statistics import (
    benjamini_hochberg,
    crossed_interval,
    holm,
    minimum_detectable_difference,
    paired_difference,
    sign_flip_test,
)
from metaxcr.reports.wording import licences
from metaxcr.seeding import rng

SCHEMA = 1
Row = dict[str, Any]


def summarise(found: Comparison, store: CellStore, outside: Sequence[Row] = (), command: str = "") -> Row:
    """Return everything that the tables and the report of a comparison say, as JSON.

    Args:
        found: The grid with its finished cells.
        store: Has the ids of their items.
        outside: Comparisons with other systems, see :mod:`metaxcr.compare.external`.
        command: That made it.
    """
    grid, lines = found.grid, collect(found, store)
    differences = [row for line in lines if (row := against_baseline(line, lines, grid.baseline)) is not None]
    adjust(differences)
    languages = [row for line, answers in lines.items() for row in by_language(line, answers)]
    encoder = next((cell.config.encoder.name for cell in found.cells), "")
    summary: Row = rounded(
        {
            "schema": SCHEMA,
            "title": grid.title,
            "about": grid.about,
            "baseline": grid.baseline,
            "seeds": grid.seeds,
            "shots": grid.shots,
            "command": command,
            "methods": [_method(found, name) for name in grid.expanded],
            "averages": [average(line, lines, found) for line in lines],
            "differences": differences,
            "outside": list(outside),
            "languages": languages,
            "groups": by_group(languages, encoder),
            "curve": curve(lines, grid.baseline),
            "matrix": matrix(found, languages),
            "failed": found.failed,
            "waiting": {cell.label: cell.waits for cell in found.waiting},
            "outdated": found.outdated,
            "cells": [
                _cell(found, cell.key, cell.label) for cell in found.cells if cell.key in found.records
            ],
            "data": _data(found),
            "environments": _environments(found),
        }
    )
    return summary


def average(line: Line, lines: Mapping[Line, Answers], found: Comparison) -> Row:
    """One line of the headline table: accuracy over languages and seeds, and what it cost."""
    answers = lines[line]
    languages = targets(answers)
    seeds = seeds_of([answers], languages)
    (table,) = tables([answers], languages, seeds)
    row: Row = {**line._asdict(), "languages": languages, "seeds": _named(seeds), "n": len(table)}
    row |= {"mean": float(table.mean()), "complete": _complete(line, found)}
    interval = crossed_interval(table) if len(table) > 1 else None
    row["ci95"] = [max(0.0, interval.low), min(1.0, interval.high)] if interval else None
    row["ci_kind"] = interval.kind if interval else None
    row["mdd"] = minimum_detectable_difference(interval.se, interval.dof) if interval else None
    return row | costs(answers)


def costs(answers: Answers) -> Row:
    """Token-passes, seconds and trained parameters of one answer, mean over cells.

    An ensemble pays for all its members.

    Args:
        answers: The cells.
    """
    paid = [marks.records for seeds in answers.values() for marks in seeds.values()]
    records = [record for members in paid for record in members]

    def mean(spent: Callable[[CellRecord], float]) -> float:
        return float(np.mean([sum(map(spent, members)) for members in paid]))

    def passes(stage: str) -> float:
        return mean(lambda record: record.costs.get(stage, {}).get("token_passes", 0))

    sizes = ("trained", "share", "share_without_embeddings")
    return {
        "regime": next((record.regime for record in records if record.regime != "none"), "none"),
        "total_labels": max(record.total_labels for record in records),
        "token_passes": mean(lambda record: record.token_passes),
        "seconds": mean(lambda record: record.seconds),
        "stages": {
            stage: passes(stage) for stage in sorted({name for record in records for name in record.costs})
        },
        "parts": _parts(records) if all(len(members) == 1 for members in paid) else {},
        "peak_rss_mb": max((s.get("peak_rss_mb", 0) for r in records for s in r.costs.values()), default=0),
        **{key: _sum(record.parameters.get(key) for record in paid[0]) for key in sizes},
    }


def _sum(values: Iterable[float | None]) -> float | None:
    """Sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _parts(records: Sequence[Any]) -> Row:
    """Token-passes of the parts of CTML, where they are recorded: support, query, reward and so on."""
    sums: dict[str, list[float]] = {}
    for record in records:
        for part, spent in record.costs.get("ctml", {}).get("parts", {}).items():
            sums.setdefault(part, []).append(spent["token_passes"])
    return {part: float(np.mean(values)) for part, values in sums.items()}


def against_baseline(line: Line, lines: Mapping[Line, Answers], baseline: str | None) -> Row | None:
    """The paired difference from the baseline with as many shots, or without shots where it has no more."""
    if baseline is None or line.method == baseline:
        return None
    same = Line(line.target, baseline, line.k)
    other = same if same in lines else Line(line.target, baseline, 0)
    if other not in lines:
        return None
    return {**line._asdict(), "baseline": baseline, "baseline_k": other.k} | difference(
        lines[line], lines[other]
    )


def difference(a: Answers, b: Answers) -> Row:
    """The paired difference of two methods' averages over the languages that both have."""
    languages = [language for language in targets(a) if language in b]
    seeds = seeds_of([a, b], languages) if languages else []
    if not languages or not seeds:
        return {"languages": languages, "mean": None, "why": "no language or seed in common"}
    first, second = tables([a, b], languages, seeds)
    found = paired_difference(first, second)
    row: Row = {"languages": languages, "seeds": _named(seeds), "n": len(first), "mean": found.mean}
    row |= {"ci95": [max(-1.0, found.low), min(1.0, found.high)], "ci_kind": found.kind, "p": found.p}
    row["p_permutation"] = sign_flip_test(first.mean(axis=1) - second.mean(axis=1))
    row["mdd"] = minimum_detectable_difference(found.se, found.dof)
    verdict = "better" if found.low > 0 else "worse" if found.high < 0 else "no difference shown"
    return row | {"verdict": verdict}


def adjust(rows: Sequence[Row]) -> None:
    """Add p values that are corrected for the number of comparisons of the grid, in place."""
    tested = [row for row in rows if row["mean"] is not None]
    p = [row["p"] for row in tested]
    for row, strict, loose in zip(tested, holm(p), benjamini_hochberg(p), strict=True):
        row |= {"p_holm": strict, "p_bh": loose}


def by_language(line: Line, answers: Answers) -> list[Row]:
    """Accuracy in each language, over items and seeds."""
    rows = []
    for language in sorted(answers):
        seeds = seeds_of([answers], [language])
        (table,) = tables([answers], [language], seeds)
        interval = crossed_interval(table) if len(table) > 1 else None
        row: Row = {**line._asdict(), "language": language, "n": len(table), "mean": float(table.mean())}
        row["ci95"] = [max(0.0, interval.low), min(1.0, interval.high)] if interval else None
        rows.append(row | {"seeds": len(_named(seeds)) or 1})
    return rows


def by_group(languages: Sequence[Row], encoder: str) -> list[Row]:
    """Mean accuracy over the languages of a family, a script, and those that the encoder has seen or not."""
    members: dict[tuple[str, str, Line], list[Row]] = {}
    for row in languages:
        line = Line(row["target"], row["method"], row["k"])
        for by, group in language_groups(row["language"], encoder).items():
            members.setdefault((by, group, line), []).append(row)
    return [
        {**line._asdict(), "by": by, "group": group, "languages": [row["language"] for row in rows],
         "mean": float(np.mean([row["mean"] for row in rows]))}
        for (by, group, line), rows in members.items()
    ]  # fmt: skip


def curve(lines: Mapping[Line, Answers], baseline: str | None) -> list[Row]:
    """How many shots the baseline needs for what each method reaches with k; empty without its curve."""
    rows = []
    for line, answers in lines.items():
        points = {o.k: a for o, a in lines.items() if (o.target, o.method) == (line.target, baseline)}
        if line.method == baseline or len(points) < 2:
            continue
        sides = [answers, *points.values()]
        languages = [lang for lang in targets(answers) if all(lang in side for side in sides)]
        seeds = seeds_of(sides, languages) if languages else []
        if not seeds:
            continue
        own, *theirs = tables(sides, languages, seeds)
        found = cost_equivalent(own, dict(zip(points, theirs, strict=True)))
        rows.append({**line._asdict(), **vars(found), "most": max(points)})
    return rows


def matrix(found: Comparison, languages: Sequence[Row]) -> Row | None:
    """Accuracy by language of the labels (rows) and tested language (columns)."""
    if found.grid.matrix is None:
        return None
    support = varied(found.grid, found.grid.matrix)
    cells = [
        {
            "support": support[row["method"]],
            "language": row["language"],
            "mean": row["mean"],
            "ci95": row["ci95"],
        }
        for row in languages
        if row["method"] in support
    ]
    base = {row["language"]: row["mean"] for row in languages if row["method"] == found.grid.baseline}
    return {"by": found.grid.matrix, "cells": cells, "baseline": base}


def _method(found: Comparison, name: str) -> Row:
    method = found.grid.expanded[name]
    command = next((cell.command for cell in found.cells if cell.method == name), "")
    return {"name": name, "kind": method.kind, "about": method.about, "command": command}


def _cell(found: Comparison, key: str, label: str) -> Row:
    record = found.records[key]
    return {
        "label": label,
        "key": key,
        "config_hash": record.config_hash,
        "accuracy": float(record.marks.mean()),
        "n": record.n,
        "command": record.command,
    }


def _complete(line: Line, found: Comparison) -> bool:
    for name in found.grid.expanded[line.method].of or [line.method]:
        cells = [cell for cell in found.cells if (cell.target, cell.method) == (line.target, name)]
        # what takes no shots is joined without them
        k = line.k if any(cell.k == line.k for cell in cells) else 0
        if any(cell.k == k and cell.key not in found.records for cell in cells):
            return False
    return True


def _named(seeds: Sequence[int | None]) -> list[int]:
    return [seed for seed in seeds if seed is not None]


def _data(found: Comparison) -> list[Row]:
    """The data sets with their licences and what a paper has to cite."""
    names: dict[str, None] = {}
    for cell in found.cells:
        target = cell.config.target
        names |= dict.fromkeys([target.task, target.english.task, *(s.task for s in cell.config.sources)])
        names |= dict.fromkeys([target.auxiliary.task] if target.auxiliary else [])
    return licences(names)


def _environments(found: Comparison) -> list[Row]:
    """What the cells were run with, without the dates, each combination once."""
    unlike: list[Row] = []
    for record in found.records.values():
        environment = {k: v for k, v in record.environment.items() if k != "date"}
        if environment not in unlike:
            unlike.append(environment)
    return unlike


Table = NDArray[np.floating[Any]]  # shape (items, seeds)


@dataclass(frozen=True)
class Equivalent:
    """Examples that a baseline needs for a method's accuracy.

    Attributes:
        shots: Interpolated; None: the baseline does not get there with the most shots that were tried.
        low: End of the 95 % interval, as ``shots``.
        high: End of the 95 % interval, as ``shots``.
    """

    shots: float | None
    low: float | None
    high: float | None


def equivalent_shots(
    accuracy: float | NDArray[np.floating[Any]], shots: NDArray[np.floating[Any]], curve: Table
) -> NDArray[np.float64]:
    """Where a baseline's curve reaches an accuracy.

    The curve is made non-decreasing (isotonic regression: more labels do not hurt but for noise) and read
    linearly over log2(1 + shots).

    Args:
        accuracy: Of the method: one value, or one for each curve.
        shots: Shape (points,), ascending.
        curve: Shape (points,) or (curves, points): the baseline's accuracies.

    Returns:
        Shape (curves,): numbers of shots; infinite where the curve stays below, the first number where it
        begins above.
    """
    curves = np.atleast_2d(np.asarray(curve, dtype=np.float64))
    wanted = np.broadcast_to(np.asarray(accuracy, dtype=np.float64), (len(curves),))
    scale, found = np.log2(1 + np.asarray(shots, dtype=np.float64)), np.empty(len(curves))
    for place, (row, value) in enumerate(zip(curves, wanted, strict=True)):
        level = isotonic_regression(row).x
        above = int(np.searchsorted(level, value - 1e-12))
        if above == 0:
            found[place] = shots[0]
        elif above == len(level):
            found[place] = np.inf
        else:
            low, high = level[above - 1], level[above]
            share = (value - low) / (high - low)
            found[place] = 2 ** (scale[above - 1] + share * (scale[above] - scale[above - 1])) - 1
    return found


def cost_equivalent(
    method: Table, baseline: Mapping[int, Table], draws: int = 1000, seed: int = 0
) -> Equivalent:
    """How many shots the baseline needs for the method's accuracy, with a 95 % interval.

    The interval is a percentile bootstrap over items and seeds, the same draw for method and baseline, so
    that what makes a draw easy cancels. With few seeds such an interval is too narrow: read it as a lower
    bound of the doubt.

    Args:
        method: Shape (items, seeds): 0 or 1, or the item's average over languages.
        baseline: Shots -> the same for the baseline, on the same items; two numbers of shots or more.
        draws: Bootstrap draws.
        seed: Of the draws.
    """
    shots = np.array(sorted(baseline), dtype=np.float64)
    tables = [np.asarray(baseline[int(k)], dtype=np.float64) for k in shots]
    items = len(method)
    point = equivalent_shots(float(method.mean()), shots, np.array([t.mean() for t in tables]))[0]
    generator = rng(seed, "equivalent", 0)
    rows = generator.multinomial(items, np.full(items, 1 / items), size=draws) / items  # (draws, items)
    columns = {t.shape[1]: _columns(generator, t.shape[1], draws) for t in (method, *tables)}

    def means(table: Table) -> NDArray[np.float64]:
        return np.asarray(np.sum((rows @ table) * columns[table.shape[1]], axis=1))

    curves = np.stack([means(table) for table in tables], axis=1)
    drawn = equivalent_shots(means(np.asarray(method, dtype=np.float64)), shots, curves)
    low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
    return Equivalent(*(float(x) if np.isfinite(x) else None for x in (point, low, high)))


def _columns(generator: np.random.Generator, seeds: int, draws: int) -> NDArray[np.float64]:
    return generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
