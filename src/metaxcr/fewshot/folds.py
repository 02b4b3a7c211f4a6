"""Folds for cross-validation: stratified, and with duplicates kept together."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from metaxcr.tasks.seeding import rng

Folds = NDArray[np.int64]  # (examples,) the fold that each example is held out in


def draw_folds(groups: Sequence[Hashable], strata: Sequence[Hashable], folds: int, seed: int) -> Folds:
    """Deal examples into folds.

    Examples of one group (duplicates) share a fold: an example whose twin was trained on is no test. Groups
    are dealt out stratum by stratum in random order, each to the fold that has least of that stratum, then
    least of all, so that folds are alike in size and composition.

    Args:
        groups: What each example must not be parted from.
        strata: What every fold should have its share of: cause and effect, the label's position.
        folds: Their number; there are no more than groups.
        seed: Of the draw.

    Returns:
        The fold of each example, counted from 0.

    Raises:
        ValueError: Fewer than two groups or folds.
    """
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    folds = min(folds, len(members))
    if folds < 2:
        raise ValueError("cross-validation needs two folds and two different examples or more")
    shuffled = rng(seed, "folds").permutation(len(members))
    dealt = [list(members.values())[n] for n in shuffled]
    dealt.sort(key=lambda rows: str(strata[rows[0]]))  # stable: still random within a stratum
    held_in = np.full(len(groups), -1)
    sizes = np.zeros(folds, dtype=np.int64)
    by_stratum: dict[Hashable, NDArray[np.int64]] = {}
    for rows in dealt:
        own = by_stratum.setdefault(strata[rows[0]], np.zeros(folds, dtype=np.int64))
        fold = min(range(folds), key=lambda f: (own[f], sizes[f]))
        held_in[rows] = fold
        own[fold] += len(rows)
        sizes[fold] += len(rows)
    return held_in
