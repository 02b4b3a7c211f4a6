"""Lines as token ids with the words that the tokens belong to.

Sentences one after another in sequences of one length.

Which tokens the model has to guess, and what stands in their place.
"""

from collections.abc import Sequence
from typing import NamedTuple

import langcodes
import numpy as np

from metaxcr.encoders.encoder import FrozenEncoder, Text, WordTokenizer, WordTokens
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


def pieces(encoder: FrozenEncoder, lines: Sequence[str], *, whole_words: bool) -> list[WordTokens]:
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
            stripped.append(WordTokens([i for i, _ in own], list(units)))
    return stripped


def _units(words: Sequence[int], whole_words: bool) -> list[int]:
    """Number the units that are masked as a whole."""
    counts = {word: words.count(word) for word in set(words)}
    units: list[int] = []
    for at, word in enumerate(words):
        same = at and words[at - 1] == word and whole_words and counts[word] <= MOST_PIECES
        units.append(units[-1] if same else (units[-1] + 1 if units else 0))
    return units


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


def pack(lines: Sequence[WordTokens], frame: Frame, length: int) -> list[Packed]:
    """Pack lines in order, a separator between two, and go on in the next sequence where one is full.

    No token is lost: a line that does not fit is continued, and only the last sequence is shorter.

    Args:
        lines: From :func:`metaxcr.mlm.packing.pieces`.
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
        units: (tokens,) word of each token, :data:`metaxcr.mlm.packing.NO_UNIT` where none is masked.
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
        sequence: From :func:`metaxcr.mlm.packing.pack`.
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
