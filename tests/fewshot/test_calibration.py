"""Temperatures, reliability and thresholds, against known answers."""

import numpy as np
import pytest
from scipy.stats import binomtest

from metaxcr.fewshot.calibration import (
    abstention,
    calibration_error,
    fit_temperature,
    log_losses,
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
    overconfident = softmax(scores * 4).tolist()
    assert fit_temperature(overconfident, labels) == pytest.approx(4, rel=0.05)


def test_labels_that_scores_say_nothing_about_give_a_temperature_that_says_nothing() -> None:
    p = [[0.99, 0.01]] * 10 + [[0.01, 0.99]] * 10
    t = fit_temperature(p, [0, 1] * 10)
    assert t > 50
    assert all(abs(row[0] - 0.5) < 0.03 for row in tempered(p, t))


def test_tempering_keeps_the_order_and_one_changes_nothing() -> None:
    p = [[0.2, 0.5, 0.3]]
    assert tempered(p, 1.0)[0] == pytest.approx(p[0])
    warm = tempered(p, 5.0)[0]
    assert warm.sum() == pytest.approx(1) and np.argsort(warm).tolist() == [0, 2, 1] and warm.max() < 0.5


def test_a_log_loss_of_one_is_chance_for_any_number_of_choices() -> None:
    assert log_losses([[0.5, 0.5], [0.25] * 4], [0, 3]) == pytest.approx([1, 1])
    assert log_losses([[1.0, 0.0]], [0])[0] == 0
    assert np.isfinite(log_losses([[1.0, 0.0]], [1])[0])


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
    certain = random.uniform(0.5, 1, 400)
    right = random.uniform(size=400) < certain
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
