"""Cost-equivalent shots: the inverse of a curve, and its interval."""

import numpy as np
import pytest

from metaxcr.compare.cost_equivalent import cost_equivalent, equivalent_shots

SHOTS = np.array([0.0, 3.0, 15.0])


def test_the_inverse_of_a_known_curve() -> None:
    curve = np.array([0.5, 0.6, 0.7])  # log2(1 + shots) = 0, 2, 4: 0.05 a doubling
    found = [float(equivalent_shots(a, SHOTS, curve)[0]) for a in (0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.71)]
    assert found == pytest.approx([0, 0, 1, 3, 7, 15, np.inf])


def test_a_dip_is_levelled() -> None:
    # 0.6 and 0.5 become 0.55 each: what lies above begins behind them
    assert equivalent_shots(0.575, SHOTS, np.array([0.6, 0.5, 0.6]))[0] == pytest.approx(7)


def table(rate: float, seed: int, items: int = 400, seeds: int = 5) -> np.ndarray:
    return (np.random.default_rng(seed).random((items, seeds)) < rate).astype(float)


def test_interval_holds_the_truth_and_names_what_is_out_of_reach() -> None:
    baseline = {0: table(0.5, 1), 3: table(0.6, 2), 15: table(0.7, 3)}
    found = cost_equivalent(table(0.65, 4), baseline)
    assert found.shots is not None and found.low is not None and found.low < 7 < (found.high or np.inf)
    beyond = cost_equivalent(table(0.9, 5), baseline)
    assert (beyond.shots, beyond.high) == (None, None)
    assert cost_equivalent(table(0.65, 4), baseline) == found  # the draws are seeded


def test_a_deterministic_baseline_stands_beside_seeds() -> None:
    baseline = {0: table(0.5, 1, seeds=1), 4: table(0.7, 2, seeds=1)}
    assert cost_equivalent(table(0.6, 3), baseline).shots is not None
