"""Folders of finished cells: one file a cell while jobs run, packed files to commit."""

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from metaxcr.compare.cell_record import AGAIN, CellRecord, ids_digest
from metaxcr.data.registry import data_fingerprint, split_files, task_ids, task_spec
from metaxcr.errors import UserError
from metaxcr.files import remove_leftovers, replacing, write_atomically
from metaxcr.parse import file_error, json_value, lines_of_text, parse_json, read_json, read_text
from metaxcr.records import Name, checked

RESTORE = "restore the file, or remove it: its cells are then run again"
PACKED = ".jsonl.gz"


class CellStore:
    """Finished cells by key.

    A folder of cells holds single cells (``<key>.json``, and the ids of their items in
    ``items/<digest>.txt``), which jobs write while they run, and packed files (``<grid>.jsonl.gz``), see
    :meth:`pack`. A single cell takes precedence over a packed one.

    Args:
        folder: Where cells are written.
        others: Folders that are only read, in this order, after the first one.
    """

    def __init__(self, folder: Path, others: Sequence[Path] = ()) -> None:
        self.folder = folder
        remove_leftovers(folder)
        self._folders = [folder, *(o for o in others if os.path.realpath(o) != os.path.realpath(folder))]

    def get(self, key: str) -> CellRecord | None:
        """A finished cell; None if there is none.

        Raises:
            UserError: Its file is damaged.
        """
        for folder in self._folders:
            if (found := _find_cell(folder, key)) is not None:
                value, where = found
                record = CellRecord.from_dict(value, where)
                if record.key != key:
                    raise UserError("the file is named after another cell", where, AGAIN)
                return record
        return None

    def ids(self, record: CellRecord) -> list[str]:
        """The ids of a cell's items, in their order.

        Raises:
            UserError: They are missing or damaged.
        """
        for folder in self._folders:
            for where, candidates in _find_ids(folder, record.items):
                for ids in candidates:
                    if ids_digest(ids) == record.items and len(ids) == record.n:
                        return ids
                raise UserError("the item ids of a cell are damaged", where, "restore the file")
        missing = self.folder / "items" / f"{record.items}.txt"
        raise UserError("the item ids of a cell are missing", str(missing),
                        "copy the folder 'items' together with its cells")  # fmt: skip

    def put(self, record: CellRecord, ids: Sequence[str]) -> None:
        """Write a single cell, after its ids: a reader that sees the cell finds them."""
        items = self.folder / "items" / f"{record.items}.txt"
        if not items.is_file():
            lines = [json.dumps(name) for name in ids] if any("\n" in name for name in ids) else ids
            write_atomically(items, "\n".join(lines) + "\n")
            if list(ids) not in _read_ids(items):  # before the cell counts as done
                raise UserError("what was written is read back differently", str(items), "check the disk")
        text = json.dumps(record.as_dict(), indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.folder / f"{record.key}.json", text)

    def pack(self, records: Iterable[CellRecord], folder: Path, name: str) -> Path:
        """Put cells of this store into packed files of a folder, and remove the single files there.

        A cell lies in one packed file of a folder, however many grids it belongs to: in the one that has it
        already, else in ``<name>.jsonl.gz``, whose path is returned.

        Raises:
            UserError: A file of the folder is damaged, or cannot be written.
        """
        own, files = folder / f"{name}{PACKED}", dict[Path, dict[str, CellRecord]]()
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".pack.lock"):
            homes = {key: path for path, packed in _packed_files(folder) for key in packed.cells}
            for record in records:
                files.setdefault(homes.get(record.key, own), {})[record.key] = record
            for path, new in files.items():
                self._write_packed(path, new)
            for key in (key for new in files.values() for key in new):
                (folder / f"{key}.json").unlink(missing_ok=True)
            if not any(folder.glob("*.json")):  # a cell that is just being written finds its ids in the pack
                for digest in {digest for _, packed in _packed_files(folder) for digest in packed.items}:
                    (folder / "items" / f"{digest}.txt").unlink(missing_ok=True)
        return own

    def _write_packed(self, path: Path, new: dict[str, CellRecord]) -> None:
        """Add cells to a packed file; equal cells give equal bytes."""
        before = _read_packed(path) if path.exists() else _Packed()
        cells = {key: value for key, (_, value) in before.cells.items()}
        cells |= {key: record.as_dict() for key, record in new.items()}
        items = before.items | {record.items: self.ids(record) for record in new.values()}
        used = {value["items"] for value in cells.values()}
        rows = [{"items": digest, "ids": items[digest]} for digest in sorted(used & items.keys())]
        rows += [cells[key] for key in sorted(cells)]
        lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows]
        with (
            replacing(path) as temporary,
            temporary.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file,
        ):
            file.write("".join(lines).encode())


def _find_cell(folder: Path, key: str) -> tuple[Any, str] | None:
    """The content of a cell, and where it is."""
    single = folder / f"{key}.json"
    if single.exists():
        try:
            return read_json(single, AGAIN), str(single)
        except UserError:
            if single.exists():  # else another process has just packed it
                raise
    for path, packed in _packed_files(folder):
        if key in packed.cells:
            number, value = packed.cells[key]
            return value, f"{path}:{number}"
    return None


def _find_ids(folder: Path, digest: str) -> Iterable[tuple[str, list[list[str]]]]:
    """Where the ids of that digest are, and what they may be."""
    single = folder / "items" / f"{digest}.txt"
    if single.is_file():
        yield str(single), _known_ids(single)
    else:
        for path, packed in _packed_files(folder):
            if digest in packed.items:
                yield str(path), [packed.items[digest]]


@dataclass(frozen=True)
class _Packed:
    """Content of a packed file: key -> (line, cell), and digest -> item ids."""

    cells: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    items: dict[str, list[str]] = field(default_factory=dict)


def _packed_files(folder: Path) -> list[tuple[Path, _Packed]]:
    return [(path, _read_packed(path)) for path in sorted(folder.glob(f"*{PACKED}"))]


def _read_packed(path: Path) -> _Packed:
    """Read a packed file, which is JSON lines: item ids first, then cells."""
    try:
        state = path.stat()
    except OSError as error:
        raise file_error(error, path, RESTORE) from error
    return _parse_packed(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=64)
def _parse_packed(path: Path, changed: int, size: int) -> _Packed:
    try:
        lines = lines_of_text(gzip.decompress(path.read_bytes()).decode())
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"damaged file of cells: {error}", str(path), RESTORE) from error
    found = _Packed()
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        row = parse_json(line, where, RESTORE)
        if not isinstance(row, dict) or not ("key" in row or row.keys() == {"items", "ids"}):
            raise UserError("neither a cell nor item ids", where, RESTORE)
        if "key" in row:
            found.cells[checked(Name, row["key"], where, RESTORE)] = number, row
        else:
            found.items[checked(Name, row["items"], where, RESTORE)] = checked(
                list[str], row["ids"], where, RESTORE
            )
    return found


def changed_data(record: CellRecord, root: Path | None) -> list[str]:
    """Groups of data files that differ from those a cell was computed from; missing files do not count."""
    return [
        group for group, before in record.checksums.items() if _checksum(group, root) not in (None, before)
    ]


def _checksum(group: str, root: Path | None) -> str | None:
    task, _, rest = group.partition("/")
    split, _, language = rest.partition("/")
    if not language or task not in _task_ids():
        return None  # parallel text and shots are no files of a task
    try:
        files = split_files(task_spec(task), split, language, root)
    except UserError:
        return None
    return _fingerprint(tuple((file, file.stat().st_mtime_ns) for file in files))


@lru_cache
def _task_ids() -> list[str]:
    return task_ids()


@lru_cache(maxsize=1024)
def _fingerprint(files: tuple[tuple[Path, int], ...]) -> str:
    return data_fingerprint(file for file, _ in files)


def _read_ids(path: Path) -> list[list[str]]:
    """What the ids of a file may be: one a line, or JSON, one a line, where an id holds a line feed."""
    lines = lines_of_text(read_text(path, "restore the file"))
    try:
        return [lines, [str(json_value(line)) for line in lines]]
    except ValueError:
        return [lines]


_known_ids = lru_cache(maxsize=256)(_read_ids)
