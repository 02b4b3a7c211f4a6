"""Folds and held-out answers of cross-validation, and which model is kept."""

from collections.abc import Sequence
from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from metaxcr.fewshot.model_selection import (
    HeldOut,
    compare,
    cross_validate,
    curve_sizes,
    draw_folds,
    forecast,
    select_model,
    split_rows,
)


def system(name: str, right: list[bool], certain: float = 0.8, repeats: int = 1) -> HeldOut:
    table = [[certain, 1 - certain] if hit else [1 - certain, certain] for hit in right]
    return HeldOut(name, [table] * repeats, [0] * len(right))


HALF = [True, False] * 30
MORE = [True] * 45 + [False] * 15
SAME = [True, False] * 30


def test_a_better_model_is_kept_and_called_better() -> None:
    found = select_model(
        system("similarity", HALF), system("unadapted", HALF), system("adapted", MORE, repeats=2)
    )
    assert found.kept == "adapted"
    assert found.gain.mean == pytest.approx(0.25) and found.gain.shown == 1
    assert "Adapting helped" in found.sentence and "better than the untrained similarity" in found.sentence


def test_a_worse_model_is_not() -> None:
    found = select_model(system("similarity", HALF), system("unadapted", MORE), system("adapted", HALF))
    assert found.kept == "unadapted" and "Adapting harmed" in found.sentence
    assert found.over_similarity.mean == pytest.approx(0.25)


def flips(better: int, worse: int, n: int = 60) -> tuple[HeldOut, HeldOut]:
    """Two systems whose answers differ in so many examples, and are all right elsewhere."""
    one = [True] * better + [False] * worse + [True] * (n - better - worse)
    other = [False] * better + [True] * worse + [True] * (n - better - worse)
    return system("adapted", one), system("unadapted", other)


@pytest.mark.parametrize(
    ("better", "worse", "kept"),
    [
        (0, 0, "unadapted"),  # no answer differs
        (1, 0, "unadapted"),  # right more often, which happens by chance in every second case
        (4, 0, "unadapted"),  # a plain t interval excludes zero; chance does so in one of eight cases
        (5, 0, "unadapted"),  # p = 2 / 2^5 = 0.0625
        (6, 0, "adapted"),  # p = 2 / 2^6 = 0.03
        (6, 1, "unadapted"),  # p = 2 * 8 / 2^7 = 0.125
        (8, 1, "adapted"),  # p = 2 * 10 / 2^9 = 0.04
        (0, 6, "unadapted"),  # shown to be worse
    ],
)
def test_ties_go_to_the_model_that_was_tested_more(better: int, worse: int, kept: str) -> None:
    found = select_model(
        system("similarity", [True, False] * 30), flips(better, worse)[1], flips(better, worse)[0]
    )
    assert found.kept == kept
    differ = better + worse
    tail = sum(comb(differ, k) for k in range(min(better, worse) + 1)) / 2**differ
    assert found.gain.p == pytest.approx(min(1.0, 2 * tail))
    assert ("Adapting helped" in found.sentence) == (kept == "adapted")
    assert ("Adapting harmed" in found.sentence) == (found.gain.shown < 0) == (worse == 6)
    assert ("tested more" in found.sentence) == (found.gain.shown == 0)


@pytest.mark.parametrize("n", [10, 60, 300])
@pytest.mark.parametrize("better", [0, 1, 4, 5, 6, 9])
def test_the_interval_is_that_of_bonett_and_price_and_agrees_with_the_test(better: int, n: int) -> None:
    """With one more example on either side; t in the place of z."""
    found = compare(*flips(better, 0, n))
    one, other = (better + 1) / (n + 2), 1 / (n + 2)
    half = t.ppf(0.975, n + 1) * sqrt((one + other - (one - other) ** 2) / (n + 1))
    assert found.mean == pytest.approx(better / n)
    assert found.low == pytest.approx(one - other - half) and found.high <= 1
    assert found.low < 0 or found.shown == 1
    assert (found.low > 0) == (found.p <= 0.05)


def test_equal_answers_are_no_proof_of_equality() -> None:
    found = compare(*flips(0, 0, 60))
    assert found.mean == 0 and found.low == -found.high and 0.04 < found.high < 0.05


def test_the_sentence_says_how_much_would_have_shown() -> None:
    found = select_model(system("similarity", HALF), flips(5, 3)[1], flips(5, 3)[0])
    assert found.gain.detectable == pytest.approx(2.85 * (10 / 62 / 61) ** 0.5, rel=0.02)
    assert f"only a gain of about {round(100 * found.gain.detectable)} points" in found.sentence


def test_a_second_round_of_answers_is_no_second_set_of_examples() -> None:
    once, twice = (compare(system("adapted", MORE, repeats=n), system("unadapted", HALF)) for n in (1, 2))
    assert once == twice


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40))
def test_adapted_is_kept_only_if_it_is_shown_to_be_better(answers: list[tuple[bool, bool]]) -> None:
    one, other = (system(n, [a[i] for a in answers]) for i, n in enumerate(("adapted", "unadapted")))
    found = select_model(other, other, one)
    better, worse = (sum(a == pair for a in answers) for pair in ((True, False), (False, True)))
    assert (found.kept == "adapted") == (found.gain.shown > 0)
    if found.kept == "adapted":
        assert better - worse >= 6
    swapped = select_model(one, one, system("adapted", [a[1] for a in answers]))
    assert swapped.gain.shown == -found.gain.shown and swapped.gain.p == found.gain.p


def test_a_model_like_the_baseline_is_not_called_better() -> None:
    found = select_model(system("similarity", HALF), system("unadapted", SAME), system("adapted", SAME))
    assert found.kept == "unadapted"  # equal in every respect: nothing speaks for the change
    assert "is not shown" in found.sentence


def test_equally_probable_choices_share_the_point() -> None:
    tied = HeldOut("x", [[[0.5, 0.5], [0.4, 0.4, 0.2], [0.1, 0.9]]], [0, 2, 1])
    assert tied.correct[:, 0].tolist() == [0.5, 0.0, 1.0]


def test_repeats_are_columns() -> None:
    two = HeldOut("x", [[[0.9, 0.1]] * 4, [[0.2, 0.8]] * 4], [0] * 4)
    assert two.correct.tolist() == [[1.0, 0.0]] * 4
    assert two.mean[0] == pytest.approx([0.55, 0.45])
    assert two.at([2]).correct.tolist() == [[1.0, 0.0]]


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
    full, partial = cross_validate(
        adapt, FOLDS, [4, 8], progress=lambda done, total: seen.append((done, total))
    )
    assert len(full) == 2
    tables = [*full, *partial.values()]
    assert all([row[0] for row in table] == list(range(20)) for table in tables)
    assert {n: {row[1] for row in table} for n, table in partial.items()} == {4: {4.0}, 8: {8.0}}
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


@pytest.mark.parametrize(("size", "sizes"), [(80, [16, 32]), (10, [2, 4]), (4, [])])
def test_sizes_are_a_quarter_and_a_half(size: int, sizes: list[int]) -> None:
    assert curve_sizes([draw_folds(range(size), [0] * size, 5, 0)]) == sizes


def test_a_line_is_extrapolated_exactly() -> None:
    ns = [0, 3, 7, 15]
    items = np.random.default_rng(0).normal(0.5, 0.1, (50, 1))
    correct = {n: items + 0.05 * np.log2(1 + n) for n in ns}
    found = forecast(correct, now=15, more=16)
    assert found is not None and found.mean == pytest.approx(0.05)
    assert found.high - found.low < 1e-9


def test_the_interval_covers_the_true_gain() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        p = {n: 0.55 + 0.02 * np.log2(1 + n) for n in (0, 8, 16, 32)}
        correct = {n: (random.uniform(size=(60, 1)) < share).astype(float) for n, share in p.items()}
        found = forecast(correct, now=32, more=33)
        assert found is not None
        covered += found.low <= 0.02 <= found.high
    assert 0.91 <= covered / 300 <= 0.99


def test_two_points_give_no_forecast() -> None:
    assert forecast({0: np.zeros((5, 1)), 8: np.ones((5, 1))}, 8, 30) is None
