"""Temperatures, reliability and thresholds, against known answers."""

from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2

from metaxcr.fewshot.calibration import (
    CAUTIOUS,
    FITTED,
    UNKNOWN,
    abstention,
    accuracy_bound,
    calibrate,
    calibration_error,
    reliability,
    tempered,
    wilson,
)


def softmax(rows: np.ndarray) -> np.ndarray:
    weights = np.exp(rows - rows.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def test_the_temperature_of_a_known_softmax_is_found() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=(20_000, 3))
    labels = [int(random.choice(3, p=p)) for p in softmax(scores)]
    found = calibrate([softmax(scores * 4).tolist()], labels)
    assert found.state == FITTED and found.temperature == pytest.approx(4, rel=0.05)
    assert found.low is not None and found.high is not None and found.low < 4 < found.high
    assert found.p < 1e-6


def equal_margins(right: int, n: int, p: float = 0.8) -> tuple[list[list[float]], list[int]]:
    """Answers that are all equally certain, so many of them right."""
    return [[p, 1 - p]] * n, [0] * right + [1] * (n - right)


@pytest.mark.parametrize(("right", "n"), [(30, 40), (33, 40), (48, 64), (600, 1000)])
def test_equally_certain_answers_are_stated_as_often_as_they_are_right(right: int, n: int) -> None:
    """Then T = s / logit(share right), and the deviance of guessing is 2 n KL(share right || 1/2)."""
    table, labels = equal_margins(right, n)
    found, share = calibrate([table], labels), right / n
    assert found.state == FITTED and found.temperature is not None
    assert found.temperature == pytest.approx(log(4) / log(share / (1 - share)), rel=1e-3)
    assert tempered(table, found.temperature)[0][0] == pytest.approx(share, abs=1e-3)
    deviance = 2 * n * (log(2) + share * log(share) + (1 - share) * log(1 - share))
    assert found.p == pytest.approx(chi2.sf(deviance, 1), rel=1e-3)


@pytest.mark.parametrize(
    ("right", "state"), [(10, UNKNOWN), (20, UNKNOWN), (26, UNKNOWN), (27, FITTED), (40, CAUTIOUS)]
)
def test_a_temperature_is_fitted_where_guessing_is_ruled_out(right: int, state: str) -> None:
    """Of 40: 26 right has p = 0.056 by the likelihood ratio, 27 has p = 0.025."""
    found = calibrate([equal_margins(right, 40)[0]], equal_margins(right, 40)[1])
    assert found.state == state
    assert (found.temperature is None) == (found.high is None) == (state == UNKNOWN)


def test_nothing_is_told_from_scores_that_say_nothing() -> None:
    """The temperature runs to the end of the range, and every probability to a half."""
    found = calibrate([[[0.99, 0.01]] * 10 + [[0.01, 0.99]] * 10], [0, 1] * 10)
    assert found.state == UNKNOWN and found.temperature is None and found.p == pytest.approx(1, abs=0.02)
    found = calibrate([[[0.5, 0.5]] * 40], [0] * 40)  # ties, whatever the labels
    assert (found.state, found.low, found.high, found.p) == (UNKNOWN, None, None, 1.0)


@pytest.mark.parametrize("n", [8, 16, 64])
@pytest.mark.parametrize("choices", [2, 4])
def test_noise_is_rarely_taken_for_knowledge(n: int, choices: int) -> None:
    random = np.random.default_rng(n)
    told = 0
    for _ in range(100):
        table = softmax(random.normal(size=(n, choices)) * 2).tolist()
        told += calibrate([table], random.integers(choices, size=n).tolist()).state != UNKNOWN
    assert told <= 8  # 2.5 expected: scores that are right too rarely are no knowledge either


@pytest.mark.parametrize("n", [4, 8, 20, 64])
def test_answers_that_are_all_right_are_no_certainty(n: int) -> None:
    """The likelihood grows down to T = 0; at the upper end of its interval p = exp(-1.92 / n)."""
    table, labels = equal_margins(n, n)
    found = calibrate([table], labels)
    assert found.state == CAUTIOUS and found.low is None and found.temperature == found.high
    assert found.temperature is not None
    stated = tempered(table, found.temperature)[0][0]
    assert stated == pytest.approx(exp(-chi2.ppf(0.95, 1) / 2 / n), abs=1e-4)


def test_three_right_answers_are_not_enough_to_tell_anything() -> None:
    assert calibrate([equal_margins(2, 2)[0]], [0, 0]).state == UNKNOWN  # 2 log 4 is less than 3.84
    assert calibrate([equal_margins(3, 3)[0]], [0, 0, 0]).state == CAUTIOUS  # 2 log 8 is more


def test_answering_again_is_no_new_evidence() -> None:
    for right, state in ((26, UNKNOWN), (27, FITTED)):
        table, labels = equal_margins(right, 40)
        once, often = (calibrate([table] * n, labels) for n in (1, 5))
        assert once.state == often.state == state and often.p == pytest.approx(once.p)
        assert often.temperature == pytest.approx(once.temperature)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=24),
    st.integers(1, 2),
)
def test_an_interval_holds_its_temperature_and_states_follow_from_it(
    answers: list[tuple[float, bool]], repeats: int
) -> None:
    table, labels = [[p, 1 - p] for p, _ in answers], [int(y) for _, y in answers]
    found = calibrate([table] * repeats, labels)
    assert 0 <= found.p <= 1
    if found.state == UNKNOWN:
        assert found.temperature is found.high is None and found.p >= 0.0499
        return
    assert found.temperature is not None and found.high is not None and found.p <= 0.0501
    assert (found.low or 0) <= found.temperature <= found.high
    assert (found.low is None) == (found.state == CAUTIOUS)


def test_tempering_keeps_the_order_and_one_changes_nothing() -> None:
    p = [[0.2, 0.5, 0.3]]
    assert tempered(p, 1.0)[0] == pytest.approx(p[0])
    warm = tempered(p, 5.0)[0]
    assert warm.sum() == pytest.approx(1) and np.argsort(warm).tolist() == [0, 2, 1] and warm.max() < 0.5


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (3, 10), (50, 64)])
def test_wilson_is_scipys(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high))


def test_reliability_of_calibrated_answers() -> None:
    random = np.random.default_rng(1)
    certain = random.uniform(0.5, 1, 5000)
    right = random.uniform(size=5000) < certain
    parts = reliability(certain, right)
    assert sum(p.n for p in parts) == 5000 and len(parts) == 5
    assert all(p.low < p.stated < p.high for p in parts)
    assert calibration_error(certain, right) < 0.02
    assert calibration_error(np.full(5000, 0.99), right) == pytest.approx(0.99 - right.mean(), abs=1e-9)
    assert len(reliability(certain[:3], right[:3])) == 1


def test_the_threshold_reaches_the_wished_accuracy_on_new_answers() -> None:
    random = np.random.default_rng(2)
    certain = random.uniform(0.5, 1, 1000)
    right = random.uniform(size=1000) < certain
    found = abstention(certain, right, 0.85)
    assert found.probability is not None and 0.7 < found.probability < 0.9
    assert found.low >= 0.85 and found.right >= found.low and 0 < found.answered < 1
    new = random.uniform(0.5, 1, 20_000)
    given = new >= found.probability
    assert (random.uniform(size=20_000) < new)[given].mean() > 0.85


def test_a_few_lucky_answers_are_no_promise() -> None:
    certain, right = np.linspace(0.5, 0.9, 10), np.array([False] * 7 + [True] * 3)
    assert abstention(certain, right, 0.9).probability is None
    assert abstention(certain, right, 0.1).probability == 0.5
    tied = abstention(np.full(40, 0.8), np.array([True] * 30 + [False] * 10), 0.6)
    assert tied.answered == 1.0 and tied.right == 0.75


@pytest.mark.parametrize(("right", "n"), [(22, 22), (30, 40), (1, 9)])
def test_the_lower_end_is_the_exact_one(right: int, n: int) -> None:
    """One-sided 90 % is the lower end of two-sided 80 %."""
    assert accuracy_bound(right, n) == pytest.approx(
        binomtest(right, n).proportion_ci(0.8, method="exact").low
    )
    assert accuracy_bound(0, n) == 0


def test_a_threshold_needs_as_many_right_answers_as_its_promise() -> None:
    """0.9 to the power of 22 is less than 0.1, to the power of 21 it is not."""
    for n, vouched in ((21, False), (22, True)):
        found = abstention(np.full(n, 0.9), np.ones(n, dtype=bool), 0.9)
        assert (found.probability is not None) == vouched


def test_a_threshold_promises_too_much_in_at_most_a_tenth_of_the_cases() -> None:
    """Certainties that say nothing and answers a little worse than wished: no threshold is true."""
    random, broken = np.random.default_rng(3), 0
    for _ in range(600):
        right = random.uniform(size=64) < 0.79
        broken += abstention(random.uniform(0.5, 1, 64), right, 0.8).probability is not None
    assert broken / 600 < 0.13  # 0.1, and three standard errors
