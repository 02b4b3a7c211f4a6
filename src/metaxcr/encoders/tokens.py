"""Tokenizers of published and of random encoders, and the lengths of texts in tokens, cached on disk.

All texts of a run are counted before it starts. The cache depends neither on the encoder's weights nor on the
length limit: lengths before truncation are cached, so other weights with the same tokenizer, another layer,
dtype or limit use the same chunks.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import tokenizers
import torch
import transformers

from metaxcr.encoders.encoder import FrozenEncoder, Text, TokenizedText, WordTokens, truncate
from metaxcr.encoders.tensor_cache import Chunk, ChunkFolder

CODE_VERSION = 1  # raise when the values of a chunk may change
CHUNK_TEXTS = 8192
UNLIMITED = 2**31 - 1  # tokens
CLS, SEP, MASK = 2, 3, 4  # of the hash tokenizer
RESERVED = 8  # ids below are special or unused
PIECE_CHARACTERS = 4
_WORDS = re.compile(r"\w+|[^\w\s]")


class FastTokenizer:
    """Tokens of a tokenizer of the ``tokenizers`` library. It cuts nothing: only contexts may be cut."""

    backend: tokenizers.Tokenizer
    mask_id: int | None  # id of the mask token, if there is one

    def normalise(self, text: str) -> str:
        """What is done to a text before the library sees it."""
        return text

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        """See :class:`metaxcr.encoders.encoder.Tokenizer`."""
        firsts = [self.normalise(text.first) for text in texts]
        seconds = [None if text.second is None else self.normalise(text.second) for text in texts]
        batch = [a if b is None else (a, b) for a, b in zip(firsts, seconds, strict=True)]
        tokenized = []
        # On all cores, without offsets; the parts are only computed where something is cut.
        for text, encoding in zip(texts, self.backend.encode_batch_fast(batch), strict=True):
            ids, segments = encoding.ids, encoding.type_ids
            if len(ids) <= max_tokens:
                tokenized.append(TokenizedText(ids, segments, len(ids)))
            else:
                tokenized.append(truncate(text, ids, segments, encoding.sequence_ids, max_tokens))
        return tokenized

    def words(self, texts: Sequence[Text]) -> list[WordTokens]:
        """See :class:`metaxcr.encoders.encoder.WordTokenizer`."""
        encodings = self.backend.encode_batch([self.normalise(text.first) for text in texts])
        return [WordTokens(encoding.ids, encoding.word_ids) for encoding in encodings]


class HubTokenizer(FastTokenizer):
    """A fast ``transformers`` tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.mask_id = tokenizer.mask_token_id
        self.backend = tokenizer.backend_tokenizer
        self.backend.no_truncation()
        self.backend.no_padding()
        self.backend.encode_special_tokens = tokenizer.split_special_tokens

    @cached_property
    def fingerprint(self) -> str:
        """Checksum of vocabulary, normalisation, template and added tokens."""
        how = [type(self._tokenizer).__name__, self._tokenizer.split_special_tokens, transformers.__version__]
        return hashlib.sha256(f"{how} {self.backend.to_str()}".encode()).hexdigest()


class HashTokenizer:
    """Cuts any text into pieces of at most four characters; a piece's id is a checksum of it.

    It needs no vocabulary, and gives about as many tokens as a real multilingual tokenizer. ``segments``:
    whether the second part of a pair has segment 1.
    """

    mask_id: int | None = MASK

    def __init__(self, vocabulary: int, segments: bool) -> None:
        self._vocabulary, self._segments = vocabulary, segments
        self.fingerprint = f"hash 1 {vocabulary} {segments}"

    @classmethod
    def of(cls, config: Any) -> Self:
        """The tokenizer for an encoder with a ``transformers`` configuration."""
        return cls(config.vocab_size, getattr(config, "type_vocab_size", 0) > 1)

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        """See :class:`metaxcr.encoders.encoder.Tokenizer`."""
        tokenized = []
        for text in texts:
            first, _ = self._pieces(text.first)
            ids, parts = [CLS, *first, SEP], [None, *([0] * len(first)), None]
            segments = [0] * len(ids)
            if text.second is not None:
                second, _ = self._pieces(text.second)
                ids += [*second, SEP]
                parts += [*([1] * len(second)), None]
                segments += [int(self._segments)] * (len(second) + 1)
            tokenized.append(truncate(text, ids, segments, parts, max_tokens))
        return tokenized

    def words(self, texts: Sequence[Text]) -> list[WordTokens]:
        """See :class:`metaxcr.encoders.encoder.WordTokenizer`."""
        pieces = [self._pieces(text.first) for text in texts]
        return [WordTokens([CLS, *ids, SEP], [None, *words, None]) for ids, words in pieces]

    def _pieces(self, text: str) -> tuple[list[int], list[int]]:
        """The id and the word of each piece."""
        ids, words = [], []
        for number, word in enumerate(_WORDS.findall(text)):
            for begin in range(0, len(word), PIECE_CHARACTERS):
                piece = ("##" if begin else "") + word[begin : begin + PIECE_CHARACTERS]
                ids.append(RESERVED + zlib.crc32(piece.encode()) % (self._vocabulary - RESERVED))
                words.append(number)
        return ids, words


class TokenCounter:
    """Counts the tokens of texts with the encoder's tokenizer, and caches the counts on disk.

    A tokenizer without a ``fingerprint`` (a checksum of all that token ids depend on) is called each time,
    because its results cannot be identified; so is any without a ``folder``. The same texts in the same
    order, repetitions aside, use the same chunks.
    """

    def __init__(
        self,
        encoder: FrozenEncoder,
        folder: Path | None,
        *,
        limit_bytes: int = 10**9,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.encoder = encoder
        self._fingerprint = getattr(encoder.tokenizer, "fingerprint", None) if folder else None
        self._chunks = ChunkFolder("token", folder or Path(), limit_bytes, log)
        self._used: set[Path] = set()
        self._unchecked_bytes: float = limit_bytes  # written since the folder's size was last measured
        self.read_chunks = 0
        self.computed_chunks = 0

    def lengths(self, texts: Sequence[Text]) -> npt.NDArray[np.int64]:
        """Tokens of texts before truncation, special tokens included: (texts,) int64."""
        if self._fingerprint is None:
            return self._count(texts).astype(np.int64)
        index: dict[tuple[str, str | None], int] = {}  # which part may be cut makes no difference
        place = [index.setdefault((first, second), len(index)) for first, second, _ in texts]
        pairs = list(index)
        chunks = [self._chunk(pairs[at : at + CHUNK_TEXTS]) for at in range(0, len(pairs), CHUNK_TEXTS)]
        # Measuring the folder takes longer than writing a chunk: do it once, then per hundredth of the limit.
        if self._unchecked_bytes > self._chunks.limit_bytes / 100 and self.computed_chunks:
            self._chunks.evict(self._used)
            self._unchecked_bytes = 0
        return np.concatenate([*chunks, np.empty(0, np.int32)]).astype(np.int64)[place]

    def sizes(self, texts: Sequence[Text], max_tokens: int) -> tuple[list[int], int]:
        """Tokens of texts after truncation, and the number of texts that are truncated."""
        self.encoder.check_limit(max_tokens)
        lengths = self.lengths(texts)
        long = np.flatnonzero(lengths > max_tokens)
        cut = self.encoder.tokenize([texts[n] for n in long.tolist()], max_tokens) if len(long) else []
        lengths[long] = [len(text.ids) for text in cut]
        sizes: list[int] = lengths.tolist()
        return sizes, len(long)

    def _count(self, texts: Sequence[Text]) -> npt.NDArray[np.int32]:
        tokenized = self.encoder.tokenizer(self.encoder.prefixed(texts), UNLIMITED)
        return np.array([text.full_length for text in tokenized], np.int32)

    def _chunk(self, pairs: list[tuple[str, str | None]]) -> npt.NDArray[np.int32]:
        """The lengths of a chunk's texts, read or computed."""
        depends_on = [CODE_VERSION, tokenizers.__version__, self._fingerprint, self.encoder.prefix, pairs]
        key = hashlib.sha256(json.dumps(depends_on, ensure_ascii=False).encode()).hexdigest()[:40]
        path = self._chunks.path(key)
        self._used.add(path)

        def check(chunk: Chunk) -> None:
            if len(chunk.tensors["lengths"]) != len(pairs):
                raise ValueError("other number of texts")

        chunk = self._chunks.read(path, check)
        if chunk is not None:
            self.read_chunks += 1
            return chunk.tensors["lengths"].numpy()
        lengths = self._count([Text(first, second) for first, second in pairs])
        self._chunks.write(path, {"lengths": torch.from_numpy(lengths)}, {})
        self._unchecked_bytes += lengths.nbytes
        self.computed_chunks += 1
        return lengths
