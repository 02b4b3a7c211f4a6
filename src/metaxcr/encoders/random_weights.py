"""Encoders with random weights: the true shape of a known one, or a tiny one of its family.

They need no download. Parameter counts, speed and memory are those of the real encoder, what they answer
means nothing: they are for tests, for trying a configuration out, and for measuring. Their names begin with
``random:`` or ``random-tiny:``, wherever they are printed or recorded.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import transformers
from transformers import AutoModel

from metaxcr.encoders.base import Text, TokenizedText, WholeText, Worded, truncate
from metaxcr.encoders.shapes import RandomName, build_config

CLS, SEP, MASK = 2, 3, 4
RESERVED = 8  # ids below are special or unused
PIECE_CHARACTERS = 4
_WORDS = re.compile(r"\w+|[^\w\s]")


class _Piece(NamedTuple):
    id: int
    word: int


class HashTokenizer:
    """Cuts any text into pieces of at most four characters; a piece's id is a checksum of it.

    It needs no vocabulary, and gives about as many tokens as a real multilingual tokenizer.

    Args:
        vocabulary: Ids are below this.
        segments: Whether the second part of a pair has segment 1.
    """

    def __init__(self, vocabulary: int, segments: bool) -> None:
        self._vocabulary, self._segments = vocabulary, segments

    @property
    def fingerprint(self) -> str:
        """Checksum of all that token ids depend on."""
        return f"hash 1 {self._vocabulary} {self._segments}"

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        """See :class:`metaxcr.encoders.base.Tokenizer`."""
        return [
            truncate(text, *whole, max_tokens) for text, whole in zip(texts, self.whole(texts), strict=True)
        ]

    def whole(self, texts: Sequence[Text]) -> list[WholeText]:
        """See :class:`metaxcr.encoders.base.WholeTokenizer`."""
        return [self._text(text) for text in texts]

    @property
    def mask_id(self) -> int | None:
        """See :class:`metaxcr.encoders.base.WordTokenizer`."""
        return MASK

    def words(self, texts: Sequence[Text]) -> list[Worded]:
        """See :class:`metaxcr.encoders.base.WordTokenizer`."""
        worded = []
        for text in texts:
            pieces = self._pieces(text.first)
            ids, words = [piece.id for piece in pieces], [piece.word for piece in pieces]
            worded.append(Worded([CLS, *ids, SEP], [None, *words, None]))
        return worded

    def _text(self, text: Text) -> WholeText:
        first = [piece.id for piece in self._pieces(text.first)]
        ids, parts = [CLS, *first, SEP], [None, *([0] * len(first)), None]
        segments = [0] * len(ids)
        if text.second is not None:
            second = [piece.id for piece in self._pieces(text.second)]
            ids += [*second, SEP]
            parts += [*([1] * len(second)), None]
            segments += [int(self._segments)] * (len(second) + 1)
        return WholeText(ids, segments, parts)

    def _pieces(self, text: str) -> list[_Piece]:
        pieces = []
        for number, word in enumerate(_WORDS.findall(text)):
            for begin in range(0, len(word), PIECE_CHARACTERS):
                piece = ("##" if begin else "") + word[begin : begin + PIECE_CHARACTERS]
                row = RESERVED + zlib.crc32(piece.encode()) % (self._vocabulary - RESERVED)
                pieces.append(_Piece(row, number))
        return pieces


def random_model(name: RandomName) -> tuple[Any, HashTokenizer, str]:
    """Build an encoder with random weights, the same ones for the same name.

    Returns:
        The ``transformers`` model, a tokenizer for it, and the fingerprint of both.
    """
    config = build_config(name.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(name.seed)
        pooling = {} if name.base.pooler else {"add_pooling_layer": False}
        model = AutoModel.from_config(config, dtype=torch.float32, **pooling)
    tokenizer = HashTokenizer(config.vocab_size, getattr(config, "type_vocab_size", 0) > 1)
    made = ["random 1", name.config, name.seed, torch.__version__, transformers.__version__]
    text = f"{json.dumps(made, sort_keys=True)} {tokenizer.fingerprint}"
    return model.eval(), tokenizer, hashlib.sha256(text.encode()).hexdigest()
