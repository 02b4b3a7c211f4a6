"""Statistics of a grid: scores by line, language and seed, ensembles, differences, cost-equivalent shots."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from metaxcr.compare.cell_store import CellRecord, CellStore
from metaxcr.compare.comparison import Comparison
from metaxcr.evaluation.statistics import (
    ItemScores,
    LanguageScores,
    Scores,
    accuracy_difference,
    benjamini_hochberg,
    common_seeds,
    holm,
    named_seeds,
    of_seed,
    score_tables,
    sign_flip_test,
    target_languages,
)
from metaxcr.records import Record
from metaxcr.seeding import rng


class Line(NamedTuple):
    """A line of a table: a method on a target with k shots."""

    target: str
    method: str
    k: int


class CellScores(NamedTuple):
    """Which items were answered rightly; ``records`` are the cell, or all members of an ensemble."""

    scores: ItemScores
    labels: Mapping[str, int]
    records: tuple[CellRecord, ...]


MethodCells = dict[str, dict[int | None, CellScores]]  # language -> seed -> cell


def _scores_of(cells: MethodCells) -> LanguageScores:
    """The scores alone."""
    return {lang: {seed: cell.scores for seed, cell in seeds.items()} for lang, seeds in cells.items()}


def collect(found: Comparison, store: CellStore) -> dict[Line, MethodCells]:
    """The finished cells of a grid by line, with ensembles; the store has the ids of their items."""
    lines: dict[Line, MethodCells] = {}
    for cell in found.cells:
        if (record := found.records.get(cell.key)) is not None:
            ids = store.ids(record)
            scores = dict(zip(ids, record.right.astype(float).tolist(), strict=True))
            labels = dict(zip(ids, record.label.tolist(), strict=True))
            seeds = lines.setdefault(Line(cell.target, cell.method, cell.k), {}).setdefault(cell.language, {})
            seeds[cell.seed] = CellScores(scores, labels, (record,))
    for name, method in found.grid.expanded.items():
        for line in [line for line in lines if line.method in method.of[:1]]:
            if len(method.of) > 1:
                cells = _ensemble_of_methods(method.of, line, lines, store)
            else:
                cells = _ensemble_of_seeds(lines[line], store)
            if cells:
                lines[line._replace(method=name)] = cells
    return lines


def _ensemble_of_seeds(cells: MethodCells, store: CellStore) -> MethodCells:
    """One method's seeds together, in the languages that have several."""
    records = {lang: [cell.records[0] for cell in seeds.values()] for lang, seeds in cells.items()}
    return {lang: {None: _ensemble(found, store)} for lang, found in records.items() if len(found) > 1}


def _ensemble_of_methods(
    names: Sequence[str], line: Line, lines: Mapping[Line, MethodCells], store: CellStore
) -> MethodCells:
    """Several methods together, seed by seed, in the languages that all have.

    A member that takes no shots is included without them.
    """
    places = [line._replace(method=name) for name in names]
    sides = [lines.get(place) or lines.get(place._replace(k=0), {}) for place in places]
    together: MethodCells = {}
    for language in sorted(set.intersection(*map(set, sides))):
        for seed in common_seeds([_scores_of(side) for side in sides], [language]):
            records = [of_seed(side[language], seed).records[0] for side in sides]
            together.setdefault(language, {})[seed] = _ensemble(records, store)
    return together


def _ensemble(records: Sequence[CellRecord], store: CellStore) -> CellScores:
    """Scores of the mean probabilities of several cells, on the items that all have."""
    tables = [dict(zip(store.ids(r), r.probability, strict=True)) for r in records]
    labels = dict(zip(store.ids(records[0]), records[0].label.tolist(), strict=True))
    labels = {name: label for name, label in labels.items() if all(name in table for table in tables)}
    means = {name: np.mean([table[name] for table in tables], axis=0) for name in labels}
    scores = {name: float(int(np.argmax(mean)) == labels[name]) for name, mean in means.items()}
    return CellScores(scores, labels, tuple(records))


def tables_of(*sides: MethodCells) -> tuple[list[str], list[int | None], list[Scores]]:
    """Languages and seeds that all sides have, and scores (items, seeds) a side, averaged over languages.

    Languages are the target languages, or English if the first side has nothing else. There are no scores
    without a language and a seed in common.
    """
    scores = [_scores_of(side) for side in sides]
    wanted = target_languages(sides[0]) or sorted(sides[0])
    languages = [language for language in wanted if all(language in side for side in sides)]
    seeds = common_seeds(scores, languages) if languages else []
    return languages, seeds, score_tables(scores, languages, seeds) if seeds else []


def difference(a: MethodCells, b: MethodCells) -> Record:
    """The paired difference of two methods' averages over the languages that both have."""
    languages, seeds, tables = tables_of(a, b)
    if not tables:
        return {"languages": languages, "mean": None, "why": "no language or seed in common"}
    first, second = tables
    result = accuracy_difference(first, second)
    row: Record = {"languages": languages, "seeds": named_seeds(seeds), "n": result.n, "mean": result.mean}
    row |= {"ci95": result.ci95, "ci_kind": result.kind, "p": result.p}
    row["p_permutation"] = sign_flip_test(first.mean(axis=1) - second.mean(axis=1))
    return row | {"mdd": result.mdd, "verdict": result.verdict}


def correct_p_values(rows: Sequence[Record]) -> None:
    """Add p values corrected for the number of comparisons in a table, in place."""
    tested = [row for row in rows if row["mean"] is not None]
    p = [row["p"] for row in tested]
    for row, strict, loose in zip(tested, holm(p), benjamini_hochberg(p), strict=True):
        row |= {"p_holm": strict, "p_bh": loose}


def equivalent_shots(
    accuracies: NDArray[np.float64], shots: NDArray[np.float64], curves: Scores
) -> NDArray[np.float64]:
    """Where a baseline's curves reach accuracies.

    A curve is made non-decreasing by isotonic regression (where more labels hurt, that is noise) and
    interpolated linearly over log2(1 + shots).

    Args:
        accuracies: Shape (curves,): those of the method.
        shots: Shape (points,), ascending.
        curves: Shape (curves, points): the baseline's accuracies.

    Returns:
        Shape (curves,): infinite if the curve stays below, the first number of shots if it starts above.
    """
    scale = np.log2(1 + shots)
    levels = (isotonic_regression(curve).x for curve in curves)
    # a level is reached with the first number of shots that has it: minus 1e-12
    found = [np.interp(a - 1e-12, x, scale, right=np.inf) for a, x in zip(accuracies, levels, strict=True)]
    return np.asarray(2.0 ** np.array(found) - 1)


def cost_equivalent(
    method: Scores, baseline: Mapping[int, Scores], draws: int = 1000, seed: int = 0
) -> Record:
    """How many shots the baseline needs for the method's accuracy, and the ends of a 95 % interval.

    None stands for more than the most shots that were tried. The interval is a percentile bootstrap over
    items and seeds, with the same draws for method and baseline, so that the difficulty of a draw cancels.
    With few seeds it is too narrow. Tables have shape (items, seeds), on the same items; ``baseline`` has two
    numbers of shots or more.
    """
    shots, items = np.array(sorted(baseline), dtype=np.float64), len(method)
    tables = [method, *(baseline[int(k)] for k in shots)]
    generator = rng(seed, "equivalent", 0)
    rows = generator.multinomial(items, np.full(items, 1 / items), size=draws) / items  # (draws, items)
    columns = {
        seeds: generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
        for seeds in (table.shape[1] for table in tables)
    }
    drawn = [np.sum((rows @ table) * columns[table.shape[1]], axis=1) for table in tables]
    accuracies, *curves = (np.append(means, table.mean()) for means, table in zip(drawn, tables, strict=True))
    *found, point = equivalent_shots(accuracies, shots, np.stack(curves, axis=1))
    low, high = np.quantile(found, [0.025, 0.975], method="inverted_cdf")
    ends = {"shots": point, "low": low, "high": high}
    return {name: float(value) if np.isfinite(value) else None for name, value in ends.items()}
