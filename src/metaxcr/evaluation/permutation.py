"""A permutation test of paired differences: no assumption on how scores are distributed."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaxcr.tasks.seeding import rng

EXACT = 14  # up to so many differing items all sign patterns are tried
BLOCK = 512  # draws at a time: bounds the memory


def sign_flip_test(difference: NDArray[np.floating[Any]], draws: int = 9999, seed: int = 0) -> float:
    """Return the two-sided p value of "no difference", by flipping the signs of whole items.

    Where two methods do not differ, an item's difference is as likely to have either sign. All that belongs
    to an item (its translations, its seeds) flips together: they succeed and fail together, so the item is
    the unit. The seeds of training count as fixed, so the test speaks about these runs on other items.

    Args:
        difference: Shape (items,) or (items, seeds): a minus b. Translations of an item are one row, see
            :func:`metaxcr.evaluation.intervals.language_average`; subtract after averaging.
        draws: Random sign patterns, where there are too many to try all.
        seed: Of the patterns.

    Returns:
        Share of patterns whose mean is at least as far from zero, the observed one included (so never 0).

    Source:
        Fisher 1935; Dror et al. 2018 (ACL, The Hitchhiker's Guide to Testing Statistical Significance in
        NLP); Phipson and Smyth 2010 for the observed pattern's place among the draws.
    """
    rows = np.asarray(difference, dtype=np.float64)
    rows = rows.reshape(len(rows), -1).mean(axis=1)
    rows = rows[rows != 0]  # items without a difference change no mean
    if not len(rows):
        return 1.0
    observed = abs(rows.sum()) - 1e-12 * np.abs(rows).sum()  # equal sums must compare as equal
    if len(rows) <= EXACT:
        patterns = np.array(list(itertools.product((-1.0, 1.0), repeat=len(rows))))
        return float(np.mean(np.abs(patterns @ rows) >= observed))
    generator, extreme = rng(seed, "permutation", 0), 0
    for begin in range(0, draws, BLOCK):
        size = min(BLOCK, draws - begin)
        signs = generator.integers(0, 2, (size, len(rows)), dtype=np.int8) * 2.0 - 1.0
        extreme += int(np.sum(np.abs(signs @ rows) >= observed))
    return (extreme + 1) / (draws + 1)
