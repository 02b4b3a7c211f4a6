"""The learning curve: a known slope is found, with an interval that covers it."""

import numpy as np
import pytest

from metaxcr.fewshot.curve import forecast, points, sizes


def test_sizes_are_a_quarter_a_half_and_all() -> None:
    assert sizes(64) == [16, 32, 64]
    assert sizes(8) == [2, 4, 8]
    assert sizes(3) == [3]


def test_points_come_in_order_with_intervals() -> None:
    right = {8: np.array([[1.0], [1.0], [0.0], [1.0]]), 0: np.array([[0.0], [1.0], [0.0], [1.0]])}
    found = points(right)
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
