"""From lines of text to masked sequences: tokens with their words, packing, whole-word masking."""

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
    """The ids around the text of every sequence, which are never masked, and that of the mask token."""

    before: list[int]  # special tokens and the encoder's prefix
    after: list[int]
    mask: int

    @property
    def separator(self) -> int:
        """The token between two sentences: the one that ends a text."""
        return self.after[-1]


def word_tokenizer(encoder: FrozenEncoder) -> WordTokenizer:
    """The encoder's tokenizer; UserError if it does not know words, or has no mask token."""
    tokenizer = encoder.tokenizer
    if not isinstance(tokenizer, WordTokenizer):
        raise UserError(
            f"the tokenizer of {encoder.name} does not know where words begin",
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
    """Whether a language (ISO 639 code) is written with spaces between words."""
    return langcodes.Language.get(language).maximize().script not in UNSPACED


def pieces(encoder: FrozenEncoder, lines: Sequence[str], *, whole_words: bool) -> list[WordTokens]:
    """Tokenise lines, without special tokens and prefix: ids and units, which are masked as a whole.

    With ``whole_words`` a unit is a word of at most :data:`MOST_PIECES` tokens; any other token is a unit of
    its own. Units count from 0 in each line; lines without a token are left out.
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
    counts = {word: words.count(word) for word in set(words)}
    units: list[int] = []
    for at, word in enumerate(words):
        same = at and words[at - 1] == word and whole_words and counts[word] <= MOST_PIECES
        units.append(units[-1] if same else (units[-1] + 1 if units else 0))
    return units


NO_UNIT = -1  # of tokens that are never masked


class Packed(NamedTuple):
    """One sequence."""

    ids: list[int]  # with special tokens and prefix
    units: list[int]  # of each token; NO_UNIT for special tokens and the prefix


def pack(lines: Sequence[WordTokens], frame: Frame, length: int) -> list[Packed]:
    """Pack lines in order, with separators, into sequences of ``length`` tokens, the frame included.

    No token is lost: a line that does not fit continues in the next sequence. Only the last one is shorter.

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


RATE = 0.15  # share of a sequence's tokens to predict
MASKED, RANDOM = 0.8, 0.1  # share of those replaced by the mask token, by a random token; the rest stays


class Masked(NamedTuple):
    """A masked sequence."""

    ids: list[int]
    places: list[int]  # of the tokens to predict, ascending
    targets: list[int]  # these tokens, as rows of the decoder


def choose(units: Sequence[int], rate: float, draw: np.random.Generator) -> list[int]:
    """Choose whole words until about ``rate`` of the tokens with a unit are chosen.

    Returns:
        Places of the chosen tokens, ascending: at least one word, and otherwise no more than the budget. A
        word that would exceed it is skipped, as in BERT.

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

    ``rows`` are the token ids of the decoder, also for random tokens, and ``row_of`` their inverse.
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
