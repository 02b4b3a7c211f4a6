"""The answers of finished cells, arranged for statistics: which items each method got right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metaxcr.compare.cell_record import CellRecord
from metaxcr.compare.cell_store import CellStore
from metaxcr.compare.comparison import Comparison
from metaxcr.evaluation.results import SOURCE_LANGUAGE
from metaxcr.evaluation.statistics import Scores, language_average


class Line(NamedTuple):
    """What shares one line of a table: a method on a target with k shots."""

    target: str
    method: str
    k: int


@dataclass(frozen=True)
class Marks:
    """Which items were answered rightly by one method in one language with one seed.

    Attributes:
        right: Item id -> 1 or 0.
        labels: Item id -> index of the right choice.
        records: The cell; of an ensemble, all its members.
    """

    right: Mapping[str, float]
    labels: Mapping[str, int]
    records: tuple[CellRecord, ...]


Answers = dict[str, dict[int | None, Marks]]  # language -> seed -> marks


def collect(found: Comparison, store: CellStore) -> dict[Line, Answers]:
    """Arrange the finished cells of a grid, ensembles included.

    Args:
        found: The grid with its finished cells.
        store: Has the ids of their items.
    """
    lines: dict[Line, Answers] = {}
    for cell in found.cells:
        record = found.records.get(cell.key)
        if record is not None:
            ids = store.ids(record)
            right = dict(zip(ids, record.right.astype(float).tolist(), strict=True))
            labels = dict(zip(ids, record.label.tolist(), strict=True))
            line = Line(cell.target, cell.method, cell.k)
            lines.setdefault(line, {}).setdefault(cell.language, {})[cell.seed] = Marks(
                right, labels, (record,)
            )
    for name, method in found.grid.expanded.items():
        for line in [line for line in lines if line.method in method.of[:1]]:
            own = (
                _across_methods(method.of, line, lines, store)
                if method.of[1:]
                else _across_seeds(lines[line], store)
            )
            if own:
                lines[line._replace(method=name)] = own
    return lines


def _across_seeds(answers: Answers, store: CellStore) -> Answers:
    """One method's seeds together, where there are several."""
    members = {
        language: [r for marks in seeds.values() for r in marks.records]
        for language, seeds in answers.items()
    }
    return {
        language: {None: ensemble(records, store)} for language, records in members.items() if records[1:]
    }


def _across_methods(
    names: Sequence[str], line: Line, lines: Mapping[Line, Answers], store: CellStore
) -> Answers:
    """Several methods together, seed by seed, in the languages that all have.

    A member that takes no shots joins without them.
    """
    places = [line._replace(method=name) for name in names]
    sides = [lines.get(place) or lines.get(place._replace(k=0), {}) for place in places]
    own: Answers = {}
    for language in sorted(set.intersection(*map(set, sides))):
        for seed in seeds_of(sides, [language]):
            records = [_at(side[language], seed).records[0] for side in sides]
            own.setdefault(language, {})[seed] = ensemble(records, store)
    return own


def ensemble(records: Sequence[CellRecord], store: CellStore) -> Marks:
    """The answers of the mean probabilities of several cells, on the items that all have.

    Args:
        records: One a member.
        store: Has the ids of their items.
    """
    tables = [dict(zip(store.ids(r), r.probability, strict=True)) for r in records]
    labels = dict(zip(store.ids(records[0]), records[0].label.tolist(), strict=True))
    common = [name for name in labels if all(name in table for table in tables)]
    means = {name: np.mean([table[name] for table in tables], axis=0) for name in common}
    right = {name: float(int(np.argmax(mean)) == labels[name]) for name, mean in means.items()}
    return Marks(right, {name: labels[name] for name in right}, tuple(records))


def targets(answers: Answers) -> list[str]:
    """The languages that an average is over: all but the one that was learned from, if there are others."""
    others = sorted(language for language in answers if language != SOURCE_LANGUAGE)
    return others or sorted(answers)


def seeds_of(sides: Sequence[Answers], languages: Sequence[str]) -> list[int | None]:
    """Seeds that all languages of all sides have; a side without chance has every seed."""
    sets = [set(side[lang]) for side in sides for lang in languages if None not in side[lang]]
    return sorted(set.intersection(*sets), key=lambda seed: seed or 0) if sets else [None]


def tables(sides: Sequence[Answers], languages: Sequence[str], seeds: Sequence[int | None]) -> list[Scores]:
    """One table of shape (item ids, seeds) a side, averaged over languages, on the items that all have.

    Args:
        sides: What is compared.
        languages: That all sides have.
        seeds: From :func:`seeds_of`.
    """
    blocks: list[list[tuple[list[str], NDArray[np.float64]]]] = [[] for _ in sides]
    for language in languages:
        chosen = [[_at(side[language], seed).right for seed in seeds] for side in sides]
        ids = sorted(set.intersection(*(set(right) for side in chosen for right in side)))
        for block, side in zip(blocks, chosen, strict=True):
            block.append((ids, np.array([[right[name] for right in side] for name in ids])))
    return [language_average(block) for block in blocks]


def _at(seeds: Mapping[int | None, Marks], seed: int | None) -> Marks:
    return seeds[None] if None in seeds else seeds[seed]
