"""The run folder: created atomically; a run killed at any moment resumes to the same bytes.

The encoder of a run: the same commit and the same weights from its first step to its last.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from metaxcr.config.schema import Config
from metaxcr.config.io import differences
from metaxcr.errors import UserError
from metaxcr.files import disk_error, remove_leftovers, replacing, temporary_path, write_atomically
from metaxcr.parse import dump_yaml, file_error, parse_json, read_json, read_yaml
from metaxcr.records import AGAIN, CONFIG, ENVIRONMENT, EVENTS, JournalRecord, checked, read_environment
from collections.abc import Callable
from pathlib import Path
from metaxcr.config.schema import Encoder
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.encoders.loading import load_encoder
from metaxcr.errors import UserError
from metaxcr.records import read_environment

State = dict[str, Tensor]
Listen = Callable[[int, dict[str, Any]], None]  # told the number of an event, from 1, and the event
UNRECORDED = {"device": "cpu", "dtype": "bfloat16"}  # what runs had before their environment said so
PROGRESS = "checkpoints/progress.safetensors"
THE_MACHINES = ("run.tracker", "run.device", "encoder.dtype")  # what they came to is in the environment


@dataclass
class Journal:
    """How far the run is.

    Attributes:
        done: Names of the finished units of work.
        unit: The unit in progress.
        step: Steps of it that are done.
        events: Byte length of events.jsonl at that point.
    """

    done: list[str] = field(default_factory=list)
    unit: str = ""
    step: int = 0
    events: int = 0


class RunDir:
    """Files of one run. Use :func:`open_folder` to get one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _lock(path)
        remove_leftovers(path)
        try:
            self.journal, self.state = self._read_journal()
            self._count, self._events = self._open_events(path / EVENTS)
        except BaseException:
            self._lock.close()
            raise
        self.listen: Listen = lambda number, event: None

    def _open_events(self, path: Path) -> tuple[int, IO[str]]:
        """Cut the events at the last checkpoint; return their number, and the file to go on with."""
        try:
            path.touch()
            os.truncate(path, min(self.journal.events, path.stat().st_size))
            with path.open("rb") as written:
                count = sum(1 for _ in written)
            return count, path.open("a", encoding="utf-8")
        except OSError as error:
            raise file_error(error, path) from error

    def close(self) -> None:
        """Close the events file and let other processes in."""
        self._events.close()
        self._lock.close()

    def log(self, event: dict[str, Any]) -> None:
        """Append one event, and tell whoever listens."""
        self._events.write(json.dumps(event) + "\n")
        self._count += 1
        self.listen(self._count, event)

    def checkpoint(self, unit: str, step: int, state: State) -> None:
        """Record that ``step`` steps of ``unit`` are done, with the state to continue from."""
        self._events.flush()
        self.journal = Journal(self.journal.done, unit, step, self._events.tell())
        self._write_journal(state)

    def finish(self, unit: str) -> None:
        """Record that a unit of work is done; what it made must be on disk already."""
        self._events.flush()
        self.journal = Journal([*self.journal.done, unit], "", 0, self._events.tell())
        self._write_journal({})

    def save_state(self, name: str, state: State) -> None:
        """Write tensors to ``checkpoints/<name>.safetensors``."""
        self._save(f"checkpoints/{name}.safetensors", state, {})

    def load_state(self, name: str, like: State, also: State) -> State:
        """Read tensors back; see :func:`fitting`."""
        path = self.path / f"checkpoints/{name}.safetensors"
        return fitting(_load(path)[0], like, also, path)

    def progress_state(self, like: State, also: State) -> State:
        """The state of the unit of work in progress; see :func:`fitting`."""
        return fitting(self.state, like, also, self.path / PROGRESS)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file through a temporary name."""
        write_atomically(self.path / name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def read_json(self, name: str, default: Any) -> Any:
        """Read a JSON file, or return ``default`` where there is none."""
        path = self.path / name
        return read_json(path, AGAIN) if path.exists() else default

    def _save(self, name: str, state: State, metadata: dict[str, str]) -> None:
        with replacing(self.path / name) as temporary:
            save_file({k: v.cpu().contiguous() for k, v in state.items()}, temporary, metadata)

    def _write_journal(self, state: State) -> None:
        self._save(PROGRESS, state, {"journal": json.dumps(vars(self.journal))})

    def _read_journal(self) -> tuple[Journal, State]:
        path = self.path / PROGRESS
        if not path.exists():
            return Journal(), {}
        state, metadata = _load(path)
        found = parse_json(metadata.get("journal", ""), str(path), AGAIN)
        return Journal(**checked(JournalRecord, found, str(path))), state


def open_folder(path: Path, config: Config, environment: dict[str, Any], *, resume: bool) -> RunDir:
    """Create a run folder, or open one to resume.

    Args:
        path: Of the folder.
        config: The resolved settings.
        environment: Versions, hardware, threads, dtype.
        resume: Whether an existing folder may be continued.

    Raises:
        UserError: The folder exists and ``resume`` is off, or it belongs to other settings or another
            environment.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        temporary = temporary_path(path)
        remove_leftovers(path.parent, path.name)
        try:
            temporary.mkdir(parents=True)
            text = dump_yaml(config.model_dump(mode="json"))
            (temporary / "config.yaml").write_text(text, encoding="utf-8")
            (temporary / "environment.json").write_text(
                json.dumps(environment, indent=1) + "\n", encoding="utf-8"
            )
            os.replace(temporary, path)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise disk_error(error, path) from error
        return RunDir(path)
    if not resume:
        raise UserError(
            "the run folder exists", str(path), "add --resume to continue it, or choose another --out"
        )
    if not ((path / CONFIG).is_file() and (path / ENVIRONMENT).is_file()):
        raise UserError("not a run folder: config.yaml or environment.json is missing", str(path))
    old = checked(dict[str, Any], read_yaml(path / CONFIG), str(path / CONFIG))
    before = read_environment(path / ENVIRONMENT)
    with contextlib.suppress(ValidationError):  # settings that came later than the folder have their defaults
        old = Config.model_validate(old).model_dump(mode="json")
    changed = [key for key in differences(old, config.model_dump(mode="json")) if key not in THE_MACHINES]
    for key, setting in (("device", "run.device"), ("dtype", "encoder.dtype")):
        was, now = (record.get(key, UNRECORDED[key]) for record in (before, environment))
        if not changed and was != now:
            raise UserError(
                f"the run was begun with {setting} {was}, and would go on with {now} ({environment['cpu']})",
                str(path),
                f"add --set {setting}={was}, or begin anew with another --out",
            )
    changed += [f"environment: {k}" for k in ("threads", "torch") if before.get(k) != environment.get(k)]
    if changed:
        raise UserError(
            f"the run folder belongs to other settings; these differ: {', '.join(changed)}",
            str(path),
            "resume with the same settings, or choose another --out",
        )
    return RunDir(path)


def _lock(path: Path) -> IO[str]:
    """Keep other processes out of a run folder until the returned file is closed, also by a kill."""
    try:
        file = (path / ".lock").open("w", encoding="utf-8")
    except OSError as error:
        raise file_error(error, path / ".lock") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise UserError(
            "another process works in the run folder", str(path), "wait for it, or stop it"
        ) from error
    return file


def _load(path: Path) -> tuple[State, dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {k: file.get_tensor(k).clone() for k in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except Exception as error:  # which exceptions a damaged file brings about changes with versions
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"cannot read a checkpoint: {reason}", str(path), "start the run anew in another folder"
        ) from error


def fitting(state: State, like: State, also: State, path: Path) -> State:
    """Insist that the tensors of a checkpoint are those of the model that goes on with them.

    Args:
        state: Read from a file.
        like: Tensors that have to be there, of the same shapes and types; what is empty at first may grow.
        also: Tensors that may be there.
        path: The file.

    Raises:
        UserError: A tensor is missing, has no place, or is of another shape or type.
    """
    fix = "start the run anew in another folder"
    if missing := [name for name in like if name not in state]:
        raise UserError(f"the checkpoint lacks the tensor {missing[0]!r}", str(path), fix)
    for name, tensor in state.items():
        wanted = like.get(name, also.get(name))
        if wanted is None:
            raise UserError(f"the tensor {name!r} has no place in the checkpoint", str(path), fix)
        fits = tensor.dtype == wanted.dtype and tensor.dim() == wanted.dim()
        if not fits or any(b not in (0, a) for a, b in zip(tensor.shape, wanted.shape, strict=True)):
            shapes = f"{tuple(tensor.shape)} {tensor.dtype}, not {tuple(wanted.shape)} {wanted.dtype}"
            raise UserError(f"the tensor {name!r} of the checkpoint is {shapes}", str(path), fix)
    return state

RECORD, KEY = "environment.json", "encoder"


def load_pinned(
    settings: Encoder, folder: RunDir, load: Callable[..., FrozenEncoder] = load_encoder
) -> FrozenEncoder:
    """Load a run's encoder, at first as the settings say, and when resumed at the commit that was recorded.

    Args:
        settings: Of the encoder; a hub name without a revision stands for the newest commit.
        folder: The run folder, whose environment.json records the commit and a checksum.
        load: Loads an encoder by name, prefix and revision.

    Raises:
        UserError: The encoder cannot be loaded, or is not the one that the run was begun with.
    """
    environment = read_environment(folder.path / RECORD)
    before = environment.get(KEY, {})
    revision = before.get("revision") or settings.revision
    encoder = load(settings.name, prefix=settings.prefix, revision=revision)
    record = {"name": encoder.name, "revision": encoder.revision, "fingerprint": encoder.fingerprint}
    if before and before != record:
        raise UserError(
            f"encoder {encoder.name!r} has changed since the run was begun",
            str(folder.path / RECORD),
            "bring the former one back, or begin anew with another --out",
        )
    if not before:
        folder.write_json(RECORD, {**environment, KEY: record})
    return encoder


def recorded_revision(folder: Path) -> str | None:
    """The commit on the hub of the encoder that a run was carried out with; None where none is recorded.

    Raises:
        UserError: The record is damaged: it is not known which encoder the model belongs to.
    """
    if not (folder / RECORD).is_file():
        return None
    revision = read_environment(folder / RECORD).get(KEY, {}).get("revision")
    return None if revision is None else str(revision)
