"""Packing loses nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaxcr.encoders.base import Worded
from metaxcr.language.packing import NO_UNIT, pack
from metaxcr.language.pieces import Frame

FRAME = Frame([1, 7], [2], 3)


def line(sizes: list[int], first: int) -> Worded:
    units: list[int | None] = [n for n, size in enumerate(sizes) for _ in range(size)]
    return Worded(list(range(first, first + len(units))), units)


@given(
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=5), min_size=1, max_size=6), st.integers(4, 12)
)
def test_no_token_is_lost_and_words_keep_apart(sizes: list[list[int]], length: int) -> None:
    lines = [line(words, 100 * (n + 1)) for n, words in enumerate(sizes)]
    packed = pack(lines, FRAME, length)
    for number, sequence in enumerate(packed):
        assert (
            sequence.ids[:2] == [1, 7] and sequence.ids[-1] == 2 and len(sequence.ids) == len(sequence.units)
        )
        assert len(sequence.ids) == length or number == len(packed) - 1
        assert [u for u in (*sequence.units[:2], sequence.units[-1])] == [NO_UNIT] * 3
    body = [pair for s in packed for pair in zip(s.ids[2:-1], s.units[2:-1], strict=True)]
    expected: list[int] = []
    for n, one in enumerate(lines):
        expected += [*([2] if n else []), *one.ids]
    assert [i for i, _ in body] == expected
    assert all((unit == NO_UNIT) == (i == 2) for i, unit in body)
    # two tokens share a unit exactly if they share a word of a line
    words = [(n, w) for n, one in enumerate(lines) for w in one.words]
    units = [u for _, u in body if u != NO_UNIT]
    assert len(set(zip(words, units, strict=True))) == len(set(words)) == len(set(units))


def test_a_frame_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        pack([line([1], 100)], FRAME, 3)
