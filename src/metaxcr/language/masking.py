"""Which tokens the model has to guess, and what stands in their place."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metaxcr.language.packing import NO_UNIT, Packed

RATE = 0.15  # of a sequence's tokens that are to be guessed
MASKED, RANDOM = 0.8, 0.1  # of those: replaced by the mask token, by a random token; the rest stays


class Masked(NamedTuple):
    """A sequence with something to guess.

    Attributes:
        ids: What the encoder sees.
        places: Where a token is to be guessed, ascending.
        targets: Which token it was, by row of the decoder.
    """

    ids: list[int]
    places: list[int]
    targets: list[int]


def choose(units: Sequence[int], rate: float, draw: np.random.Generator) -> list[int]:
    """Choose whole words until about ``rate`` of the tokens are chosen.

    Args:
        units: (tokens,) word of each token, :data:`metaxcr.language.packing.NO_UNIT` where none is masked.
        rate: Share of the tokens that have a word.
        draw: Orders the words.

    Returns:
        Places of the chosen tokens, ascending. At least one word, and never more than the budget otherwise: a
        word that would exceed it is passed over, as in BERT.

    Source:
        Devlin et al. 2019 (BERT), section 3.1, and its whole-word-masking models of May 2019.
    """
    places: dict[int, list[int]] = {}
    for at, unit in enumerate(units):
        if unit != NO_UNIT:
            places.setdefault(unit, []).append(at)
    words = list(places.values())
    budget = round(rate * sum(map(len, words)))
    chosen: list[int] = []
    for n in draw.permutation(len(words)).tolist():
        if not chosen or len(chosen) + len(words[n]) <= budget:
            chosen += words[n]
    return sorted(chosen)


def mask(
    sequence: Packed, mask_id: int, rows: Sequence[int], row_of: dict[int, int], draw: np.random.Generator
) -> Masked:
    """Mask a sequence: of the chosen tokens 80 % become the mask token, 10 % a random one, 10 % stay.

    Args:
        sequence: From :func:`metaxcr.language.packing.pack`.
        mask_id: Id of the mask token.
        rows: Token ids that the decoder knows; random tokens come from them.
        row_of: The inverse of ``rows``.
        draw: Of this sequence at this step.
    """
    places = choose(sequence.units, RATE, draw)
    ids = list(sequence.ids)
    fates, others = draw.random(len(places)), draw.integers(len(rows), size=len(places))
    for at, fate, other in zip(places, fates.tolist(), others.tolist(), strict=True):
        if fate < MASKED:
            ids[at] = mask_id
        elif fate < MASKED + RANDOM:
            ids[at] = rows[other]
    return Masked(ids, places, [row_of[sequence.ids[at]] for at in places])
