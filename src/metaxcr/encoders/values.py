"""Values of texts by digest: in memory until they are written, mapped from files after that.

A *segment* is a chunk that holds the values of many texts, whichever were computed together. What it says of
a text does not depend on the others in it, so segments may be read in any order, hold a text twice, be merged
and be deleted: a text that is not found is computed again, with the same result.
"""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import torch
from torch import Tensor

from metaxcr.encoders.chunks import Chunk, ChunkFolder

KEY_BYTES = 16
SMALL_BYTES = 4 * 10**6  # segments below this size are merged
SMALL_FILES = 16  # where there are so many of them
SEGMENT_BYTES = 32 * 10**6  # a merged one is hardly larger: the checksum of all of it is taken at first use
HEAD = ("keys", "lengths")  # of a segment's tensors: what is read to know which texts are in it


@dataclass
class Segment:
    """A file of values.

    Attributes:
        path: The file.
        keys: Of its texts.
        ends: Where the tokens of each text begin, and where the last one ends.
        hidden: (tokens, width), once they were needed.
    """

    path: Path
    keys: list[bytes]
    ends: list[int]
    hidden: Tensor | None = None


class Values:
    """Activations of texts in one folder, all computed in the same way.

    Args:
        chunks: The cache that the folder is in; None: everything stays in memory.
        name: Of the folder.
        width: Of a token vector.
        dtype: Of the values.
    """

    def __init__(self, chunks: ChunkFolder | None, name: str, width: int, dtype: torch.dtype) -> None:
        self.chunks, self.name, self._width, self._dtype = chunks, name, width, dtype
        self._pending: dict[bytes, Tensor] = {}
        self._where: dict[bytes, tuple[Segment, int]] = {}
        self._seen: set[Path] = set()
        self.pending_bytes = 0
        self.mine: set[Path] = set()  # segments that were used, which eviction spares
        self.refresh()

    def refresh(self) -> bool:
        """Look for segments that were written since, by this process or another; whether there are any."""
        found = False
        for path in sorted(self.chunks.paths(self.name)) if self.chunks else ():
            if path not in self._seen:
                self._seen.add(path)
                found = self._index(path) is not None or found
        return found

    def get(self, key: bytes) -> Tensor | None:
        """The values of a text, (tokens, width), or None where they have to be computed."""
        while (value := self._pending.get(key)) is None and key in self._where:
            segment, row = self._where[key]
            if segment.hidden is None:
                self._map(segment)
            if segment.hidden is not None:
                return segment.hidden[segment.ends[row] : segment.ends[row + 1]]
            self.refresh()  # somebody may have merged it into another one
        return value

    def put(self, keys: Sequence[bytes], values: Sequence[Tensor]) -> None:
        """Take values that were computed, on the CPU."""
        self._pending.update(zip(keys, values, strict=True))
        self.pending_bytes += sum(value.nbytes for value in values)

    def write(self, least: int = 0) -> bool:
        """Write what was computed, if it is more than ``least`` bytes, and map it; whether it was.

        Raises:
            UserError: The disk is full or the folder cannot be written.
        """
        if self.chunks is None or self.pending_bytes <= least:
            return False
        merged = self._small()
        values = {key: value for one in merged for key, value in _items(one)} | self._pending
        lengths = [len(value) for value in values.values()]
        hidden = torch.cat(list(values.values()))
        keys = torch.frombuffer(bytearray(b"".join(values)), dtype=torch.uint8).view(-1, KEY_BYTES)
        tensors = {"keys": keys, "lengths": torch.tensor(lengths, dtype=torch.int32), "hidden": hidden}
        path = self.chunks.path(f"{self.name}/{hashlib.sha256(b''.join(values)).hexdigest()[:40]}")
        self.chunks.write(path, tensors, {"head": str(_head(tensors))})
        segment = Segment(path, list(values), [0, *accumulate(lengths)])
        self._seen.add(path)
        self._add(segment)
        if self._map(segment) is None:  # what was just written cannot be read: it stays in memory
            segment.hidden = hidden
            self._add(segment)
        self._pending, self.pending_bytes = {}, 0
        for one in merged:
            if one.path != path:
                self.chunks.remove(one.path)
                self.mine.discard(one.path)
        return True

    def _small(self) -> list[Segment]:
        """Small segments to be merged into the next one, where there are many."""
        assert self.chunks is not None
        sizes = self.chunks.sizes(self.name)
        small = sorted(path for path, size in sizes.items() if size < SMALL_BYTES)
        if len(small) < SMALL_FILES:
            return []
        known = {segment.path: segment for segment, _ in self._where.values()}
        merged, total = [], self.pending_bytes
        for path in small:
            segment = known.get(path) or self._index(path)
            if segment and total < SEGMENT_BYTES and self._map(segment) is not None:
                merged.append(segment)
                total += sizes[path]
        return merged

    def _index(self, path: Path) -> Segment | None:
        """Read which texts are in a segment; None when it is damaged or gone."""
        assert self.chunks is not None

        def check(chunk: Chunk) -> None:
            if int(chunk.metadata["head"]) != _head(chunk.tensors):
                raise ValueError("the list of texts differs from its checksum")

        self._seen.add(path)
        chunk = self.chunks.read(path, check, only=HEAD)
        if chunk is None:
            return None
        data = chunk.tensors["keys"].numpy().tobytes()
        keys = [data[at : at + KEY_BYTES] for at in range(0, len(data), KEY_BYTES)]
        segment = Segment(path, keys, [0, *accumulate(chunk.tensors["lengths"].tolist())])
        self._add(segment)
        return segment

    def _map(self, segment: Segment) -> Tensor | None:
        """Map a segment's values at their first use; a damaged or missing one is forgotten."""
        assert self.chunks is not None

        def check(chunk: Chunk) -> None:
            hidden = chunk.tensors["hidden"]
            if hidden.dtype != self._dtype or hidden.shape != (segment.ends[-1], self._width):
                raise ValueError("other values than were written")

        if segment.hidden is None:
            chunk = self.chunks.read(segment.path, check)
            if chunk is None:
                for key in segment.keys:
                    if key in self._where and self._where[key][0] is segment:
                        del self._where[key]
                return None
            segment.hidden = chunk.tensors["hidden"]
        self.mine.add(segment.path)
        return segment.hidden

    def _add(self, segment: Segment) -> None:
        self._where.update((key, (segment, row)) for row, key in enumerate(segment.keys))


def _items(segment: Segment) -> Iterable[tuple[bytes, Tensor]]:
    assert segment.hidden is not None
    for key, (begin, end) in zip(segment.keys, pairwise(segment.ends), strict=True):
        yield key, segment.hidden[begin:end]


def _head(tensors: "dict[str, Tensor]") -> int:
    """Checksum of the list of texts."""
    keys, lengths = (tensors[name].contiguous().numpy().tobytes() for name in HEAD)
    return zlib.crc32(lengths, zlib.crc32(keys))
