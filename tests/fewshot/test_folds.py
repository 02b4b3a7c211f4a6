"""Folds: stratified, duplicates together, the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaxcr.fewshot.folds import draw_folds


def test_every_fold_has_its_share_of_every_stratum() -> None:
    strata = ["cause 0"] * 10 + ["cause 1"] * 5 + ["effect 0"] * 15 + ["effect 1"] * 10
    folds = draw_folds(range(40), strata, 5, seed=3)
    for stratum, share in (("cause 0", 2), ("cause 1", 1), ("effect 0", 3), ("effect 1", 2)):
        own = folds[[s == stratum for s in strata]]
        assert np.bincount(own, minlength=5).tolist() == [share] * 5


@given(st.lists(st.integers(0, 9), min_size=2, max_size=40), st.integers(2, 6), st.integers(0, 99))
def test_duplicates_share_a_fold_and_no_fold_is_empty(groups: list[int], folds: int, seed: int) -> None:
    if len(set(groups)) < 2:
        return
    found = draw_folds(groups, [g % 2 for g in groups], folds, seed)
    for group in set(groups):
        assert len({int(f) for f, g in zip(found, groups, strict=True) if g == group}) == 1
    assert set(found.tolist()) == set(range(min(folds, len(set(groups)))))


def test_seeds_differ_and_repeat() -> None:
    strata = [0] * 20
    one, again, other = (draw_folds(range(20), strata, 5, seed) for seed in (0, 0, 1))
    assert (one == again).all() and (one != other).any()


def test_one_example_cannot_be_held_out() -> None:
    with pytest.raises(ValueError, match="two different examples"):
        draw_folds([7, 7, 7], [0, 0, 0], 5, 0)
