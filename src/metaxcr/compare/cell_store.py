"""Finished cells: the record of one, and folders of them, a file a cell while jobs run, packed to commit."""

import base64
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NotRequired

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import Field, with_config
from typing_extensions import TypedDict

from metaxcr.data.registry import data_fingerprint, split_files, task_spec
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import Predictions
from metaxcr.files import remove_leftovers, replacing, write_atomically
from metaxcr.parse import check_file, json_value, lines_of_text, parse_json, read_json, read_text
from metaxcr.records import OPEN, Count, Finite, Maybe, Name, Part, Record, Seed, checked

SCHEMA = 1
AGAIN = "remove the file: the cell is then run again"
RESTORE = "restore the file, or remove it: its cells are then run again"
PACKED = ".jsonl.gz"
_STEPS = 65535  # probabilities are kept in 16 bits: to five digits
_Encoded = Annotated[str, Field(strict=True)]  # base64


@with_config(OPEN)
class StageCosts(TypedDict):
    """Costs of a stage; ``shared`` where other cells share the stage."""

    seconds: Finite
    token_passes: Finite
    peak_rss_mb: NotRequired[Finite]
    parts: NotRequired[dict[str, Part]]
    shared: NotRequired[bool]


@with_config(OPEN)
class _Parameters(TypedDict, total=False):
    trained: Maybe
    share: Maybe
    share_without_embeddings: Maybe


@dataclass(frozen=True)
class CellRecord:
    """What is kept of a finished cell, a few kilobytes.

    ``config_hash`` is that of a run that computes the cell alone, with ``command``; ``seed`` of a
    deterministic method is None. ``total_labels`` counts labelled target examples in all languages.
    """

    key: Name
    config_hash: Name
    task: Name
    split: Name
    language: Name
    kind: Name
    regime: Name
    k: Count
    seed: Seed
    total_labels: Count
    n: Count
    items: Name  # digest of the item ids, which are kept apart because many cells share them
    correct: _Encoded  # a bit an item
    probabilities: _Encoded  # of the choices, 16 bits each, compressed
    choices: Count  # most choices of an item
    labels: _Encoded  # index of the right choice of each item, 8 bits, compressed
    costs: dict[str, StageCosts]  # by stage
    parameters: _Parameters  # empty for an untrained method
    checksums: dict[str, str]  # file group -> SHA-256 of the data
    command: str
    environment: Record
    schema: int = SCHEMA

    def as_dict(self) -> Record:
        """For JSON, with the accuracy for readers."""
        return {"schema": self.schema, "accuracy": round(float(self.right.mean()), 6), **asdict(self)}

    @classmethod
    def from_dict(cls, value: Any, where: str) -> "CellRecord":
        """Read back what :meth:`as_dict` gave; UserError if something is missing or damaged."""
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise UserError("not a cell of this version", where, AGAIN)
        record: CellRecord = checked(cls, value, where, AGAIN)
        try:
            whole = len(record.right) == len(record.label) == len(record.probability) == record.n
        except (TypeError, ValueError, OverflowError, MemoryError, zlib.error) as error:
            raise UserError(f"damaged cell: {error}", where, AGAIN) from error
        if not whole or round(float(record.right.mean()), 6) != value.get("accuracy"):
            raise UserError("damaged cell: its parts do not fit together", where, AGAIN)
        return record

    @property
    def right(self) -> NDArray[np.bool_]:
        """Shape (items,): whether the answer was right."""
        bits = np.frombuffer(base64.b64decode(self.correct), np.uint8)
        return np.unpackbits(bits)[: self.n].astype(bool)

    @property
    def probability(self) -> NDArray[np.float64]:
        """Shape (items, choices): rounded probabilities; 0 where an item has fewer choices."""
        data = np.frombuffer(_decode(self.probabilities, 2 * self.n * self.choices), "<u2")
        return data.reshape(self.n, self.choices) / _STEPS

    @property
    def label(self) -> NDArray[np.int64]:
        """Shape (items,): index of the right choice."""
        return np.frombuffer(_decode(self.labels, self.n), np.uint8).astype(np.int64)

    @property
    def token_passes(self) -> int:
        """Of all stages, shared ones included; those of the cached trunk excluded."""
        return sum(stage["token_passes"] for name, stage in self.costs.items() if name != "trunk")

    @property
    def seconds(self) -> float:
        """Of all stages, shared ones included."""
        return float(sum(stage["seconds"] for stage in self.costs.values()))


def _decode(text: str, size: int) -> bytes:
    content = zlib.decompressobj().decompress(base64.b64decode(text), size + 1)
    if len(content) != size:
        raise ValueError("packed numbers of another length")
    return content


def encode_predictions(found: Predictions) -> Record:
    """The fields of a record that come from predictions."""
    table = np.array([*zip_longest(*found.probabilities, fillvalue=0.0)]).T
    rounded = np.rint(table * _STEPS).astype("<u2")
    return {
        "task": found.task,
        "split": found.split,
        "language": found.lang,
        "n": len(found.ids),
        "items": ids_digest(found.ids),
        "correct": base64.b64encode(np.packbits(found.correct).tobytes()).decode(),
        "probabilities": base64.b64encode(zlib.compress(rounded.tobytes(), 9)).decode(),
        "choices": table.shape[1],
        "labels": base64.b64encode(zlib.compress(bytes(found.labels), 9)).decode(),
        "total_labels": found.total_labels,
    }


def ids_digest(ids: Sequence[str]) -> str:
    """Digest of item ids in their order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


class CellStore:
    """Finished cells by key, written to ``folder``; ``others`` are only read, in this order, after it.

    A folder of cells holds single cells (``<key>.json``, and the ids of their items in
    ``items/<digest>.txt``), which jobs write while they run, and packed files (``<grid>.jsonl.gz``), see
    :meth:`pack`. A single cell takes precedence over a packed one.
    """

    def __init__(self, folder: Path, others: Sequence[Path] = ()) -> None:
        self.folder = folder
        remove_leftovers(folder)
        self._folders = [folder, *(o for o in others if os.path.realpath(o) != os.path.realpath(folder))]

    def get(self, key: str) -> CellRecord | None:
        """A finished cell; None if there is none, UserError if it is damaged."""
        for folder in self._folders:
            if (found := _find_cell(folder, key)) is not None:
                value, where = found
                record = CellRecord.from_dict(value, where)
                if record.key != key:
                    raise UserError("the file is named after another cell", where, AGAIN)
                return record
        return None

    def ids(self, record: CellRecord) -> list[str]:
        """The ids of a cell's items, in their order; UserError if they are missing or damaged."""
        for folder in self._folders:
            if (found := _find_ids(folder, record.items)) is not None:
                where, candidates = found
                for ids in candidates:
                    if ids_digest(ids) == record.items and len(ids) == record.n:
                        return ids
                raise UserError("the item ids of a cell are damaged", where, "restore the file")
        missing, fix = _ids_file(self.folder, record.items), "copy the folder 'items' together with its cells"
        raise UserError("the item ids of a cell are missing", str(missing), fix)

    def put(self, record: CellRecord, ids: Sequence[str]) -> None:
        """Write a single cell, after its ids: a reader that sees the cell finds them."""
        items = _ids_file(self.folder, record.items)
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
        """
        own, files = folder / f"{name}{PACKED}", dict[Path, dict[str, CellRecord]]()
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".pack.lock"):
            homes = {key: path for path, packed in _packed_files(folder) for key in packed.cells}
            for record in records:
                files.setdefault(homes.get(record.key, own), {})[record.key] = record
            for path, new in files.items():
                self._write_packed(path, new)
                for key in new:
                    (folder / f"{key}.json").unlink(missing_ok=True)
            if not any(folder.glob("*.json")):  # a cell that is just being written finds its ids in the pack
                for digest in {digest for _, packed in _packed_files(folder) for digest in packed.items}:
                    _ids_file(folder, digest).unlink(missing_ok=True)
        return own

    def _write_packed(self, path: Path, new: dict[str, CellRecord]) -> None:
        """Add cells to a packed file; equal cells give equal bytes."""
        before = _read_packed(path) if path.exists() else _Packed({}, {})
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


def _find_ids(folder: Path, digest: str) -> tuple[str, list[list[str]]] | None:
    """Where the ids of that digest are, and what they may be."""
    single = _ids_file(folder, digest)
    if single.is_file():
        return str(single), _known_ids(single)
    found = (pair for pair in _packed_files(folder) if digest in pair[1].items)
    return next(((str(path), [packed.items[digest]]) for path, packed in found), None)


def _ids_file(folder: Path, digest: str) -> Path:
    return folder / "items" / f"{digest}.txt"


def _read_ids(path: Path) -> list[list[str]]:
    """What the ids of a file may be: one a line, or JSON, one a line, where an id holds a line feed."""
    lines = lines_of_text(read_text(path, "restore the file"))
    try:
        return [lines, [str(json_value(line)) for line in lines]]
    except ValueError:
        return [lines]


_known_ids = lru_cache(maxsize=256)(_read_ids)


class _Packed(NamedTuple):
    """Content of a packed file."""

    cells: dict[str, tuple[int, Record]]  # key -> line, cell
    items: dict[str, list[str]]  # digest -> item ids


def _packed_files(folder: Path) -> list[tuple[Path, _Packed]]:
    return [(path, _read_packed(path)) for path in sorted(folder.glob(f"*{PACKED}"))]


def _read_packed(path: Path) -> _Packed:
    """Read a packed file, which is JSON lines: item ids first, then cells."""
    check_file(path, RESTORE)
    state = path.stat()
    return _parse_packed(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=64)
def _parse_packed(path: Path, changed: int, size: int) -> _Packed:
    try:
        lines = lines_of_text(gzip.decompress(path.read_bytes()).decode())
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"damaged file of cells: {error}", str(path), RESTORE) from error
    found = _Packed({}, {})
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        row = parse_json(line, where, RESTORE)
        if not isinstance(row, dict) or not ("key" in row or row.keys() == {"items", "ids"}):
            raise UserError("neither a cell nor item ids", where, RESTORE)
        if "key" in row:
            found.cells[checked(Name, row["key"], where, RESTORE)] = number, row
        else:
            digest = checked(Name, row["items"], where, RESTORE)
            found.items[digest] = checked(list[str], row["ids"], where, RESTORE)
    return found


def changed_data(record: CellRecord, root: Path | None) -> list[str]:
    """Groups of data files that differ from those a cell was computed from; missing files do not count."""
    groups = record.checksums.items()
    return [group for group, before in groups if _checksum(group, root) not in (None, before)]


def _checksum(group: str, root: Path | None) -> str | None:
    """That of ``task/split/language``; None for what is no file of a task: parallel text, shots."""
    task, _, place = group.partition("/")
    split, _, language = place.partition("/")
    try:
        files = split_files(task_spec(task), split, language, root) if language else []
    except UserError:
        return None
    return _fingerprint(tuple((file, file.stat().st_mtime_ns) for file in files)) if files else None


@lru_cache(maxsize=1024)
def _fingerprint(files: tuple[tuple[Path, int], ...]) -> str:
    return data_fingerprint(file for file, _ in files)
