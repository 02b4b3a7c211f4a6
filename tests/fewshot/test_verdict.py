"""The rule, and what is said about differences."""

import numpy as np
import pytest

from metaxcr.fewshot.verdict import HeldOut, judge


def system(name: str, right: list[bool], certain: float = 0.8, repeats: int = 1) -> HeldOut:
    table = [[certain, 1 - certain] if hit else [1 - certain, certain] for hit in right]
    return HeldOut(name, [table] * repeats, [0] * len(right))


HALF = [True, False] * 30
MORE = [True] * 45 + [False] * 15
SAME = [True, False] * 30


def test_a_better_model_is_kept_and_called_better() -> None:
    found = judge(system("similarity", HALF), system("unadapted", HALF), system("adapted", MORE, repeats=2))
    assert found.kept == "adapted"
    assert found.gain.mean == pytest.approx(0.25) and found.gain.low > 0 > found.loss_change.mean
    assert "Adapting helped" in found.sentence and "better than the untrained similarity" in found.sentence


def test_a_worse_model_is_not() -> None:
    found = judge(system("similarity", HALF), system("unadapted", MORE), system("adapted", HALF))
    assert found.kept == "unadapted" and "Adapting harmed" in found.sentence
    assert found.over_similarity.mean == pytest.approx(0.25)


def test_a_tie_is_decided_by_the_log_loss() -> None:
    right = [True] * 40 + [False] * 20
    unsure_where_wrong = [[0.9, 0.1]] * 40 + [[0.45, 0.55]] * 20
    sharp = HeldOut("adapted", [unsure_where_wrong], [0] * 60)
    found = judge(system("similarity", HALF), system("unadapted", right), sharp)
    assert found.gain.mean == 0 and found.kept == "adapted" and "do not show" in found.sentence
    swapped = judge(
        system("similarity", HALF),
        HeldOut("unadapted", sharp.probabilities, sharp.labels),
        system("adapted", right),
    )
    assert swapped.kept == "unadapted"


def test_a_model_like_the_baseline_is_not_called_better() -> None:
    found = judge(system("similarity", HALF), system("unadapted", SAME), system("adapted", SAME))
    assert found.kept == "unadapted"  # equal in every respect: nothing speaks for the change
    assert "is not shown" in found.sentence


def test_equally_probable_choices_share_the_point() -> None:
    tied = HeldOut("x", [[[0.5, 0.5], [0.4, 0.4, 0.2], [0.1, 0.9]]], [0, 2, 1])
    assert tied.correct[:, 0].tolist() == [0.5, 0.0, 1.0]


def test_repeats_are_columns() -> None:
    two = HeldOut("x", [[[0.9, 0.1]] * 4, [[0.2, 0.8]] * 4], [0] * 4)
    assert two.correct.tolist() == [[1.0, 0.0]] * 4
    assert two.mean[0] == pytest.approx([0.55, 0.45])
    assert two.losses.shape == (4, 2) and np.isfinite(two.losses).all()
