"""Token ids of texts, cached on disk by content.

A chunk's key depends neither on the encoder's weights nor on the length limit: whole texts are cached and are
truncated when they are read. Other weights with the same tokenizer, another layer, dtype or limit use the same
chunks.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers
import torch

from metaxcr.encoders.encoder import (
    UNLIMITED,
    CacheableTokenizer,
    FrozenEncoder,
    Text,
    TokenizedText,
    UncutText,
    truncate,
)
from metaxcr.encoders.tensor_cache import Chunk, ChunkFolder

CODE_VERSION = 1  # raise when the values of a chunk may change
CHUNK_TEXTS = 8192
NO_SPANS = [-1] * 4  # of a text whose parts are interrupted by other tokens: it is tokenised again to be cut

Pair = tuple[str, str | None]
Array = npt.NDArray[np.int64]


class TokenStore:
    """Tokenises texts like its encoder, and caches the result on disk.

    A tokenizer without a fingerprint is called each time, because its results cannot be identified. The same
    texts in the same order, repetitions aside, use the same chunks.

    Args:
        encoder: Gives tokenizer and prefix.
        folder: Where chunks live; shared by runs and processes. None: nothing is cached.
        limit_bytes: Size of the folder above which the least recently used chunks are deleted.
        log: Called with a line when a chunk is damaged.
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
        tokenizer = encoder.tokenizer
        self._tokenizer = tokenizer if folder and isinstance(tokenizer, CacheableTokenizer) else None
        self._chunks = ChunkFolder("token", folder or Path(), limit_bytes, log)
        self._mine: set[Path] = set()
        self._unchecked_bytes: float = limit_bytes  # written since the folder's size was last measured
        self.read_chunks = 0
        self.computed_chunks = 0

    def tokenize(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        """Tokenise and truncate texts as :meth:`metaxcr.encoders.encoder.FrozenEncoder.tokenize` does.

        Raises:
            UserError: As there, or the cache cannot be written.
        """
        if self._tokenizer is None:
            return self.encoder.tokenize(texts, max_tokens)
        self.encoder.check_limit(max_tokens)
        place, pairs = _distinct(texts)
        whole = [text for tensors in self._read_or_compute(pairs) for text in _unpack(tensors)]
        prefix, tokenized = self.encoder.prefix, []
        for text, at in zip(texts, place, strict=True):
            full, spans = whole[at]
            if full.full_length > max_tokens:
                prefixed = Text(prefix + text.first, text.second, text.cuttable)
                if spans == NO_SPANS:
                    full = self._tokenizer([prefixed], max_tokens)[0]
                else:
                    parts = _parts(full.full_length, spans)
                    full = truncate(prefixed, full.ids, full.segments, parts, max_tokens)
            tokenized.append(full)
        return tokenized

    def lengths(self, texts: Sequence[Text]) -> Array:
        """Tokens of texts before truncation, special tokens included: (texts,) int64.

        Raises:
            UserError: The cache cannot be written.
        """
        if self._tokenizer is None:
            uncut = self.encoder.tokenizer(self.encoder.prefixed(texts), UNLIMITED)
            return np.array([t.full_length for t in uncut], np.int64)
        place, pairs = _distinct(texts)
        lengths = [tensors["lengths"].numpy() for tensors in self._read_or_compute(pairs)]
        return np.concatenate([*lengths, np.empty(0, np.int32)]).astype(np.int64)[place]

    def sizes(self, texts: Sequence[Text], max_tokens: int) -> tuple[list[int], int]:
        """Tokens of texts after truncation, and the number of texts that are truncated.

        Raises:
            UserError: As for :meth:`tokenize`.
        """
        self.encoder.check_limit(max_tokens)
        lengths = self.lengths(texts)
        long = np.flatnonzero(lengths > max_tokens)
        cut = self.encoder.tokenize([texts[n] for n in long.tolist()], max_tokens) if len(long) else []
        lengths[long] = [len(text.ids) for text in cut]
        sizes: list[int] = lengths.tolist()
        return sizes, len(long)

    def _read_or_compute(self, pairs: list[Pair]) -> Iterator[dict[str, torch.Tensor]]:
        for begin in range(0, len(pairs), CHUNK_TEXTS):
            yield self._chunk(pairs[begin : begin + CHUNK_TEXTS])
        # Measuring the folder takes longer than writing a chunk: do it once, then per hundredth of the limit.
        if self._unchecked_bytes > self._chunks.limit_bytes / 100 and self.computed_chunks:
            self._chunks.evict(self._mine)
            self._unchecked_bytes = 0

    def _chunk(self, pairs: list[Pair]) -> dict[str, torch.Tensor]:
        assert self._tokenizer is not None
        depends_on = [CODE_VERSION, tokenizers.__version__, self._tokenizer.fingerprint, self.encoder.prefix]
        key = hashlib.sha256(json.dumps([*depends_on, pairs], ensure_ascii=False).encode()).hexdigest()[:40]
        path = self._chunks.path(key)
        self._mine.add(path)

        def check(chunk: Chunk) -> None:
            if len(chunk.tensors["lengths"]) != len(pairs):
                raise ValueError("other number of texts")

        chunk = self._chunks.read(path, check)
        if chunk is not None:
            self.read_chunks += 1
            return chunk.tensors
        texts = [Text(first, second) for first, second in pairs]
        tensors = _pack(self._tokenizer.uncut(self.encoder.prefixed(texts)))
        self._chunks.write(path, tensors, {})
        self._unchecked_bytes += sum(tensor.nbytes for tensor in tensors.values())
        self.computed_chunks += 1
        return tensors


def _distinct(texts: Iterable[Text]) -> tuple[list[int], list[Pair]]:
    """The index of each text among the distinct ones, and these; what may be cut makes no difference."""
    index: dict[Pair, int] = {}
    place = [index.setdefault((first, second), len(index)) for first, second, _ in texts]
    return place, list(index)


def _pack(texts: list[UncutText]) -> dict[str, torch.Tensor]:
    """Flatten to arrays: ids and segments of all tokens, lengths and spans of the two parts of all texts.

    Segments that are all 0, as in XLM-R's family, are left out.
    """
    lengths = np.array([len(t.ids) for t in texts], np.int32)
    total = int(lengths.sum())
    ids = np.fromiter(chain.from_iterable(t.ids for t in texts), np.int32, total)
    segments = np.fromiter(chain.from_iterable(t.segments for t in texts), np.uint8, total)
    spans = np.array([_spans(t.parts) for t in texts], np.int32)
    arrays: dict[str, npt.NDArray[np.generic]] = {"ids": ids, "lengths": lengths, "spans": spans}
    if segments.any():
        arrays["segments"] = segments
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _spans(parts: Sequence[int | None]) -> list[int]:
    """Begin and end of the first part, then of the second, if the tokens of each are side by side."""
    spans = []
    for which in (0, 1):
        count = parts.count(which)
        begin = parts.index(which) if count else 0
        if parts[begin : begin + count].count(which) != count:
            return NO_SPANS
        spans += [begin, begin + count]
    return spans


def _parts(size: int, spans: list[int]) -> list[int | None]:
    """The inverse of :func:`_spans`: the part of each token, None for special ones."""
    parts: list[int | None] = [None] * size
    parts[spans[0] : spans[1]] = [0] * (spans[1] - spans[0])
    parts[spans[2] : spans[3]] = [1] * (spans[3] - spans[2])
    return parts


def _unpack(tensors: dict[str, torch.Tensor]) -> Iterator[tuple[TokenizedText, list[int]]]:
    """Whole texts with the spans of their parts."""
    lengths, ids = tensors["lengths"], tensors["ids"].tolist()
    segments = tensors["segments"].tolist() if "segments" in tensors else None
    ends = [0, *torch.cumsum(lengths, 0).tolist()]
    for (begin, end), spans in zip(pairwise(ends), tensors["spans"].tolist(), strict=True):
        kinds = [0] * (end - begin) if segments is None else segments[begin:end]
        yield TokenizedText(ids[begin:end], kinds, end - begin), spans
