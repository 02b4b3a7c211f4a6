"""The record of a finished cell: a few kilobytes, made to be committed.

Where finished cells lie: a folder that is written to, and others (committed ones) that are read.
"""

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NotRequired

import numpy as np
from numpy.typing import NDArray
from pydantic import with_config
from typing_extensions import TypedDict

from metaxcr.data.data_dirs import data_fingerprint, split_files
from metaxcr.data.registry import task_ids, task_spec
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import Predictions
from metaxcr.files import remove_leftovers, write_atomically
from metaxcr.parse import json_value, lines_of_text, read_json, read_text
from metaxcr.records import OPEN, Count, Finite, Maybe, Name, Part, Seed, checked

SCHEMA = 1
AGAIN = "remove the file: the cell is then run again"
STEPS = 65535  # probabilities are kept in 16 bits: to five digits


@with_config(OPEN)
class Spent(TypedDict):
    """What a stage took, as it is kept."""

    seconds: Finite
    token_passes: Finite
    peak_rss_mb: NotRequired[Finite]
    parts: NotRequired[dict[str, Part]]
    shared: NotRequired[bool]


@with_config(OPEN)
class _Sizes(TypedDict, total=False):
    trained: Maybe
    share: Maybe
    share_without_embeddings: Maybe


class _Fields(TypedDict):
    """The types of a record's fields, as they are read."""

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
    items: Name
    correct: str
    probabilities: str
    choices: Count
    labels: str
    costs: dict[str, Spent]
    parameters: _Sizes
    checksums: dict[str, str]
    command: str
    environment: dict[str, Any]
    schema: int


@dataclass(frozen=True)
class CellRecord:
    """What is kept of a cell.

    Attributes:
        key: Identity of the cell, and its file's name.
        config_hash: Identity of the run that gives the cell alone: settings, data and algorithms.
        task: That was tested.
        split: Of it.
        language: Tested.
        kind: Of the method.
        regime: Which labels were allowed.
        k: Shots.
        seed: None where there is no chance.
        total_labels: Labelled target examples in all languages together.
        n: Items.
        items: Digest of their ids, which lie in a file of their own.
        correct: One bit an item: packed, base64.
        probabilities: Of the choices, 16 bits each, zlib, base64.
        choices: Most choices an item has.
        labels: Index of the right choice of each item, 8 bits, zlib, base64: an ensemble and another
            system's answers are judged by them.
        costs: Stage -> seconds, token-passes, peak memory; ``shared`` where other cells share the stage.
        parameters: Trained and total parameters and their shares; empty for an untrained method.
        checksums: File group -> SHA-256 of the data.
        command: That gives this cell alone.
        environment: Versions, hardware, threads, dtype, commit, date.
        schema: Version of this form.
    """

    key: str
    config_hash: str
    task: str
    split: str
    language: str
    kind: str
    regime: str
    k: int
    seed: int | None
    total_labels: int
    n: int
    items: str
    correct: str
    probabilities: str
    choices: int
    labels: str
    costs: dict[str, dict[str, Any]]
    parameters: dict[str, Any]
    checksums: dict[str, str]
    command: str
    environment: dict[str, Any]
    schema: int = SCHEMA

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with the accuracy for readers."""
        return {"schema": self.schema, "accuracy": round(float(self.marks.mean()), 6), **asdict(self)}

    @classmethod
    def from_dict(cls, value: Any, where: str) -> "CellRecord":
        """Read back what :meth:`as_dict` gave.

        Raises:
            UserError: Something is missing, or does not fit together.
        """
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise UserError(
                "not a cell of this version", where, "remove the file: the cell is then run again"
            )
        if missing := [name for name in cls.__dataclass_fields__ if name not in value]:
            raise UserError(f"damaged cell: it lacks {missing[0]!r}", where, AGAIN)
        fields = {name: value[name] for name in cls.__dataclass_fields__}
        try:
            record = cls(**checked(_Fields, fields, where, AGAIN))
            whole = len(record.marks) == len(record.label) == record.n
            whole = whole and record.probability.shape == (record.n, record.choices)
        except (TypeError, ValueError, OverflowError, MemoryError, zlib.error) as error:
            raise UserError(f"damaged cell: {error}", where, AGAIN) from error
        if not whole or round(float(record.marks.mean()), 6) != value.get("accuracy"):
            raise UserError("damaged cell: its parts do not fit together", where, AGAIN)
        return record

    @property
    def marks(self) -> NDArray[np.bool_]:
        """Shape (items,): whether the answer was right."""
        bits = np.frombuffer(base64.b64decode(self.correct), np.uint8)
        return np.unpackbits(bits)[: self.n].astype(bool)

    @property
    def probability(self) -> NDArray[np.float64]:
        """Shape (items, choices): rounded probabilities; 0 where an item has fewer choices."""
        data = np.frombuffer(_unpack(self.probabilities, 2 * self.n * self.choices), "<u2")
        return data.reshape(self.n, self.choices) / STEPS

    @property
    def label(self) -> NDArray[np.int64]:
        """Shape (items,): index of the right choice."""
        return np.frombuffer(_unpack(self.labels, self.n), np.uint8).astype(np.int64)

    @property
    def token_passes(self) -> int:
        """Of all stages, those that are shared included; the trunk, which is cached, apart."""
        return sum(stage["token_passes"] for name, stage in self.costs.items() if name != "trunk")

    @property
    def seconds(self) -> float:
        """Of all stages, those that are shared included."""
        return float(sum(stage["seconds"] for stage in self.costs.values()))


def digest(ids: list[str]) -> str:
    """Digest of item ids in their order: the name of the file that keeps them."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def _unpack(text: str, size: int) -> bytes:
    """Unpack what :func:`pack` packed, no more than what belongs there.

    Raises:
        ValueError: It is of another size.
    """
    content = zlib.decompressobj().decompress(base64.b64decode(text), size + 1)
    if len(content) != size:
        raise ValueError("packed numbers of another length")
    return content


def pack(found: Predictions) -> dict[str, Any]:
    """The fields of a record that come from predictions."""
    width = max(len(row) for row in found.probabilities)
    table = np.zeros((len(found.ids), width))
    for place, row in enumerate(found.probabilities):
        table[place, : len(row)] = row
    rounded = np.rint(table * STEPS).astype("<u2")
    return {
        "task": found.task,
        "split": found.split,
        "language": found.lang,
        "n": len(found.ids),
        "items": digest(found.ids),
        "correct": base64.b64encode(np.packbits(found.correct).tobytes()).decode(),
        "probabilities": base64.b64encode(zlib.compress(rounded.tobytes(), 9)).decode(),
        "choices": width,
        "labels": base64.b64encode(zlib.compress(bytes(found.labels), 9)).decode(),
        "total_labels": found.total_labels,
    }


COMMITTED = Path("docs/results/cells")  # read wherever the working folder has it


class CellStore:
    """Finished cells by key: ``<key>.json``, and the ids of their items in ``items/<digest>.txt``.

    Args:
        folder: Where cells are written.
        others: Folders that are read besides.
    """

    def __init__(self, folder: Path, others: Sequence[Path] = ()) -> None:
        self.folder = folder
        remove_leftovers(folder)
        self.folders = [
            folder,
            *(other for other in others if os.path.realpath(other) != os.path.realpath(folder)),
        ]

    def get(self, key: str) -> CellRecord | None:
        """A finished cell; None where there is none.

        Raises:
            UserError: Its file is damaged.
        """
        path = next((p for f in self.folders if (p := f / f"{key}.json").exists()), None)
        if path is None:
            return None
        value = read_json(path, AGAIN)
        record = CellRecord.from_dict(value, str(path))
        if record.key != key:
            raise UserError("a cell under another's name", str(path), AGAIN)
        return record

    def ids(self, record: CellRecord) -> list[str]:
        """The ids of a cell's items, in their order.

        Raises:
            UserError: The file that keeps them is missing or damaged.
        """
        name = f"items/{record.items}.txt"
        for folder in self.folders:
            if (folder / name).is_file():
                for ids in _known_ids(folder / name):
                    if digest(ids) == record.items and len(ids) == record.n:
                        return ids
                raise UserError("the item ids of a cell are damaged", str(folder / name), "restore the file")
        raise UserError("the item ids of a cell are missing", str(self.folder / name),
                        "copy the folder 'items' beside its cells")  # fmt: skip

    def put(self, record: CellRecord, ids: Sequence[str]) -> None:
        """Write a cell; the ids first, so that whoever sees a cell finds them."""
        items = self.folder / "items" / f"{record.items}.txt"
        if not items.is_file():
            lines = [json.dumps(name) for name in ids] if any("\n" in name for name in ids) else ids
            write_atomically(items, "\n".join(lines) + "\n")
            if list(ids) not in _read_ids(items):  # before the cell counts as done
                raise UserError("what was written is read back differently", str(items), "check the disk")
        text = json.dumps(record.as_dict(), indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.folder / f"{record.key}.json", text)


def stale(record: CellRecord, root: Path | None) -> list[str]:
    """Name the data files that are no longer those that a cell was made from; missing ones do not count.

    Args:
        record: The cell.
        root: Data root given by the user.
    """
    return [place for place, before in record.checksums.items() if _now(place, root) not in (None, before)]


def _now(place: str, root: Path | None) -> str | None:
    task, _, rest = place.partition("/")
    split, _, language = rest.partition("/")
    if not language or task not in _task_ids():
        return None  # parallel text and shots: no task's files
    try:
        files = split_files(task_spec(task), split, language, root).all()
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
    """The ids of a file, one a line; where one of them holds a line feed, they are JSON: the digest tells."""
    lines = lines_of_text(read_text(path, "restore the file"))
    try:
        return [lines, [str(json_value(line)) for line in lines]]
    except ValueError:
        return [lines]


_known_ids = lru_cache(maxsize=256)(_read_ids)
