from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from metaxcr.diagnosis.findings import (
    MeanInterval,
    difference,
    groups_differ,
    mean_interval,
    require_bounded,
    stopped,
)
from metaxcr.training.loop import Diverged


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
    assert difference([1.0, 1.0], [0.5, 0.5], 0.05) == MeanInterval(0.5, 0.5, 0.5)
    assert mean_interval([2.0, 2.0, 2.0], 0.05) == MeanInterval(2.0, 2.0, 2.0)


def test_groups() -> None:
    draw = np.random.default_rng(1)
    same = {name: draw.normal(0, 1, 30).tolist() for name in "abc"}
    assert groups_differ(same) > 0.05
    assert groups_differ(same | {"d": draw.normal(2, 1, 30).tolist()}) < 1e-6
    assert (
        groups_differ({"a": [1.0, 2.0], "b": [1.0]}) == groups_differ({"a": [1.0] * 3, "b": [1.0] * 3}) == 1
    )


def test_an_interval_reads_well() -> None:
    assert str(MeanInterval(-0.0123, -0.02, 0.004)) == "-0.012 [-0.02, +0.004]"


def test_absurd_losses_stop_the_run_and_high_ones_do_not() -> None:
    require_bounded(3, {"support_loss": 12.0, "query_loss": 40.0})
    for name in ("support_loss", "query_loss"):
        event = {"support_loss": 1.0, "query_loss": 1.0} | {name: 51.0}
        with pytest.raises(Diverged) as error:
            require_bounded(3, event)
        assert error.value.step == 3
        assert error.value.term == f"{name.replace('_', ' ')} (51 times that of guessing)"


def test_the_line_names_place_cause_remedy_and_what_is_kept() -> None:
    error = stopped(
        "ctml seed 3",
        Diverged(17, "direction"),
        {"ctml.inner_lr": 5.0, "ctml.outer_lr": 1e-3},
        Path("run/c"),
    )
    assert str(error) == (
        "training diverged: ctml seed 3, step 17: the direction is not finite (the state before that step is "
        "kept in run/c): lower ctml.inner_lr (now 5) or ctml.outer_lr (now 0.001) and start again with "
        "another --out; other settings are another run"
    )
