"""Permutation tests: against scipy's, against counting by hand, and at the nominal level."""

import numpy as np
import pytest
from scipy import stats

from metaxcr.evaluation.permutation import sign_flip_test


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
