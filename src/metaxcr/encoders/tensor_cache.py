"""A folder of cached tensors: files are written whole or not at all, checked on reading, bounded in size.

A *chunk* is a safetensors file named after a checksum of all that its values depend on, so processes may
share a folder without coordination. The size limit holds for the folder with all its inner folders.

A *segment* is a chunk with the values of many texts, whichever were computed together. A text's values do not
depend on the others in it, so segments may be read in any order, hold a text twice, be merged and be deleted:
a text that is not found is computed again, with the same result.
"""

import contextlib
import hashlib
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8

from metaxcr.errors import UserError
from metaxcr.files import disk_is_full, remove_leftovers, temporary_path

KEY_BYTES = 16
SMALL_BYTES = 4 * 10**6  # segments below this size are merged
SMALL_FILES = 16  # if there are at least this many of them
SEGMENT_BYTES = 32 * 10**6  # limit of a merged one: the checksum of all of it is computed at first use
HEAD = ("keys", "lengths")  # of a segment's tensors: what is read to know which texts are in it


class Chunk(NamedTuple):
    """The content of a chunk's file."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


Check = Callable[[Chunk], None]


class ChunkFolder:
    """Chunks by name, shared by runs and processes.

    ``what`` names the cache in messages; above ``limit_bytes`` the least recently used chunks are deleted;
    ``log`` is called with a line when a chunk is damaged.
    """

    def __init__(
        self, what: str, folder: Path, limit_bytes: int, log: Callable[[str], None] = lambda line: None
    ) -> None:
        self.what, self.folder, self.limit_bytes, self._log = what, folder, limit_bytes, log

    def path(self, name: str) -> Path:
        """The path of the chunk with a name, which need not exist."""
        return self.folder / f"{name}.safetensors"

    def files(self, pattern: str) -> dict[Path, os.stat_result]:
        """The paths of existing chunks whose names match a pattern, and their status."""
        found = {}
        for path in self.folder.glob(f"{pattern}.safetensors"):
            with contextlib.suppress(FileNotFoundError):  # deleted by another process in between
                found[path] = path.stat()
        return found

    def read(self, path: Path, check: Check = lambda chunk: None, only: Sequence[str] = ()) -> Chunk | None:
        """Map a chunk into memory and mark it as used; a damaged one is deleted, and None is returned.

        ``check`` raises :class:`ValueError` or :class:`KeyError` on a chunk that cannot be right. With
        ``only``, just the tensors with these names are read. The chunk is then not marked as used, and its
        checksum is not verified, as that would read all of it: ``check`` has to verify these tensors.
        """
        try:
            if not path.exists():
                return None
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                names: list[str] = file.keys()
                tensors = {name: file.get_tensor(name) for name in names if not only or name in only}
            checksum = int(metadata.pop("crc32", "-1"))
            if not only and checksum != _crc(tensors):
                raise SafetensorError("checksum differs")
            check(chunk := Chunk(tensors, metadata))
            if not only:
                with contextlib.suppress(OSError):  # the folder may belong to another user
                    os.utime(path)
            return chunk
        except FileNotFoundError:  # evicted by another process in between
            return None
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
            if not path.exists():  # torch raises its own error for a missing file
                return None
            self._log(f"{self.what} cache: {path.name} is damaged ({error}); it is computed again")
            if not isinstance(error, OSError | RuntimeError):  # these may be temporary: too many open files
                self.remove(path)
            return None

    def remove(self, path: Path) -> None:
        """Delete a chunk; a process that has it mapped keeps its pages."""
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)

    def write(self, path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        """Write a chunk through a temporary name; of two writers at the same time the later one wins."""
        temporary = temporary_path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(dict(tensors), temporary, {"crc32": str(_crc(tensors)), **metadata})
            os.replace(temporary, path)
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            reason = "the disk is full" if disk_is_full(error) else str(error)
            raise UserError(
                f"cannot write the {self.what} cache: {reason}",
                str(self.folder),
                "free some space, or choose another folder with METAXCR_CACHE; --resume keeps what is done",
            ) from error

    def evict(self, keep: set[Path]) -> None:
        """Delete the least recently used chunks above the limit, never those in ``keep``."""
        remove_leftovers(self.folder)
        entries = [(stat.st_mtime, stat.st_size, path) for path, stat in self.files("**/*").items()]
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.limit_bytes:
                break
            if path not in keep:
                self.remove(path)
                total -= size


@dataclass
class Segment:
    """A file of texts' values."""

    path: Path
    keys: list[bytes]  # of its texts
    ends: list[int]  # where the tokens of each text begin, and where the last one ends
    hidden: Tensor | None = None  # (tokens, width), once they were needed

    def values(self, row: int) -> Tensor:
        """Those of one text."""
        assert self.hidden is not None
        return self.hidden[self.ends[row] : self.ends[row + 1]]


class TensorCache:
    """Values of texts by digest, computed in the same way: in memory until written, then mapped from files.

    ``name`` is that of their folder in ``chunks``; None: everything stays in memory.
    """

    def __init__(self, chunks: ChunkFolder | None, name: str, width: int, dtype: torch.dtype) -> None:
        self.chunks, self.name, self._width, self._dtype = chunks, name, width, dtype
        self._pending: dict[bytes, Tensor] = {}
        self._where: dict[bytes, tuple[Segment, int]] = {}
        self._seen: set[Path] = set()
        self.pending_bytes = 0
        self.used: set[Path] = set()  # segments that were used: eviction keeps them
        self.refresh()

    def refresh(self) -> bool:
        """Index the segments that any process has written since; return whether there are any."""
        found = False
        for path in sorted(self.chunks.files(f"{self.name}/*")) if self.chunks else ():
            if path not in self._seen:
                found = self._index(path) is not None or found
        return found

    def get(self, key: bytes) -> Tensor | None:
        """The values of a text, (tokens, width), or None if they have to be computed."""
        while (value := self._pending.get(key)) is None and key in self._where:
            segment, row = self._where[key]
            if segment.hidden is None:
                self._map(segment)
            if segment.hidden is not None:
                return segment.values(row)
            self.refresh()  # another process may have merged it into another segment
        return value

    def put(self, keys: Sequence[bytes], values: Sequence[Tensor]) -> None:
        """Add computed values, on the CPU."""
        self._pending.update(zip(keys, values, strict=True))
        self.pending_bytes += sum(value.nbytes for value in values)

    def write(self, least: int = 0) -> bool:
        """Write the values in memory if they are more than ``least`` bytes, and map them; return whether."""
        if self.chunks is None or self.pending_bytes <= least:
            return False
        merged = self._small_segments(self.chunks)
        values: dict[bytes, Tensor] = {}
        for small in merged:
            values |= zip(small.keys, map(small.values, range(len(small.keys))), strict=True)
        values |= self._pending
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
        for small in merged:
            if small.path != path:
                self.chunks.remove(small.path)
                self.used.discard(small.path)
        return True

    def _small_segments(self, chunks: ChunkFolder) -> list[Segment]:
        """Small segments to be merged into the next one, if there are many."""
        sizes = {path: stat.st_size for path, stat in chunks.files(f"{self.name}/*").items()}
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
        self.used.add(segment.path)
        return segment.hidden

    def _add(self, segment: Segment) -> None:
        self._where.update((key, (segment, row)) for row, key in enumerate(segment.keys))


def _crc(tensors: Mapping[str, Tensor]) -> int:
    """Checksum of all values, in the order of their names."""
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(tensors[name].contiguous().view(uint8).numpy().data, value)
    return value


def _head(tensors: Mapping[str, Tensor]) -> int:
    """Checksum of the list of texts."""
    keys, lengths = (tensors[name].contiguous().numpy().tobytes() for name in HEAD)
    return zlib.crc32(lengths, zlib.crc32(keys))
