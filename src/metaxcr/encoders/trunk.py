"""The trunk's activation cache: what lies below the first trainable adapter, computed once per text.

Texts are filled in fixed *chunks*. A chunk's key is a checksum of everything that its values depend on, the
texts of the chunk included, so a value never depends on what happened to be cached before; where a language
has an adapter, the part of it that lies in the trunk is among that. Chunks are written to a temporary name
and renamed, carry a checksum, and are memory-mapped; a damaged chunk is computed again.
"""

import copy
import hashlib
import json
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from metaxcr.encoders.base import FrozenEncoder, Ragged, Text
from metaxcr.encoders.chunks import Chunk, ChunkFolder
from metaxcr.encoders.tokens import TokenStore

CODE_VERSION = 1  # raise when the values of a chunk may change
CHUNK_TEXTS = 512
FORWARD_TOKENS = 8192  # bounds the memory of one forward pass through the trunk
TOKENS_SHARE = 0.05  # of the bound, for token ids: a token takes some 6 bytes, its activations hundreds


@dataclass
class TrunkStats:
    """What the store has done so far: for costs.json."""

    cold_seconds: float = 0.0
    warm_seconds: float = 0.0
    computed_chunks: int = 0
    texts: int = 0
    tokens: int = 0
    computed_tokens: int = 0
    bytes: int = 0
    cut_texts: int = 0


class LanguagePart(Protocol):
    """What the trunk needs of a language adapter (:class:`metaxcr.adapters.language.LanguageAdapter`)."""

    def checksum(self, stop: int) -> str:
        """Identity of what acts below layer ``stop``; empty where nothing does."""
        ...

    def __call__(self, encoder: FrozenEncoder, embedded: Ragged, dtype: torch.dtype, stop: int) -> Tensor:
        """Run layers 0 to ``stop - 1`` with the adapter in them."""
        ...


class TrunkStore:
    """Activations after the trunk for a growing set of texts.

    Args:
        encoder: The frozen encoder.
        layer: First layer with a trainable adapter; layers 0 to ``layer - 1`` are the trunk.
        dtype: Of the trunk's arithmetic and of the stored values: bfloat16 or float32.
        folder: Where chunks live; shared by runs and processes.
        max_tokens: Contexts are cut to this many tokens; a choice that is longer is an error.
        limit_bytes: The folder's bound: the least recently used chunks go first.
        log: Called with a line when something noteworthy happens.
        tokens: Where token ids are cached; by default in a folder ``tokens`` beside ``folder``, or nowhere if
            ``folder`` is ``Path()``.
        languages: Language -> its frozen adapter; texts in other languages pass the encoder alone.
    """

    def __init__(
        self,
        encoder: FrozenEncoder,
        layer: int,
        dtype: torch.dtype,
        folder: Path,
        *,
        max_tokens: int = 128,
        limit_bytes: int = 20 * 10**9,
        log: Callable[[str], None] = lambda line: None,
        tokens: TokenStore | None = None,
        languages: Mapping[str, LanguagePart] | None = None,
    ) -> None:
        self.encoder, self.layer, self.dtype = encoder, layer, dtype
        self.folder, self.max_tokens, self.limit_bytes = folder, max_tokens, limit_bytes
        self._chunks = ChunkFolder("trunk", folder, limit_bytes, log)
        if tokens is None:
            beside = folder.parent / "tokens" if folder.name else None
            tokens = TokenStore(encoder, beside, limit_bytes=int(limit_bytes * TOKENS_SHARE), log=log)
        self._tokens = tokens
        self._languages: dict[str, tuple[str, LanguagePart]] = {}
        for language, part in (languages or {}).items():
            if checksum := part.checksum(layer):
                self._languages[language] = checksum, part
        self.stats = TrunkStats()
        self._index: dict[tuple[str, Text], int] = {}  # by the language adapter's checksum and the text
        self._slices: list[Tensor] = []  # one (tokens, width) view a text
        self._lengths: list[int] = []
        self._mine: set[Path] = set()

    @property
    def identity(self) -> Hashable:
        """All that the values of texts depend on, but the texts themselves."""
        parts = tuple((language, checksum) for language, (checksum, _) in sorted(self._languages.items()))
        return (*self._computed_by(), self.folder, parts)

    def snapshot(self) -> "TrunkStore":
        """A store with the texts of this one, for :meth:`go_on`: what comes later here does not go there."""
        other = copy.copy(self)
        other._index, other._slices, other._lengths = dict(self._index), [*self._slices], [*self._lengths]
        other._mine, other.stats = set(self._mine), replace(self.stats)
        return other

    def go_on(self, before: "TrunkStore") -> None:
        """Take over the texts of another store, where this one has none yet.

        Args:
            before: A snapshot of a store with the same :attr:`identity`.
        """
        if self._slices:
            return
        taken = before.snapshot()
        self._index, self._slices, self._lengths, self._mine = (
            taken._index, taken._slices, taken._lengths, taken._mine
        )  # fmt: skip
        had = taken.stats  # time and computed tokens are those of the other store's run
        self.stats.texts, self.stats.tokens, self.stats.bytes = had.texts, had.tokens, had.bytes
        self.stats.cut_texts = had.cut_texts

    def ensure(
        self,
        texts: Iterable[Text],
        progress: Callable[[int, int], None] = lambda done, total: None,
        *,
        language: str = "",
    ) -> list[int]:
        """Make texts available and return their numbers.

        Args:
            texts: Any texts, repeated ones allowed. Give the same set in one call to hit the same chunks.
            progress: Called with (chunks done, chunks in all).
            language: Whose language adapter acts on them, if there is one.

        Returns:
            The number of each text, for :meth:`gather`.

        Raises:
            UserError: The disk is full or the cache folder cannot be written.
        """
        texts = list(texts)
        checksum, part = self._languages.get(language, ("", None))
        new = sorted({t for t in texts if (checksum, t) not in self._index}, key=_order)
        chunks = [new[i : i + CHUNK_TEXTS] for i in range(0, len(new), CHUNK_TEXTS)]
        for done, chunk in enumerate(chunks):
            self._add(chunk, checksum, part)
            progress(done + 1, len(chunks))
        if self.stats.computed_chunks:
            self._evict()
        return [self._index[checksum, t] for t in texts]

    def gather(self, numbers: Sequence[int]) -> Ragged:
        """Return the activations of texts by number: a :class:`Ragged` batch in the store's dtype."""
        hidden = torch.cat([self._slices[n] for n in numbers]).to(self.encoder.device)
        return Ragged(hidden, torch.tensor([self._lengths[n] for n in numbers], device="cpu"))

    def lengths(self, numbers: Tensor) -> list[int]:
        """Tokens of texts by number."""
        return [self._lengths[n] for n in numbers.tolist()]

    def by_length(self, numbers: Tensor) -> Tensor:
        """Sort text numbers by length in tokens, ties by number."""
        return numbers[torch.argsort(torch.tensor(self.lengths(numbers)), stable=True)]

    def _add(self, texts: list[Text], checksum: str, part: LanguagePart | None) -> None:
        path = self._chunks.path(self._key(texts, checksum))
        begun = time.perf_counter()
        loaded = self._read(path)
        if loaded is None:
            hidden, lengths, cut = self._compute(texts, part)
            self._write(path, hidden, lengths, cut)
            hidden, lengths, cut = self._read(path) or (hidden, lengths, cut)  # mapped, not held in memory
            self.stats.cold_seconds += time.perf_counter() - begun
            self.stats.computed_chunks += 1
            self.stats.computed_tokens += len(hidden)
        else:
            hidden, lengths, cut = loaded
            self.stats.warm_seconds += time.perf_counter() - begun
        self._mine.add(path)
        self.stats.texts += len(texts)
        self.stats.tokens += len(hidden)
        self.stats.bytes += hidden.nbytes
        self.stats.cut_texts += cut
        sizes: list[int] = lengths.tolist()
        for text, piece, size in zip(texts, torch.split(hidden, sizes), sizes, strict=True):
            self._index[checksum, text] = len(self._slices)
            self._slices.append(piece)
            self._lengths.append(size)

    def _key(self, texts: list[Text], checksum: str) -> str:
        """Checksum of all that the chunk's values depend on."""
        parts = [*self._computed_by(), texts]
        parts += [checksum] if checksum else []  # without an adapter in the trunk the key is as it always was
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:40]

    def _computed_by(self) -> tuple[str | int, ...]:
        return (
            CODE_VERSION, self.encoder.fingerprint, self.encoder.prefix, self.layer, str(self.dtype),
            self.max_tokens, torch.__version__, FORWARD_TOKENS,
        )  # fmt: skip

    @torch.no_grad()
    def _compute(self, texts: list[Text], part: LanguagePart | None) -> tuple[Tensor, Tensor, int]:
        tokenized = self._tokens.tokenize(texts, self.max_tokens)
        pieces, begin, tokens = [], 0, 0
        for end, text in enumerate(tokenized, start=1):
            tokens += len(text.ids)
            if tokens >= FORWARD_TOKENS or end == len(tokenized):
                embedded = self.encoder.embed(tokenized[begin:end])
                if part is None:
                    pieces.append(self.encoder.run(embedded, 0, self.layer, self.dtype))
                else:
                    pieces.append(part(self.encoder, embedded, self.dtype, self.layer))
                begin, tokens = end, 0
        lengths = torch.tensor([len(t.ids) for t in tokenized])
        return torch.cat(pieces).cpu(), lengths, sum(t.full_length > self.max_tokens for t in tokenized)

    def _read(self, path: Path) -> tuple[Tensor, Tensor, int] | None:
        """Map a chunk; None when there is none or it is damaged."""

        def check(chunk: Chunk) -> None:
            if chunk.tensors["hidden"].dtype != self.dtype:
                raise ValueError("other dtype")
            int(chunk.metadata["cut"])

        chunk = self._chunks.read(path, check)
        if chunk is None:
            return None
        return chunk.tensors["hidden"], chunk.tensors["lengths"], int(chunk.metadata["cut"])

    def _write(self, path: Path, hidden: Tensor, lengths: Tensor, cut: int) -> None:
        self._chunks.write(path, {"hidden": hidden, "lengths": lengths}, {"cut": str(cut)})

    def _evict(self) -> None:
        """Delete the least recently used chunks above the bound, never those of this run."""
        self._chunks.evict(self._mine)


def _order(text: Text) -> tuple[int, str, str, int]:
    """Similar lengths side by side, so that attention's padded view wastes little."""
    cuttable = -1 if text.cuttable is None else text.cuttable
    return len(text.first) + len(text.second or ""), text.first, text.second or "", cuttable
