"""Folds: stratified, duplicates together, the same for the same seed."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaxcr.fewshot.cross_validation import (
    cross_validate,
    curve_points,
    curve_sizes,
    draw_folds,
    forecast,
    split_rows,
)


def test_every_fold_has_its_share_of_every_stratum() -> None:
    strata = ["cause 0"] * 10 + ["cause 1"] * 5 + ["effect 0"] * 15 + ["effect 1"] * 10
    folds = draw_folds(range(40), strata, 5, seed=3)
    for stratum, share in (("cause 0", 2), ("cause 1", 1), ("effect 0", 3), ("effect 1", 2)):
        own = folds[[s == stratum for s in strata]]
        assert np.bincount(own, minlength=5).tolist() == [share] * 5


@given(st.lists(st.integers(0, 9), min_size=2, max_size=40), st.integers(2, 6), st.integers(0, 99))
def test_duplicates_share_a_fold_and_no_fold_is_empty(groups: list[int], folds: int, seed: int) -> None:
    if len(set(groups)) < 2:
        return
    found = draw_folds(groups, [g % 2 for g in groups], folds, seed)
    for group in set(groups):
        assert len({int(f) for f, g in zip(found, groups, strict=True) if g == group}) == 1
    assert set(found.tolist()) == set(range(min(folds, len(set(groups)))))


def test_seeds_differ_and_repeat() -> None:
    strata = [0] * 20
    one, again, other = (draw_folds(range(20), strata, 5, seed) for seed in (0, 0, 1))
    assert (one == again).all() and (one != other).any()


def test_one_example_cannot_be_held_out() -> None:
    with pytest.raises(ValueError, match="two different examples"):
        draw_folds([7, 7, 7], [0, 0, 0], 5, 0)


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
    small, held = split_rows(FOLDS[0], 2, 4, 0)
    large, again = split_rows(FOLDS[0], 2, 8, 0)
    assert set(small) < set(large) and held == again
    everything, _ = split_rows(FOLDS[0], 2, None, 0)
    assert sorted([*everything, *held]) == list(range(20))
    assert held == np.flatnonzero(FOLDS[0] == 2).tolist()


def test_draws_of_repeats_and_folds_are_told_apart() -> None:
    purposes: list[str] = []

    def adapt(train: Sequence[int], held_out: Sequence[int], purpose: str) -> list[list[float]]:
        purposes.append(purpose)
        return [[0.5, 0.5]] * len(held_out)

    cross_validate(adapt, FOLDS, [])
    assert len(set(purposes)) == 10


def test_sizes_are_a_quarter_a_half_and_all() -> None:
    assert curve_sizes(64) == [16, 32, 64]
    assert curve_sizes(8) == [2, 4, 8]
    assert curve_sizes(3) == [3]


def test_points_come_in_order_with_intervals() -> None:
    right = {8: np.array([[1.0], [1.0], [0.0], [1.0]]), 0: np.array([[0.0], [1.0], [0.0], [1.0]])}
    found = curve_points(right)
    assert [p.n for p in found] == [0, 8]
    assert [p.accuracy.mean for p in found] == [0.5, 0.75]


def test_a_line_is_extrapolated_exactly() -> None:
    ns = [0, 3, 7, 15]
    items = np.random.default_rng(0).normal(0.5, 0.1, (50, 1))
    correct = {n: items + 0.05 * np.log2(1 + n) for n in ns}
    found = forecast(correct, now=15, more=16)
    assert found is not None and found.gain.mean == pytest.approx(0.05) and found.more == 16
    assert found.gain.high - found.gain.low < 1e-9


def test_the_interval_covers_the_true_gain() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        p = {n: 0.55 + 0.02 * np.log2(1 + n) for n in (0, 8, 16, 32)}
        correct = {n: (random.uniform(size=(60, 1)) < share).astype(float) for n, share in p.items()}
        found = forecast(correct, now=32, more=33)
        assert found is not None
        covered += found.gain.low <= 0.02 <= found.gain.high
    assert 0.91 <= covered / 300 <= 0.99


def test_two_points_give_no_forecast() -> None:
    assert forecast({0: np.zeros((5, 1)), 8: np.ones((5, 1))}, 8, 30) is None
