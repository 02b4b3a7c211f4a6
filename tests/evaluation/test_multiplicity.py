"""Corrections for many comparisons: worked examples, scipy, and the promise they make."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metaxcr.evaluation.multiplicity import benjamini_hochberg, holm


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
