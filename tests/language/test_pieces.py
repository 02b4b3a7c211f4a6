"""Words of lines, and what stands around a text."""

from collections.abc import Sequence

import pytest

from metaxcr.encoders.base import FrozenEncoder, Text, TokenizedText, Worded
from metaxcr.errors import UserError
from metaxcr.language.pieces import MOST_PIECES, frame, pieces, spaced

from .conftest import CLS, MASK, SEP, ToyTokenizer, build_encoder


def units(encoder: FrozenEncoder, line: str, whole_words: bool = True) -> list[int | None]:
    return pieces(encoder, [line], whole_words=whole_words)[0].words


def test_words_are_units_unless_they_are_long_or_the_script_has_no_spaces(encoder: FrozenEncoder) -> None:
    assert units(encoder, "ab abcdef abc") == [0, 1, 1, 2]
    assert units(encoder, "ab abcdef abc", whole_words=False) == [0, 1, 2, 3]
    long = "abc" * (MOST_PIECES + 1)
    assert units(encoder, f"ab {long} abcd") == [
        0,
        *range(1, MOST_PIECES + 2),
        MOST_PIECES + 2,
        MOST_PIECES + 2,
    ]


def test_lines_without_a_token_are_left_out(encoder: FrozenEncoder) -> None:
    assert len(pieces(encoder, ["ab", " ", "cd"], whole_words=True)) == 2


@pytest.mark.parametrize(("language", "answer"), [("sw", True), ("zh", False), ("th", False), ("ja", False)])
def test_scripts_without_spaces(language: str, answer: bool) -> None:
    assert spaced(language) is answer


def test_the_frame_is_the_special_tokens_and_the_prefix(encoder: FrozenEncoder) -> None:
    plain, prefixed = frame(encoder), frame(build_encoder("query: "))
    assert plain == ([CLS], [SEP], MASK) and plain.separator == SEP
    own = ToyTokenizer().words([Text("query:")])[0].ids
    assert prefixed.before == own[:-1] and prefixed.after == [SEP]


class NoWords:
    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        return []


class NoMask(ToyTokenizer):
    mask_id = None  # type: ignore[assignment]


class NoEnd(ToyTokenizer):
    def words(self, texts: Sequence[Text]) -> list[Worded]:
        return [Worded(w.ids[:-1], w.words[:-1]) for w in super().words(texts)]


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (NoWords(), "does not say where words begin"),
        (NoMask(), "no mask token"),
        (NoEnd(), "ends a text with no"),
    ],
)
def test_tokenizers_that_do_not_do(tokenizer: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        frame(build_encoder(tokenizer=tokenizer))
