import numpy as np
import pytest
from scipy import stats

from metaxcr.diagnosis.statistics import Interval, difference, groups_differ, mean_interval


def test_intervals_are_those_of_scipy() -> None:
    draw = np.random.default_rng(0)
    one, other = draw.normal(0.3, 1, 15), draw.normal(0, 3, 40)
    found, known = mean_interval(one, 0.05), stats.ttest_1samp(one, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    apart = difference(one, other, 0.1)
    known = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.9)
    assert (apart.low, apart.high) == pytest.approx((known.low, known.high))
    assert apart.mean == pytest.approx(one.mean() - other.mean())


def test_without_variance_there_is_no_width() -> None:
    assert difference([1.0, 1.0], [0.5, 0.5], 0.05) == Interval(0.5, 0.5, 0.5)
    assert mean_interval([2.0, 2.0, 2.0], 0.05) == Interval(2.0, 2.0, 2.0)


def test_groups() -> None:
    draw = np.random.default_rng(1)
    same = {name: draw.normal(0, 1, 30).tolist() for name in "abc"}
    assert groups_differ(same) > 0.05
    assert groups_differ(same | {"d": draw.normal(2, 1, 30).tolist()}) < 1e-6
    assert (
        groups_differ({"a": [1.0, 2.0], "b": [1.0]}) == groups_differ({"a": [1.0] * 3, "b": [1.0] * 3}) == 1
    )


def test_an_interval_reads_well() -> None:
    assert str(Interval(-0.0123, -0.02, 0.004)) == "-0.012 [-0.02, +0.004]"
