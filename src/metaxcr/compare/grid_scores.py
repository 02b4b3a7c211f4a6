"""Scores of the finished cells of a grid, by method, language and seed; ensembles included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from metaxcr.compare.cell_record import CellRecord
from metaxcr.compare.cell_store import CellStore
from metaxcr.compare.comparison import Comparison
from metaxcr.evaluation.statistics import ItemScores, LanguageScores, common_seeds, of_seed


class Line(NamedTuple):
    """A line of a table: a method on a target with k shots."""

    target: str
    method: str
    k: int


@dataclass(frozen=True)
class CellScores:
    """Which items were answered rightly; ``records`` are the cell, or all members of an ensemble."""

    scores: ItemScores
    labels: Mapping[str, int]
    records: tuple[CellRecord, ...]


MethodCells = dict[str, dict[int | None, CellScores]]  # language -> seed -> cell


def scores_of(cells: MethodCells) -> LanguageScores:
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
    records = {
        lang: [record for cell in seeds.values() for record in cell.records] for lang, seeds in cells.items()
    }
    return {lang: {None: ensemble(found, store)} for lang, found in records.items() if len(found) > 1}


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
        for seed in common_seeds([scores_of(side) for side in sides], [language]):
            records = [of_seed(side[language], seed).records[0] for side in sides]
            together.setdefault(language, {})[seed] = ensemble(records, store)
    return together


def ensemble(records: Sequence[CellRecord], store: CellStore) -> CellScores:
    """Scores of the mean probabilities of several cells, on the items that all have."""
    tables = [dict(zip(store.ids(r), r.probability, strict=True)) for r in records]
    labels = dict(zip(store.ids(records[0]), records[0].label.tolist(), strict=True))
    labels = {name: label for name, label in labels.items() if all(name in table for table in tables)}
    means = {name: np.mean([table[name] for table in tables], axis=0) for name in labels}
    scores = {name: float(int(np.argmax(mean)) == labels[name]) for name, mean in means.items()}
    return CellScores(scores, labels, tuple(records))
