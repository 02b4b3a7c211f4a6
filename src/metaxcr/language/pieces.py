"""Lines as token ids with the words that the tokens belong to."""

from collections.abc import Sequence
from typing import NamedTuple

import langcodes

from metaxcr.encoders.base import FrozenEncoder, Text, Worded, WordTokenizer
from metaxcr.errors import UserError

# Scripts written without spaces: a "word" between two spaces is a whole clause there.
UNSPACED = {"Hans", "Hant", "Jpan", "Thai", "Laoo", "Khmr", "Mymr", "Tibt"}
MOST_PIECES = 10  # of a word that is masked as a whole; a longer one is an address or unspaced text


class Frame(NamedTuple):
    """What stands around the text in every sequence, and is never masked.

    Attributes:
        before: Ids of the special tokens and the encoder's prefix in front.
        after: Ids of the special tokens behind.
        mask: Id of the mask token.
    """

    before: list[int]
    after: list[int]
    mask: int

    @property
    def separator(self) -> int:
        """Stands between two sentences: the token that ends a text."""
        return self.after[-1]


def word_tokenizer(encoder: FrozenEncoder) -> WordTokenizer:
    """The encoder's tokenizer, if masked-language modelling can use it.

    Raises:
        UserError: It does not tell words apart, or has no mask token.
    """
    tokenizer = encoder.tokenizer
    if not isinstance(tokenizer, WordTokenizer):
        raise UserError(
            f"the tokenizer of {encoder.name} does not say where words begin",
            "--encoder",
            "whole words are masked: use an encoder with a fast tokenizer",
        )
    if tokenizer.mask_id is None:
        raise UserError(
            f"the tokenizer of {encoder.name} has no mask token", "--encoder", "use a masked language model"
        )
    return tokenizer


def frame(encoder: FrozenEncoder) -> Frame:
    """The encoder's special tokens and prefix around a text.

    Raises:
        UserError: See :func:`word_tokenizer`; or no special token ends a text.
    """
    tokenizer, prefix = word_tokenizer(encoder), encoder.prefix.strip()
    probe = tokenizer.words([Text(prefix or "a")])[0]
    own = [i for i, word in enumerate(probe.words) if word is not None]
    before = probe.ids[: own[-1] + 1 if prefix else own[0]]
    after = probe.ids[own[-1] + 1 :]
    if not after:
        raise UserError(f"the tokenizer of {encoder.name} ends a text with no special token", "--encoder")
    assert tokenizer.mask_id is not None
    return Frame(before, after, tokenizer.mask_id)


def spaced(language: str) -> bool:
    """Whether a language is written with spaces between words.

    Args:
        language: ISO 639 code.
    """
    return langcodes.Language.get(language).maximize().script not in UNSPACED


def pieces(encoder: FrozenEncoder, lines: Sequence[str], *, whole_words: bool) -> list[Worded]:
    """Tokenise lines without special tokens and prefix.

    Args:
        encoder: Gives the tokenizer.
        lines: Of text.
        whole_words: Tokens of a word have its number. Otherwise, and in words of more than
            :data:`MOST_PIECES` tokens, each token counts as a word of its own.

    Returns:
        Ids and units of each line, units counted from 0; lines without a token are left out.
    """
    texts = [Text(line) for line in lines]
    stripped = []
    for ids, words in word_tokenizer(encoder).words(texts):
        own = [(i, word) for i, word in zip(ids, words, strict=True) if word is not None]
        if own:
            units = _units([word for _, word in own], whole_words)
            stripped.append(Worded([i for i, _ in own], list(units)))
    return stripped


def _units(words: Sequence[int], whole_words: bool) -> list[int]:
    """Number the units that are masked as a whole."""
    counts = {word: words.count(word) for word in set(words)}
    units: list[int] = []
    for at, word in enumerate(words):
        same = at and words[at - 1] == word and whole_words and counts[word] <= MOST_PIECES
        units.append(units[-1] if same else (units[-1] + 1 if units else 0))
    return units
