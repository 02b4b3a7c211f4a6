"""Corrections for many comparisons: of twenty tests without any effect, one is below 0.05 by chance."""

from collections.abc import Sequence

import numpy as np


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p values so that the chance of *any* false finding stays below the level (step-down Bonferroni).

    Args:
        p: p values of one family of tests, in any order and dependence.

    Returns:
        Adjusted p values in the same order: max over j <= i of min(1, (m - j + 1) p_(j)).

    Source:
        Holm 1979 (Scandinavian Journal of Statistics 6).
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * values[order]))
    return [float(value) for value in adjusted]


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjust p values so that the expected *share* of false findings stays below the level (step-up).

    Args:
        p: p values of one family of tests that are independent or positively dependent.

    Returns:
        Adjusted p values in the same order: min over j >= i of min(1, m / j p_(j)).

    Source:
        Benjamini and Hochberg 1995 (Journal of the Royal Statistical Society B 57).
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")[::-1]
    factors = len(values) / np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(factors * values[order]))
    return [float(value) for value in adjusted]
