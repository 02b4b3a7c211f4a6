"""Sentences one after another in sequences of one length."""

from collections.abc import Sequence
from typing import NamedTuple

from metaxcr.encoders.base import Worded
from metaxcr.language.pieces import Frame

NO_UNIT = -1  # of tokens that are never masked


class Packed(NamedTuple):
    """One sequence.

    Attributes:
        ids: Token ids, special tokens and prefix included.
        units: Beside them, the number of the word that a token belongs to, :data:`NO_UNIT` for special tokens
            and the prefix.
    """

    ids: list[int]
    units: list[int]


def pack(lines: Sequence[Worded], frame: Frame, length: int) -> list[Packed]:
    """Pack lines in order, a separator between two, and go on in the next sequence where one is full.

    No token is lost: a line that does not fit is continued, and only the last sequence is shorter.

    Args:
        lines: From :func:`metaxcr.language.pieces.pieces`.
        frame: Stands around every sequence.
        length: Tokens a sequence, the frame included.

    Raises:
        ValueError: The frame leaves no room for text.

    Source:
        Liu et al. 2019 (RoBERTa), section 4.2, FULL-SENTENCES.
    """
    room = length - len(frame.before) - len(frame.after)
    if room < 1:
        raise ValueError(f"sequences of {length} tokens have no room for text")
    ids: list[int] = []
    units: list[int] = []
    first = 0
    for n, line in enumerate(lines):
        if n:
            ids.append(frame.separator)
            units.append(NO_UNIT)
        ids += line.ids
        units += [first + unit for unit in line.words if unit is not None]
        first = units[-1] + 1
    packed = []
    for begin in range(0, len(ids), room):
        body, its_units = ids[begin : begin + room], units[begin : begin + room]
        packed.append(
            Packed(
                [*frame.before, *body, *frame.after],
                [*[NO_UNIT] * len(frame.before), *its_units, *[NO_UNIT] * len(frame.after)],
            )
        )
    return packed
