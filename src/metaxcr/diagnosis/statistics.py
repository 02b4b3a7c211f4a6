"""The few statistics that the rules need: differences of means with intervals, and whether groups differ."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """A mean, or a difference of means, with an interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Mean and ends with the digits that tell them apart."""
        return f"{self.mean:+.2g} [{self.low:+.2g}, {self.high:+.2g}]"


def mean_interval(values: Sequence[float], level: float) -> Interval:
    """Mean of two or more values with its t interval of coverage 1 - ``level``."""
    array = np.asarray(values, dtype=float)
    error, mean = float(array.std(ddof=1)) / math.sqrt(len(array)), float(array.mean())
    half = float(stats.t.ppf(1 - level / 2, len(array) - 1)) * error
    return Interval(mean, mean - half, mean + half)


def difference(one: Sequence[float], other: Sequence[float], level: float) -> Interval:
    """mean(one) - mean(other) with Welch's interval of coverage 1 - ``level``; two or more values each.

    Source:
        Welch 1947 (Biometrika).
    """
    a, b = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    mean, total = float(a.mean() - b.mean()), float(sum(parts))
    if total == 0:
        return Interval(mean, mean, mean)
    dof = total**2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    half = float(stats.t.ppf(1 - level / 2, dof)) * math.sqrt(total)
    return Interval(mean, mean - half, mean + half)


def groups_differ(groups: Mapping[str, Sequence[float]]) -> float:
    """P of the one-way analysis of variance over groups of two or more values; 1 where there are none."""
    usable = [values for values in groups.values() if len(values) > 1]
    if len(usable) < 2 or np.ptp(np.concatenate(usable)) == 0:
        return 1.0
    p = float(stats.f_oneway(*usable).pvalue)
    return p if math.isfinite(p) else 1.0
