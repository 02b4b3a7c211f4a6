"""Cross-validation: nothing is answered by a model that has seen it."""

from collections.abc import Sequence

import numpy as np

from metaxcr.fewshot.crossval import cross_validate, parted
from metaxcr.fewshot.folds import draw_folds

FOLDS = [draw_folds(range(20), [0] * 20, 5, seed) for seed in (0, 1)]


def test_every_example_is_answered_once_a_repeat_by_a_model_that_has_not_seen_it() -> None:
    calls: list[tuple[int, int]] = []

    def adapt(train: Sequence[int], held_out: Sequence[int], purpose: str) -> list[list[float]]:
        assert not set(train) & set(held_out)
        calls.append((len(train), len(held_out)))
        return [[float(row), float(len(train))] for row in held_out]

    seen: list[tuple[int, int]] = []
    found = cross_validate(adapt, FOLDS, [4, 8], progress=lambda done, total: seen.append((done, total)))
    assert len(found.full) == 2
    tables = [*found.full, *found.partial.values()]
    assert all([row[0] for row in table] == list(range(20)) for table in tables)
    assert {n: {row[1] for row in table} for n, table in found.partial.items()} == {4: {4.0}, 8: {8.0}}
    assert len(calls) == 5 * 2 + 5 * 2 and seen[-1] == (20, 20)


def test_smaller_sets_are_part_of_larger_ones_and_folds_are_whole() -> None:
    small, held = parted(FOLDS[0], 2, 4, 0)
    large, again = parted(FOLDS[0], 2, 8, 0)
    assert set(small) < set(large) and held == again
    everything, _ = parted(FOLDS[0], 2, None, 0)
    assert sorted([*everything, *held]) == list(range(20))
    assert held == np.flatnonzero(FOLDS[0] == 2).tolist()


def test_draws_of_repeats_and_folds_are_told_apart() -> None:
    purposes: list[str] = []

    def adapt(train: Sequence[int], held_out: Sequence[int], purpose: str) -> list[list[float]]:
        purposes.append(purpose)
        return [[0.5, 0.5]] * len(held_out)

    cross_validate(adapt, FOLDS, [])
    assert len(set(purposes)) == 10
