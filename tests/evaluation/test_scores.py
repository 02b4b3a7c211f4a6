"""Scores by language and seed: what is in common, estimates and verdicts, settings in words."""

import numpy as np
import pytest

from metaxcr.errors import UserError
from metaxcr.evaluation.scores import (
    Estimate,
    Setting,
    accuracy,
    accuracy_difference,
    common_seeds,
    score_tables,
    target_languages,
)


def scores(*items: str) -> dict[str, float]:
    """Right answers to the items that are named in capitals."""
    return {name.lower(): float(name.isupper()) for name in items}


def test_seeds_and_items_that_all_have() -> None:
    a = {
        "sw": {0: scores("A", "b", "C"), 1: scores("A", "B", "C")},
        "es": {0: scores("a", "B", "c"), 1: scores("A")},
    }
    b = {"sw": {None: scores("a", "B", "C")}, "es": {None: scores("A", "b", "c")}}
    assert common_seeds([a, b], ["sw"]) == [0, 1] and common_seeds([b], ["sw"]) == [None]
    assert common_seeds([a, {"sw": {1: scores("A")}}], ["sw"]) == [1]
    assert common_seeds([a, {"sw": {2: scores("A")}}], ["sw"]) == []
    one, two = score_tables([a, b], ["sw"], [0, 1])
    assert one.tolist() == [[1, 1], [0, 1], [1, 1]] and two.tolist() == [[0, 0], [1, 1], [1, 1]]
    (mean,) = score_tables([a], ["sw", "es"], [0])
    assert np.allclose(mean.mean(), (2 / 3 + 1 / 3) / 2)
    with pytest.raises(UserError, match="no item in common"):
        score_tables([a, {"sw": {None: scores("X")}}], ["sw"], [0])


def test_english_is_no_target_language() -> None:
    assert target_languages(["sw", "en", "es"]) == ["es", "sw"] and target_languages(["en"]) == []


def test_intervals_stay_within_what_is_possible() -> None:
    table = np.ones((20, 3))
    table[0] = 0
    found = accuracy(table)
    assert found.mean == pytest.approx(0.95) and found.ci95 == [found.low, 1.0] and found.n == 20
    assert accuracy(table[:1]) == Estimate(0.0, n=1) and accuracy(table[:1]).ci95 is None
    gain = accuracy_difference(table, 1 - table)
    assert gain.high == 1.0 and gain.verdict == "better" and gain.p is not None and gain.p < 0.001


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.02, "better"),
        (0.0, 0.02, "no difference shown"),
        (-0.01, 0.02, "no difference shown"),
        (-0.02, 0.0, "no difference shown"),
        (-0.02, -0.001, "worse"),
        (None, None, "no difference shown"),
    ],
)
def test_better_and_worse_only_where_the_interval_excludes_zero(low, high, verdict) -> None:
    assert Estimate(0.1, low, high).verdict == verdict


def test_settings_in_words() -> None:
    assert Setting("none", "similarity", 0).label == "similarity"
    assert Setting("zero-shot", "ctml", 0).label == "zero-shot/ctml"
    assert Setting("few-shot", "finetune", 16).label == "few-shot/finetune/k=16"
    assert Setting("few-shot", "finetune", 16).title == "few-shot, finetune, 16 shots"
    assert Setting("none", "similarity", 0).title == "similarity (untrained)"
    order = [Setting("none", "similarity", 0), Setting("few-shot", "a", 4), Setting("few-shot", "a", 16)]
    assert sorted(order[::-1], key=lambda setting: setting.order) == order
