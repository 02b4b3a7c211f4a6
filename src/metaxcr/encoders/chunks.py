"""A folder of cached chunks: written whole or not at all, checked on reading, bounded in size.

Activations and token ids are cached in the same way. A chunk is a safetensors file named after a checksum of
all that its values depend on, so processes may share a folder without talking to each other. The folder may
have folders in it, one for each set of things that belong together; its bound is for all of them.
"""

import contextlib
import os
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8

from metaxcr.errors import UserError
from metaxcr.files import disk_is_full, remove_leftovers, temporary_path


class Chunk(NamedTuple):
    """What a chunk's file holds.

    Attributes:
        tensors: By name.
        metadata: The writer's own words.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


class ChunkFolder:
    """Chunks by name, shared by runs and processes.

    Args:
        what: What the cache is of, for messages: ``"trunk"``.
        folder: Where the chunks live; made when the first one is written.
        limit_bytes: The folder's bound: the least recently used chunks go first.
        log: Called with a line when something noteworthy happens.
    """

    def __init__(
        self, what: str, folder: Path, limit_bytes: int, log: Callable[[str], None] = lambda line: None
    ) -> None:
        self.what, self.folder, self.limit_bytes, self._log = what, folder, limit_bytes, log

    def path(self, name: str) -> Path:
        """Where the chunk of that name is, or would be."""
        return self.folder / f"{name}.safetensors"

    def sizes(self, inner: str = "") -> dict[Path, int]:
        """Bytes of each chunk in an inner folder; one that another process deletes meanwhile is left out."""
        sizes = {}
        for path in self.paths(inner):
            with contextlib.suppress(FileNotFoundError):
                sizes[path] = path.stat().st_size
        return sizes

    def paths(self, inner: str = "") -> list[Path]:
        """The chunks in an inner folder."""
        return list((self.folder / inner).glob("*.safetensors"))

    def read(
        self,
        path: Path,
        check: Callable[[Chunk], None] = lambda chunk: None,
        only: Collection[str] | None = None,
    ) -> Chunk | None:
        """Map a chunk into memory and mark it as used; a damaged one is deleted.

        Args:
            path: From :meth:`path`.
            check: Raises :class:`ValueError` or :class:`KeyError` on a chunk that cannot be right.
            only: Names of the tensors that are wanted. The chunk is then not marked as used, and its checksum
                is not taken, as that would read all of it: ``check`` has to be sure of these tensors.

        Returns:
            The chunk; None when there is none, or it is damaged and has to be computed again.
        """
        try:
            if not path.exists():
                return None
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                names: list[str] = file.keys()
                tensors = {name: file.get_tensor(name) for name in names if only is None or name in only}
            checksum = int(metadata.pop("crc32", "-1"))
            if only is None and checksum != _crc(tensors):
                raise SafetensorError("checksum differs")
            check(chunk := Chunk(tensors, metadata))
            if only is None:
                with contextlib.suppress(OSError):  # the folder may be somebody else's
                    os.utime(path)
            return chunk
        except FileNotFoundError:  # evicted by another process in between
            return None
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
            if not path.exists():  # torch says so in its own way
                return None
            self._log(f"{self.what} cache: {path.name} is damaged ({error}); it is computed again")
            if not isinstance(error, OSError | RuntimeError):  # which may pass: too many files are open
                self.remove(path)
            return None

    def remove(self, path: Path) -> None:
        """Delete a chunk; a process that has it mapped keeps its pages."""
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)

    def write(self, path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        """Write a chunk through a temporary name; of two writers at the same time the later one stays.

        Raises:
            UserError: The disk is full or the folder cannot be written.
        """
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
        """Delete the least recently used chunks above the bound, never those in ``keep``."""
        remove_leftovers(self.folder)
        entries = []
        for path in self.folder.rglob("*.safetensors"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            entries.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.limit_bytes:
                break
            if path not in keep:
                self.remove(path)
                total -= size


def _crc(tensors: Mapping[str, Tensor]) -> int:
    """Checksum of all values, in the order of their names."""
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(tensors[name].contiguous().view(uint8).numpy().data, value)
    return value
