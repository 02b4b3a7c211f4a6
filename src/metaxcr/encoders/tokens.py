"""Lengths of texts in tokens, cached on disk: all texts of a run are counted before it starts.

A chunk's key depends neither on the encoder's weights nor on the length limit: lengths before truncation are
cached, so other weights with the same tokenizer, another layer, dtype or limit use the same chunks.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers
import torch

from metaxcr.encoders.encoder import FrozenEncoder, Text
from metaxcr.encoders.tensor_cache import Chunk, ChunkFolder

CODE_VERSION = 1  # raise when the values of a chunk may change
CHUNK_TEXTS = 8192
UNLIMITED = 2**31 - 1  # tokens

Pair = tuple[str, str | None]
Array = npt.NDArray[np.int64]


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

    def lengths(self, texts: Sequence[Text]) -> Array:
        """Tokens of texts before truncation, special tokens included: (texts,) int64."""
        if self._fingerprint is None:
            return self._count(texts).astype(np.int64)
        index: dict[Pair, int] = {}  # which part may be cut makes no difference
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

    def _chunk(self, pairs: list[Pair]) -> npt.NDArray[np.int32]:
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
