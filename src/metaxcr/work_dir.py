"""A folder that one process works in: its lock, and files of tensors and JSON that are whole or absent."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from metaxcr.files import disk_error, lock_folder, remove_leftovers, replacing, temporary_path, write_json
from metaxcr.parse import file_error, tensors_error

Tensors = dict[str, Tensor]


class WorkDir:
    """An existing folder, locked until :meth:`close`; the lock of a killed process is released, too.

    Raises:
        UserError: Another process works in the folder, or the folder is not writable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._lock = lock_folder(path, "another process works in the folder")
        except OSError as error:
            raise file_error(error, path / ".lock") from error
        remove_leftovers(path)

    def close(self) -> None:
        """Release the lock."""
        self._lock.release()

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file."""
        write_json(self.path / name, value)

    def save_tensors(self, name: str, tensors: Tensors, metadata: dict[str, str] | None = None) -> None:
        """Write a safetensors file."""
        with replacing(self.path / name) as temporary:
            save_file({k: v.cpu().contiguous() for k, v in tensors.items()}, temporary, metadata)

    def load_tensors(self, name: str) -> tuple[Tensors, dict[str, str]]:
        """Read a safetensors file: tensors and metadata.

        Raises:
            UserError: The file is missing or damaged.
        """
        path = self.path / name
        try:
            with safe_open(path, framework="pt") as file:
                # cloned: mapped tensors need not be aligned, and then the last bits of results may differ
                tensors = {k: file.get_tensor(k).clone() for k in file.keys()}  # noqa: SIM118
                return tensors, file.metadata() or {}
        except Exception as error:  # the exceptions for a damaged file change with versions
            raise tensors_error(error, path, "start again in another folder", "the checkpoint") from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; it becomes ``path``, or replaces it, when the block ends well.

    Raises:
        UserError: The disk is full, or the place is not writable.
    """
    remove_leftovers(path.parent, path.name)
    temporary = temporary_path(path)
    old = temporary.with_suffix(".old")  # goes back by remove_leftovers if the process is killed in between
    try:
        temporary.mkdir(parents=True)
        yield temporary
        with suppress(FileNotFoundError):
            os.rename(path, old)
        os.rename(temporary, path)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
