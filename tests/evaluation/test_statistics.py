"""Intervals: closed forms, an independent analysis of variance, invariances, simulated coverage and power."""

from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as given_values
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metaxcr.errors import UserError
from metaxcr.evaluation.statistics import (
    Estimate,
    accuracy,
    accuracy_difference,
    benjamini_hochberg,
    common_seeds,
    crossed_interval,
    holm,
    language_average,
    mean_squares,
    minimum_detectable_difference,
    paired_difference,
    score_tables,
    sign_flip_test,
    target_languages,
)
from metaxcr.seeding import rng

TABLES = hnp.arrays(
    np.float64,
    given_values.tuples(given_values.integers(2, 9), given_values.integers(2, 5)),
    elements=given_values.floats(-3, 3, allow_nan=False, width=16),
)


def test_closed_form_of_a_small_table() -> None:
    # 3 items x 2 seeds: grand mean 2; item means 1, 2, 3 -> MS_items 2 * 2 / 2 = 2;
    # seed means 5/3 and 7/3 -> MS_seeds 3 * (2/9) / 1 = 2/3; residuals four of 1/3, two of 2/3 -> 4/3 / 2.
    scores = np.array([[1.0, 1.0], [1.0, 3.0], [3.0, 3.0]])
    ms = mean_squares(scores)
    assert (ms.items, ms.seeds, ms.residual) == pytest.approx((2.0, 2 / 3, 2 / 3))
    found = crossed_interval(scores)
    assert found.mean == pytest.approx(2.0)
    assert found.se == pytest.approx(np.sqrt((2 + 2 / 3 - 2 / 3) / 6))
    assert found.dof == pytest.approx(2)  # seeds alone would allow (2 - 1) * 2 / (2/3) = 3, the items have 2
    half = stats.t.ppf(0.975, 2) * found.se
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))
    assert found.kind == "items x seeds"


@settings(max_examples=60, deadline=None)
@given(TABLES)
def test_mean_squares_agree_with_sums_of_squares_by_contrasts(scores: np.ndarray[Any, Any]) -> None:
    # Independent route: totals and correction terms, as in a hand-computed table, with plain loops.
    rows, columns = scores.shape
    correction = sum(float(x) for x in scores.ravel()) ** 2 / (rows * columns)
    total = sum(float(x) ** 2 for x in scores.ravel()) - correction
    between_rows = sum(sum(map(float, row)) ** 2 for row in scores) / columns - correction
    between_columns = sum(sum(map(float, column)) ** 2 for column in scores.T) / rows - correction
    rest = total - between_rows - between_columns
    ms = mean_squares(scores)
    expected = (
        between_rows / (rows - 1),
        between_columns / (columns - 1),
        rest / ((rows - 1) * (columns - 1)),
    )
    assert (ms.items, ms.seeds, ms.residual) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(TABLES)
def test_variance_is_the_plain_sum_unless_a_component_is_negative(scores: np.ndarray[Any, Any]) -> None:
    ms, found = mean_squares(scores), crossed_interval(scores)
    variance = found.se**2 * scores.size
    plain = ms.items + ms.seeds - ms.residual
    if min(ms.items, ms.seeds) >= ms.residual:
        assert variance == pytest.approx(plain, abs=1e-9)
    assert variance >= max(plain, ms.seeds, ms.residual / 4) - 1e-9
    assert min(scores.shape) - 1 <= found.dof + 1e-9
    assert found.dof <= len(scores) - 1
    assert found.low <= found.mean <= found.high


@settings(max_examples=60, deadline=None)
@given(given_values.floats(1.0, 8.0), given_values.floats(0.25, 40.0), given_values.integers(3, 12))
def test_degrees_of_freedom_agree_with_a_quantile_for_each_mean_square(
    items: float, seeds: float, number: int
) -> None:
    # t_d^2 = z^2 (1 + (z^2 + 1) / (2 d)) to first order, so t_d^2 V = z^2 V + z^2 (z^2 + 1) / 2 * V / d: with
    # V / d = V_seeds / (seeds - 1) that is what Banerjee's sum of quantiles adds for the seeds.
    generator = np.random.default_rng(number)
    table = (
        np.sqrt(items) * generator.normal(size=(400, 1))
        + np.sqrt(seeds) * generator.normal(size=number)
        + generator.normal(size=(400, number))
    )
    ms, found = mean_squares(table), crossed_interval(table)
    variance = found.se**2 * table.size
    if found.dof < 399:
        assert variance / found.dof == pytest.approx(ms.seeds / (number - 1))


@settings(max_examples=60, deadline=None)
@given(
    TABLES,
    given_values.randoms(use_true_random=False),
    given_values.sampled_from([-2.0, 0.5, 4.0]),
    given_values.integers(-4, 4),
)
def test_order_shift_and_scale(scores: np.ndarray[Any, Any], random: Any, factor: float, shift: int) -> None:
    found = crossed_interval(scores)
    rows, columns = list(range(scores.shape[0])), list(range(scores.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    moved = crossed_interval(factor * scores[np.ix_(rows, columns)] + shift)
    assert moved.mean == pytest.approx(factor * found.mean + shift, abs=1e-9)
    assert moved.se == pytest.approx(abs(factor) * found.se, abs=1e-7)
    if found.se > 1e-3:
        assert moved.dof == pytest.approx(found.dof, rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(TABLES, given_values.data())
def test_paired_difference_is_antisymmetric(a: np.ndarray[Any, Any], data: Any) -> None:
    b = data.draw(hnp.arrays(np.float64, a.shape, elements=given_values.floats(-3, 3, width=16)))
    forward, backward = paired_difference(a, b), paired_difference(b, a)
    assert (forward.mean, forward.p, forward.se) == (-backward.mean, backward.p, backward.se)
    assert (forward.low, forward.high) == (-backward.high, -backward.low)
    excludes_zero = forward.low > 0 or forward.high < 0
    if forward.se > 0 and abs(forward.p - 0.05) > 1e-9:
        assert excludes_zero == (forward.p < 0.05)


def test_one_seed_is_the_plain_t_interval_of_the_items() -> None:
    scores = rng(0, "one seed").integers(0, 2, 40).astype(float)
    low, high = stats.t.interval(0.9, 39, loc=scores.mean(), scale=stats.sem(scores))
    for shaped in (scores, scores[:, None]):
        found = crossed_interval(shaped, level=0.9)
        assert (found.low, found.high, found.dof, found.kind) == pytest.approx((low, high, 39, "items"))


def test_identical_seeds_are_no_more_information_than_one() -> None:
    column = rng(1, "identical").integers(0, 2, (30, 1)).astype(float)
    one, three = crossed_interval(column), crossed_interval(np.repeat(column, 3, axis=1))
    assert (three.low, three.high, three.dof) == pytest.approx((one.low, one.high, one.dof))


def test_with_one_seed_the_p_value_agrees_with_the_paired_t_test() -> None:
    generator = rng(2, "paired")
    a, b = generator.normal(0.3, 1, 25), generator.normal(0, 1, 25)
    assert paired_difference(a, b).p == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_a_deterministic_method_stands_for_every_seed() -> None:
    generator = rng(3, "broadcast")
    a, b = generator.normal(size=(20, 3)), generator.normal(size=(20, 1))
    assert paired_difference(a, b) == paired_difference(a, np.repeat(b, 3, axis=1))
    assert paired_difference(a, b).kind == "items x seeds"
    assert paired_difference(b, b).kind == "items"


def test_pairing_narrows_what_is_shared() -> None:
    generator = rng(4, "pairing")
    shared = generator.normal(size=(200, 1))
    a, b = (shared + 0.1 * generator.normal(size=(200, 3)) for _ in range(2))
    assert paired_difference(a, b).se < 0.2 * crossed_interval(a).se


def test_no_spread_at_all() -> None:
    same = paired_difference(np.ones((5, 3)), np.ones((5, 3)))
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)
    assert paired_difference(np.ones((5, 3)), np.zeros((5, 3))).p == 0


def _answers(
    generator: np.random.Generator, level: float, items: float, seeds: float
) -> np.ndarray[Any, Any]:
    """500 x 3 answers with an item effect and a seed effect on the probit scale."""
    effect = items * generator.normal(size=(500, 1)) + seeds * generator.normal(size=(1, 3))
    return (level + effect + generator.normal(size=(500, 3)) > 0).astype(float)


@pytest.mark.parametrize(("seeds", "items_only"), [(0.03, 0.95), (0.06, 0.93)])
def test_coverage_of_the_nominal_95_percent_interval(seeds: float, items_only: float) -> None:
    # E[Phi(level + N(0, s^2))] = Phi(level / sqrt(1 + s^2)), so the true accuracy is known exactly.
    level, items, repeats = 0.25, 1.0, 1500
    truth = stats.norm.cdf(level / np.sqrt(1 + items**2 + seeds**2))
    generator = rng(5, "coverage")
    tables = [_answers(generator, level, items, seeds) for _ in range(repeats)]
    crossed = [crossed_interval(table) for table in tables]
    by_item = [crossed_interval(table.mean(axis=1)) for table in tables]
    covered = np.mean([found.low <= truth <= found.high for found in crossed])
    assert 0.93 <= covered <= 0.97
    # The form it replaces, items only on the mean over seeds, covers less: these data can tell the two apart.
    assert np.mean([found.low <= truth <= found.high for found in by_item]) < items_only


def test_the_minimum_detectable_difference_is_detected_four_times_in_five() -> None:
    generator = rng(6, "power")
    items, repeats = 25, 4000
    truth = minimum_detectable_difference(1 / np.sqrt(items), items - 1)
    found = [paired_difference(generator.normal(truth, 1, items), np.zeros(items)).p for _ in range(repeats)]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.8, abs=0.02)


def test_minimum_detectable_difference_of_many_degrees_of_freedom() -> None:
    assert minimum_detectable_difference(1.0, 1e7) == pytest.approx(1.959964 + 0.841621, abs=1e-4)
    assert minimum_detectable_difference(0.02, 1e7) == pytest.approx(0.05603, abs=1e-4)
    assert minimum_detectable_difference(1.0, 2) > 5


def test_parallel_languages_average_per_item() -> None:
    generator = rng(7, "parallel")
    tables = [generator.normal(size=(6, 2)) for _ in range(3)]
    ids = [f"{number}" for number in range(6)]
    shuffled = [(ids[::-1], table[::-1]) if i == 1 else (ids, table) for i, table in enumerate(tables)]
    np.testing.assert_allclose(language_average(shuffled), np.mean(tables, axis=0), atol=1e-12)


def test_languages_with_their_own_items_weigh_alike_and_add_their_variances() -> None:
    generator = rng(8, "separate")
    first, second = generator.normal(5, 1, (40, 1)), generator.normal(0, 1, (200, 1))
    rows = language_average([([f"a{i}" for i in range(40)], first), ([f"b{i}" for i in range(200)], second)])
    assert rows.mean() == pytest.approx((first.mean() + second.mean()) / 2)
    expected = np.sqrt(first.var(ddof=1) / 40 + second.var(ddof=1) / 200) / 2
    assert crossed_interval(rows).se == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.ones((1, 3)), "at least two items"),
        (np.ones((3, 0)), "at least two items"),
        (np.ones((3, 2, 2)), "at least two items"),
        (np.array([1.0, np.nan]), "finite"),
    ],
)
def test_refuses_tables_without_an_interval(scores: np.ndarray[Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        crossed_interval(scores)


def test_refuses_mismatched_pairs_and_levels() -> None:
    with pytest.raises(ValueError, match="same items, not 3 and 4"):
        paired_difference(np.ones((3, 2)), np.ones((4, 2)))
    with pytest.raises(ValueError, match="same seeds, not 3 and 2"):
        paired_difference(np.ones((4, 3)), np.ones((4, 2)))
    with pytest.raises(ValueError, match="level"):
        crossed_interval(np.ones(4), level=95)


def test_few_items_are_counted_exactly() -> None:
    # patterns of (1, 1, 1) with |sum| >= 3: two of eight
    assert sign_flip_test(np.array([1.0, 1.0, 1.0, 0.0])) == pytest.approx(2 / 8)
    assert sign_flip_test(np.array([1.0, 1.0, -1.0])) == 1.0
    assert sign_flip_test(np.zeros(5)) == 1.0


@pytest.mark.parametrize("size", [9, 60])
def test_it_agrees_with_scipy(size: int) -> None:
    difference = np.random.default_rng(size).normal(0.35, 1, size)
    found = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=20000, vectorized=True,
        rng=np.random.default_rng(1),
    )  # fmt: skip
    assert sign_flip_test(difference, draws=20000) == pytest.approx(found.pvalue, abs=0.012)


def test_items_flip_whole_so_copies_of_an_item_add_no_evidence() -> None:
    one = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 40, p=[0.2, 0.5, 0.3])
    assert sign_flip_test(np.repeat(one[:, None], 5, axis=1)) == sign_flip_test(one)


def test_without_a_difference_p_is_uniform() -> None:
    generator = np.random.default_rng(3)
    found = [sign_flip_test(generator.choice([-1.0, 0.0, 1.0], 60), draws=499) for _ in range(400)]
    assert 0.02 < np.mean(np.array(found) <= 0.05) < 0.08
    assert min(found) >= 1 / 500


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.4]) == [0.4]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_scipys(p: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(list(stats.false_discovery_control(p)), abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_order_and_size(p: list[float]) -> None:
    strict, loose = holm(p), benjamini_hochberg(p)
    assert all(a >= b - 1e-12 >= c - 2e-12 for a, b, c in zip(strict, loose, p, strict=True))
    assert max(strict) <= 1
    back = np.argsort(np.argsort(p, kind="stable"), kind="stable")
    assert holm(sorted(p)) == pytest.approx([strict[i] for i in np.argsort(p, kind="stable")])
    assert len(back) == len(p)


def test_holm_keeps_the_chance_of_any_false_finding() -> None:
    p = np.random.default_rng(0).random((2000, 10))
    assert np.mean([min(holm(row)) <= 0.05 for row in p]) == pytest.approx(0.05, abs=0.015)


def scores(*items: str) -> dict[str, float]:
    """Right answers to the items that are named in capitals."""
    return {name.lower(): float(name.isupper()) for name in items}


def test_seeds_and_items_that_all_have() -> None:
    a = {
        "sw": {0: scores("A", "b", "C"), 1: scores("A", "B", "C")},
        "es": {0: scores("a", "B", "c"), 1: scores("A")},
    }
    b = {"sw": {None: scores("a", "B", "C")}, "es": {None: scores("A", "b", "c")}}
    assert common_seeds([a, b], ["sw"]) == [0, 1] and common_seeds([b], ["sw"]) == [None]
    assert common_seeds([a, {"sw": {1: scores("A")}}], ["sw"]) == [1]
    assert common_seeds([a, {"sw": {2: scores("A")}}], ["sw"]) == []
    one, two = score_tables([a, b], ["sw"], [0, 1])
    assert one.tolist() == [[1, 1], [0, 1], [1, 1]] and two.tolist() == [[0, 0], [1, 1], [1, 1]]
    (mean,) = score_tables([a], ["sw", "es"], [0])
    assert np.allclose(mean.mean(), (2 / 3 + 1 / 3) / 2)
    with pytest.raises(UserError, match="no item in common"):
        score_tables([a, {"sw": {None: scores("X")}}], ["sw"], [0])


def test_english_is_no_target_language() -> None:
    assert target_languages(["sw", "en", "es"]) == ["es", "sw"] and target_languages(["en"]) == []


def test_intervals_stay_within_what_is_possible() -> None:
    table = np.ones((20, 3))
    table[0] = 0
    found = accuracy(table)
    assert found.mean == pytest.approx(0.95) and found.ci95 == [found.low, 1.0] and found.n == 20
    assert accuracy(table[:1]) == Estimate(0.0, n=1) and accuracy(table[:1]).ci95 is None
    gain = accuracy_difference(table, 1 - table)
    assert gain.high == 1.0 and gain.verdict == "better" and gain.p is not None and gain.p < 0.001


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.02, "better"),
        (0.0, 0.02, "no difference shown"),
        (-0.01, 0.02, "no difference shown"),
        (-0.02, 0.0, "no difference shown"),
        (-0.02, -0.001, "worse"),
        (None, None, "no difference shown"),
    ],
)
def test_better_and_worse_only_where_the_interval_excludes_zero(low, high, verdict) -> None:
    assert Estimate(0.1, low, high).verdict == verdict
