"""The trunk's activations: the output of the layers below the first trainable adapter, cached by text.

A text's values depend on the text alone, bit by bit: texts of about the same length are computed in *tiles*
of one shape, so a row of a tile does not depend on the other rows, on which texts are computed together or
on what was cached before. Values are stored by the text's digest, in one folder for everything else that they
depend on (see :mod:`metaxcr.encoders.tensor_cache`), including a language adapter's layers in the trunk.
"""

import copy
import hashlib
import json
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from metaxcr.encoders.encoder import FrozenEncoder, Ragged, Text, TokenizedText, round_up
from metaxcr.encoders.layer import Context
from metaxcr.encoders.tensor_cache import KEY_BYTES, ChunkFolder, TensorCache
from metaxcr.encoders.tokens import TokenCounter
from metaxcr.hardware import CPU

Log = Callable[[str], None]
TileProgress = Callable[[int, int], None]  # (done, total)

CODE_VERSION = 2  # raise when the values of a text may change
# Rows of a tile. On the CPU, larger tiles would be mostly empty for the few texts of an episode; on a GPU,
# small products leave the device idle.
TILE_TOKENS, DEVICE_TILE_TOKENS = 256, 4096
BUCKET = 8  # texts of a tile have the same length, rounded up to a multiple of this
LONG_STEP = 128  # a text longer than a tile gets a tile of its own; its size is a multiple of this
TILES_AT_ONCE = 64  # tokenised together: limits the memory for token ids
WRITE_BYTES = 32 * 10**6  # held in memory before they are written
LEAST_BYTES = 4 * 10**6  # not worth a file of their own before the run ends
TOKENS_SHARE = 0.05  # of the limit, for lengths: a text takes 4 bytes, its activations thousands
RESIDENT_SHARE = 0.25  # of a GPU's free memory, for values that stay there


@dataclass
class CacheStats:
    """What the cache has done so far: for costs.json."""

    cold_seconds: float = 0.0  # computing and writing
    warm_seconds: float = 0.0  # looking up and reading
    computed_texts: int = 0
    computed_tokens: int = 0
    texts: int = 0  # all registered texts, needed or not
    tokens: int = 0
    used_tokens: int = 0  # of the texts that were needed
    bytes: int = 0  # of their values
    cut_texts: int = 0  # registered texts that were too long


class TrunkAdapter(Protocol):
    """What the trunk needs of a :class:`metaxcr.adapters.language_adapter.LanguageAdapter`."""

    def checksum(self, stop: int) -> str:
        """Identity of what acts below layer ``stop``; empty where nothing does."""

    def trunk(
        self, encoder: FrozenEncoder, embedded: Tensor, context: Context, dtype: torch.dtype, stop: int
    ) -> Tensor:
        """Run layers 0 to ``stop - 1`` with the adapter in them."""


class ActivationCache:
    """Activations after the trunk for a growing set of texts.

    :meth:`register` gives a text its number and its length. Its values are computed or read when they are
    gathered; :meth:`ensure` does that at once, for texts that are certain to be needed. Lengths are cached in
    a folder ``tokens`` beside ``folder``.

    Args:
        encoder: The frozen encoder.
        layer: First layer with a trainable adapter; layers 0 to ``layer - 1`` are the trunk.
        dtype: Of the trunk's arithmetic and of the stored values.
        folder: Where values live; shared by runs and processes. ``Path()``: in memory only.
        max_tokens: Contexts are cut to this many tokens; a choice that is longer is an error.
        limit_bytes: Size of the folder above which the least recently used values are deleted.
        log: Called with a line when a file of the cache is damaged.
        languages: Language -> its frozen adapter; other languages use the encoder alone.
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
        log: Log = lambda line: None,
        languages: Mapping[str, TrunkAdapter] = MappingProxyType({}),
    ) -> None:
        self.encoder, self.layer, self.dtype = encoder, layer, dtype
        self.folder, self.max_tokens = folder, max_tokens
        self._chunks = ChunkFolder("trunk", folder, limit_bytes, log) if folder.name else None
        beside = folder.parent / "tokens" if folder.name else None
        self._tokens = TokenCounter(encoder, beside, limit_bytes=int(limit_bytes * TOKENS_SHARE), log=log)
        # A language adapter is known by the checksum of what acts in the trunk; "" stands for no adapter.
        checksums = {language: adapter.checksum(layer) for language, adapter in languages.items()}
        self._checksums = {language: checksum for language, checksum in checksums.items() if checksum}
        self._adapters = {checksum: languages[language] for language, checksum in self._checksums.items()}
        self._caches: dict[str, TensorCache] = {}  # by checksum
        self.stats = CacheStats()
        self._index: dict[tuple[str, Text], int] = {}  # (checksum, text) -> number
        self._texts: list[tuple[str, Text]] = []
        self._lengths: list[int] = []
        self._used: set[int] = set()
        self._resident: dict[int, Tensor] = {}
        cuda = encoder.device.type == "cuda"
        self._resident_left = int(torch.cuda.mem_get_info(encoder.device)[0] * RESIDENT_SHARE) if cuda else 0

    @property
    def identity(self) -> Hashable:
        """Everything that the values of texts depend on, except the texts themselves."""
        return (*self._computed_by(), self.folder, tuple(sorted(self._checksums.items())))

    def snapshot(self) -> "ActivationCache":
        """A cache with the current texts of this one, for :meth:`adopt`; later texts are not in it.

        Values are shared: those that either computes serve both.
        """
        other = copy.copy(self)
        other._used, other._resident, other.stats = set(), {}, CacheStats()
        other._copy_texts(self)
        return other

    def share_values(self, other: "ActivationCache") -> None:
        """Share the values of a cache with the same :attr:`identity`, whatever its texts are."""
        self._caches = other._caches
        for cache in self._caches.values():
            cache.chunks = self._chunks  # which has this one's limit and log

    def adopt(self, snapshot: "ActivationCache") -> None:
        """Share the values of a snapshot with the same :attr:`identity`; copy its texts if this has none."""
        self.share_values(snapshot)
        if not self._texts:
            self._copy_texts(snapshot)

    def _copy_texts(self, source: "ActivationCache") -> None:
        self._index, self._texts, self._lengths = dict(source._index), [*source._texts], [*source._lengths]
        had = source.stats
        self.stats.texts, self.stats.tokens, self.stats.cut_texts = had.texts, had.tokens, had.cut_texts

    def register(self, texts: Iterable[Text], *, language: str = "") -> list[int]:
        """Return the numbers of texts, repeated ones allowed; nothing is computed yet.

        New texts are sorted before they are numbered, so the same sets in the same order of calls get the
        same numbers. The adapter of ``language`` acts on them, if there is one.
        """
        texts = list(texts)
        checksum = self._checksums.get(language, "")
        new = sorted({t for t in texts if (checksum, t) not in self._index}, key=_order)
        if new:
            sizes, cut = self._tokens.sizes(new, self.max_tokens)
            self._index |= {(checksum, text): n for n, text in enumerate(new, start=len(self._texts))}
            self._texts += [(checksum, text) for text in new]
            self._lengths += sizes
            self.stats.texts += len(new)
            self.stats.tokens += sum(sizes)
            self.stats.cut_texts += cut
        return [self._index[checksum, t] for t in texts]

    def ensure(
        self, texts: Iterable[Text], progress: TileProgress = lambda done, total: None, *, language: str = ""
    ) -> list[int]:
        """:meth:`register` texts and :meth:`prefetch` their values; return their numbers."""
        numbers = self.register(texts, language=language)
        self.prefetch(numbers, progress)
        return numbers

    def prefetch(self, numbers: Iterable[int], progress: TileProgress = lambda done, total: None) -> None:
        """Compute or read the values of texts that are not in memory.

        ``progress`` is called with (tiles done, all tiles) while something is computed.
        """
        begun = time.perf_counter()
        distinct = set(numbers)
        new = distinct - self._used
        tokens = sum(self._lengths[n] for n in new)
        self._used |= new
        self.stats.used_tokens += tokens
        self.stats.bytes += tokens * self.encoder.width * self.dtype.itemsize
        missing = [n for n in sorted(distinct) if self._value(n) is None]
        if any([self._cache(checksum).refresh() for checksum in {self._texts[n][0] for n in missing}]):
            missing = [n for n in missing if self._value(n) is None]  # another process has written some
        self.stats.warm_seconds += time.perf_counter() - begun
        if missing:
            begun = time.perf_counter()
            self._compute(missing, progress)
            self.stats.cold_seconds += time.perf_counter() - begun

    def gather(self, numbers: Sequence[int]) -> Ragged:
        """The activations of texts by number on the encoder's device, and their lengths on the CPU."""
        missing = list(dict.fromkeys(n for n in numbers if n not in self._resident))
        self.prefetch(missing)
        lengths = torch.tensor([self._lengths[n] for n in numbers], device=CPU)
        if self.encoder.device.type == "cpu" and not self._resident_left and not self._resident:
            return Ragged(torch.cat([self._known(n) for n in numbers]), lengths)
        moved = self._move(missing)
        return Ragged(torch.cat([moved[n] if n in moved else self._resident[n] for n in numbers]), lengths)

    def lengths(self, numbers: Tensor) -> list[int]:
        """Tokens of texts by number."""
        return [self._lengths[n] for n in numbers.tolist()]

    def by_length(self, numbers: Tensor) -> Tensor:
        """Sort text numbers by length in tokens, ties by number."""
        return numbers[torch.argsort(torch.tensor(self.lengths(numbers), device=CPU), stable=True)]

    def flush(self, least: int = LEAST_BYTES) -> None:
        """Write values that are only in memory, if they are more than ``least`` bytes.

        A few large files open faster than many small ones, so only the end of a run flushes with 0.
        """
        begun = time.perf_counter()
        self._write(least)
        self.stats.cold_seconds += time.perf_counter() - begun

    def _write(self, least: int) -> None:
        if self._chunks and any([cache.write(least) for cache in self._caches.values()]):
            self._chunks.evict({path for cache in self._caches.values() for path in cache.used})

    def _move(self, numbers: list[int]) -> dict[int, Tensor]:
        """Copy values to the encoder's device in one piece, and keep them there while there is room."""
        if not numbers:
            return {}
        sizes, device = [self._lengths[n] for n in numbers], self.encoder.device
        pinned = device.type == "cuda"
        batch = torch.empty(sum(sizes), self.encoder.width, dtype=self.dtype, device=CPU, pin_memory=pinned)
        hidden = torch.cat([self._known(n) for n in numbers], out=batch).to(device, non_blocking=pinned)
        moved = dict(zip(numbers, torch.split(hidden, sizes), strict=True))
        if hidden.nbytes <= self._resident_left:
            self._resident_left -= hidden.nbytes
            self._resident |= moved
        return moved

    def _known(self, number: int) -> Tensor:
        value = self._value(number)
        assert value is not None
        return value

    def _value(self, number: int) -> Tensor | None:
        """The values of a text from memory or disk, None if they have to be computed."""
        checksum, text = self._texts[number]
        return self._cache(checksum).get(_digest(text))

    def _cache(self, checksum: str) -> TensorCache:
        """The values of all texts under one language adapter, or under none."""
        if checksum not in self._caches:
            name = hashlib.sha256(json.dumps([*self._computed_by(), checksum]).encode()).hexdigest()[:40]
            self._caches[checksum] = TensorCache(self._chunks, name, self.encoder.width, self.dtype)
        return self._caches[checksum]

    def _computed_by(self) -> tuple[str | int, ...]:
        return (
            CODE_VERSION, self.encoder.fingerprint, self.encoder.prefix, self.layer, str(self.dtype),
            self.max_tokens, torch.__version__, self._tile, self.encoder.device.type,
        )  # fmt: skip

    def _compute(self, numbers: list[int], progress: TileProgress) -> None:
        tiles = list(self._tiles(numbers))
        for begin in range(0, len(tiles), TILES_AT_ONCE):
            several = tiles[begin : begin + TILES_AT_ONCE]
            texts = [self._texts[n][1] for tile in several for n in tile]
            tokenized = iter(self.encoder.tokenize(texts, self.max_tokens))
            for done, tile in enumerate(several, start=begin + 1):
                checksum = self._texts[tile[0]][0]
                hidden = self._run_tile([next(tokenized) for _ in tile], self._adapters.get(checksum))
                values = torch.split(hidden, [self._lengths[n] for n in tile])
                self._cache(checksum).put([_digest(self._texts[n][1]) for n in tile], values)
                self.stats.computed_texts += len(tile)
                self.stats.computed_tokens += len(hidden)
                progress(done, len(tiles))
            self._write(WRITE_BYTES)

    @property
    def _tile(self) -> int:
        return TILE_TOKENS if self.encoder.device.type == "cpu" else DEVICE_TILE_TOKENS

    def _tiles(self, numbers: list[int]) -> Iterator[list[int]]:
        """Texts that are computed together: of one language adapter and about the same length."""
        alike: dict[tuple[str, int], list[int]] = {}
        for n in numbers:
            alike.setdefault((self._texts[n][0], round_up(self._lengths[n], BUCKET)), []).append(n)
        for (_, columns), texts in sorted(alike.items()):
            tokens, rows = tile_shape(columns, self._tile)
            tile: list[int] = []
            filled = 0
            for n in texts:
                if tile and (len(tile) == rows or filled + self._lengths[n] > tokens):
                    yield tile
                    tile, filled = [], 0
                tile.append(n)
                filled += self._lengths[n]
            yield tile

    @torch.no_grad()
    def _run_tile(self, texts: Sequence[TokenizedText], adapter: TrunkAdapter | None) -> Tensor:
        """Run the trunk over a tile of texts, in a shape given by their rounded length alone.

        Matrix products of other shapes add up in another order, so values would depend on a text's
        neighbours. Returns (tokens of the texts, width) on the CPU.
        """
        encoder, lengths = self.encoder, [len(text.ids) for text in texts]
        columns, tokens = round_up(max(lengths), BUCKET), sum(lengths)
        size, rows = tile_shape(columns, self._tile)
        filler = TokenizedText(texts[0].ids[:1], texts[0].segments[:1], 1)  # the embeddings' shape is fixed
        embedded = encoder.embed([*texts, *[filler] * (size - tokens)]).hidden
        each = torch.tensor([*lengths, *[1] * (rows - len(texts))], device=CPU)
        real = torch.arange(columns, device=CPU)[None, :] < each[:, None]
        cells = real[: len(texts)].flatten().nonzero()[:, 0]
        cells = F.pad(cells, (0, size - tokens), value=rows * columns).to(encoder.device)
        context = Context(cells, real[:, None, None, :].to(encoder.device), rows, columns)
        if adapter is None:
            hidden = encoder.apply(embedded.to(self.dtype), context, range(self.layer))
        else:
            hidden = adapter.trunk(encoder, embedded, context, self.dtype, self.layer)
        return hidden[:tokens].to("cpu", copy=True)  # a copy, so that the filler is not kept


def tile_shape(columns: int, tile: int) -> tuple[int, int]:
    """Tokens of a tile, and rows of its attention grid, for texts of ``columns`` tokens, rounded up.

    A text is half a :data:`BUCKET` shorter than its column on average, hence a few more rows.
    """
    tokens = tile if columns <= tile else round_up(columns, LONG_STEP)
    return tokens, max(1, tokens // max(1, columns - BUCKET // 2))


@lru_cache(maxsize=2**18)
def _digest(text: Text) -> bytes:
    return hashlib.sha256(json.dumps(text, ensure_ascii=False).encode()).digest()[:KEY_BYTES]


def _order(text: Text) -> tuple[int, str, str, int]:
    """Similar lengths side by side, so that attention's padded view wastes little."""
    cuttable = -1 if text.cuttable is None else text.cuttable
    return len(text.first) + len(text.second or ""), text.first, text.second or "", cuttable
