"""Where finished cells lie: a folder that is written to, and others (committed ones) that are read."""

import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from metaxcr.errors import UserError
from metaxcr.experiments.compare.record import AGAIN, Record, digest
from metaxcr.files import remove_leftovers, write_atomically
from metaxcr.parse import json_value, lines_of_text, read_json, read_text
from metaxcr.tasks import task_ids, task_spec
from metaxcr.tasks.roots import data_fingerprint, split_files

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

    def get(self, key: str) -> Record | None:
        """A finished cell; None where there is none.

        Raises:
            UserError: Its file is damaged.
        """
        path = next((p for f in self.folders if (p := f / f"{key}.json").exists()), None)
        if path is None:
            return None
        value = read_json(path, AGAIN)
        record = Record.from_dict(value, str(path))
        if record.key != key:
            raise UserError("a cell under another's name", str(path), AGAIN)
        return record

    def ids(self, record: Record) -> list[str]:
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

    def put(self, record: Record, ids: Sequence[str]) -> None:
        """Write a cell; the ids first, so that whoever sees a cell finds them."""
        items = self.folder / "items" / f"{record.items}.txt"
        if not items.is_file():
            lines = [json.dumps(name) for name in ids] if any("\n" in name for name in ids) else ids
            write_atomically(items, "\n".join(lines) + "\n")
            if list(ids) not in _read_ids(items):  # before the cell counts as done
                raise UserError("what was written is read back differently", str(items), "check the disk")
        text = json.dumps(record.as_dict(), indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.folder / f"{record.key}.json", text)


def stale(record: Record, root: Path | None) -> list[str]:
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
