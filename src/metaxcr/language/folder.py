"""The folder of a language adapter in the making: settings, checkpoint, and what is finished."""

import fcntl
import json
from pathlib import Path
from typing import IO, Any

from safetensors import safe_open
from safetensors.torch import save_file

from metaxcr.errors import UserError
from metaxcr.files import remove_leftovers, replacing, write_atomically
from metaxcr.meta.optim import State
from metaxcr.parse import json_value, read_json_object

SETTINGS, RESULT, CHECKPOINT, HEAD_FILE = (
    "training.json",
    "result.json",
    "checkpoint.safetensors",
    "head.safetensors",
)


class AdapterFolder:
    """Files of one training. Use :func:`open_folder` to get one."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path, self._lock = path, lock

    def close(self) -> None:
        """Let other processes in."""
        self._lock.close()

    def result(self) -> dict[str, Any] | None:
        """What the finished training found; None where it is not finished."""
        path = self.path / RESULT
        return read_json_object(path) if path.exists() else None

    def checkpoint(self) -> tuple[State, dict[str, Any]] | None:
        """Tensors and notes of the last checkpoint."""
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                # copied: mapped tensors need not be aligned, and then last bits may differ
                state = {k: file.get_tensor(k).clone() for k in file.keys()}  # noqa: SIM118
                return state, json_value(file.metadata()["notes"])
        except Exception as error:  # which ones a damaged file brings about changes with versions
            raise UserError(
                f"cannot read the checkpoint: {error}", str(path), "start anew elsewhere"
            ) from error

    def save_checkpoint(self, state: State, notes: dict[str, Any]) -> None:
        """Replace the checkpoint."""
        self.save(CHECKPOINT, state, {"notes": json.dumps(notes)})

    def save(self, name: str, state: State, metadata: dict[str, str] | None = None) -> None:
        """Write tensors through a temporary name."""
        with replacing(self.path / name) as temporary:
            save_file({k: v.cpu().contiguous() for k, v in state.items()}, temporary, metadata)

    def finish(self, result: dict[str, Any]) -> None:
        """Write what was found, last of all, and drop the checkpoint."""
        write_atomically(self.path / RESULT, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        (self.path / CHECKPOINT).unlink(missing_ok=True)


def open_folder(path: Path, settings: dict[str, Any], *, resume: bool) -> AdapterFolder:
    """Create a folder, or open one to resume.

    Args:
        path: Of the folder.
        settings: Everything that decides the result; what a resumed training must share.
        resume: Whether an existing folder may be continued.

    Raises:
        UserError: The folder exists and ``resume`` is off, belongs to other settings or to no training, or
            another process works in it.
    """
    exists = path.exists() and (not path.is_dir() or any(path.iterdir()))
    if exists and not resume:
        raise UserError(
            "the folder exists", str(path), "add --resume to continue it, or choose another --out"
        )
    if not exists:
        write_atomically(path / SETTINGS, json.dumps(settings, indent=1, ensure_ascii=False) + "\n")
    try:
        before = read_json_object(path / SETTINGS)
        lock = (path / ".lock").open("w", encoding="utf-8")
    except (OSError, UserError) as error:
        raise UserError(f"no training of a language adapter: {SETTINGS} cannot be read", str(path)) from error
    changed = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
    if changed:
        raise UserError(
            f"the folder belongs to another training; these differ: {', '.join(changed)}",
            str(path),
            "resume with the same settings, or choose another --out",
        )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise UserError(
            "another process works in the folder", str(path), "wait for it, or stop it"
        ) from error
    remove_leftovers(path)
    return AdapterFolder(path, lock)
