"""The run folder: created whole, locked, with a journal from which a killed run resumes to the same bytes.

A run keeps its encoder, too: the same commit and the same weights from its first step to its last.
"""

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from metaxcr.config.io import differences
from metaxcr.config.schema import Config, Encoder, accept_old_names
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.encoders.loading import load_encoder
from metaxcr.errors import UserError
from metaxcr.files import write_json
from metaxcr.parse import dump_yaml, file_error, parse_json, read_json, read_yaml
from metaxcr.records import AGAIN, CONFIG, ENVIRONMENT, EVENTS, JournalRecord, checked, read_environment
from metaxcr.work_dir import Tensors, WorkDir, new_folder

EventCallback = Callable[[int, dict[str, Any]], None]  # gets the number of an event, from 1, and the event
EARLIER_DEFAULTS = {"device": "cpu", "dtype": "bfloat16"}  # of runs whose environment did not record them
PROGRESS = "checkpoints/progress.safetensors"
RESOLVED = ("run.tracker", "run.device", "encoder.dtype")  # may differ: the environment has their values
ENCODER = "encoder"  # key of the environment


@dataclass
class Journal:
    """How far the run is."""

    done: list[str] = field(default_factory=list)  # names of the finished units of work
    unit: str = ""  # the unit in progress
    step: int = 0  # finished steps of it
    events: int = 0  # byte length of events.jsonl at that point


class RunDir(WorkDir):
    """Files of one run. Use :func:`open_folder` to get one."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.on_event: EventCallback = lambda number, event: None
        try:
            self.journal, self.state = self._read_journal()
            self._count, self._events = self._open_events(path / EVENTS)
        except BaseException:
            super().close()
            raise

    def _open_events(self, path: Path) -> tuple[int, IO[str]]:
        """Cut the events at the last checkpoint; return their number and the file to append to."""
        try:
            path.touch()
            os.truncate(path, min(self.journal.events, path.stat().st_size))
            with path.open("rb") as written:
                count = sum(1 for _ in written)
            return count, path.open("a", encoding="utf-8")
        except OSError as error:
            raise file_error(error, path) from error

    def _read_journal(self) -> tuple[Journal, Tensors]:
        path = self.path / PROGRESS
        if not path.exists():
            return Journal(), {}
        state, metadata = self.load_tensors(PROGRESS)
        found = parse_json(metadata.get("journal", ""), str(path), AGAIN)
        return Journal(**checked(JournalRecord, found, str(path))), state

    def close(self) -> None:
        """Close the events file and release the lock."""
        self._events.close()
        super().close()

    def log(self, event: dict[str, Any]) -> None:
        """Append one event, and pass it to the callback."""
        self._events.write(json.dumps(event) + "\n")
        self._count += 1
        self.on_event(self._count, event)

    def checkpoint(self, unit: str, step: int, state: Tensors) -> None:
        """Record that ``step`` steps of ``unit`` are done, with the state to continue from."""
        self._events.flush()
        self.journal = Journal(self.journal.done, unit, step, self._events.tell())
        self._write_journal(state)

    def finish(self, unit: str) -> None:
        """Record that a unit of work is done; its files must be on disk already."""
        self._events.flush()
        self.journal = Journal([*self.journal.done, unit], "", 0, self._events.tell())
        self._write_journal({})

    def _write_journal(self, state: Tensors) -> None:
        self.save_tensors(PROGRESS, state, {"journal": json.dumps(vars(self.journal))})

    def save_state(self, name: str, state: Tensors) -> None:
        """Write tensors to ``checkpoints/<name>.safetensors``."""
        self.save_tensors(f"checkpoints/{name}.safetensors", state, {})

    def load_state(self, name: str, like: Tensors, also: Tensors) -> Tensors:
        """Read tensors back; see :func:`check_tensors`."""
        file = f"checkpoints/{name}.safetensors"
        return check_tensors(self.load_tensors(file)[0], like, also, self.path / file)

    def progress_state(self, like: Tensors, also: Tensors) -> Tensors:
        """The state of the unit of work in progress; see :func:`check_tensors`."""
        return check_tensors(self.state, like, also, self.path / PROGRESS)

    def read_json(self, name: str, default: Any) -> Any:
        """Read a JSON file, or return ``default`` if it does not exist."""
        path = self.path / name
        return read_json(path, AGAIN) if path.exists() else default


def open_folder(path: Path, config: Config, environment: dict[str, Any], *, resume: bool) -> RunDir:
    """Create a run folder, or open one to resume.

    Raises:
        UserError: The folder exists and ``resume`` is off, or it belongs to other settings or another
            environment.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        with new_folder(path) as temporary:
            text = dump_yaml(config.model_dump(mode="json"))
            (temporary / CONFIG).write_text(text, encoding="utf-8")
            write_json(temporary / ENVIRONMENT, environment)
        return RunDir(path)
    if not resume:
        fix = "add --resume to continue it, or choose another --out"
        raise UserError("the run folder exists", str(path), fix)
    if not ((path / CONFIG).is_file() and (path / ENVIRONMENT).is_file()):
        raise UserError("not a run folder: config.yaml or environment.json is missing", str(path))
    _check_resumable(path, config, environment)
    return RunDir(path)


def _check_resumable(path: Path, config: Config, environment: dict[str, Any]) -> None:
    """Refuse to resume a run with other settings, threads, torch version, device or number format."""
    old = checked(dict[str, Any], read_yaml(path / CONFIG), str(path / CONFIG))
    before = read_environment(path / ENVIRONMENT)
    # settings that are newer than the folder get their defaults
    with contextlib.suppress(ValidationError), accept_old_names():
        old = Config.model_validate(old).model_dump(mode="json")
    changed = [key for key in differences(old, config.model_dump(mode="json")) if key not in RESOLVED]
    for key, setting in (("device", "run.device"), ("dtype", "encoder.dtype")):
        was, now = (record.get(key, EARLIER_DEFAULTS[key]) for record in (before, environment))
        if not changed and was != now:
            what = f"the run was started with {setting} {was}, and would continue with {now}"
            fix = f"add --set {setting}={was}, or start again with another --out"
            raise UserError(f"{what} ({environment['cpu']})", str(path), fix)
    changed += [f"environment: {k}" for k in ("threads", "torch") if before.get(k) != environment.get(k)]
    if changed:
        what = f"the run folder belongs to other settings; these differ: {', '.join(changed)}"
        raise UserError(what, str(path), "resume with the same settings, or choose another --out")


def check_tensors(state: Tensors, like: Tensors, also: Tensors, path: Path) -> Tensors:
    """Check that the tensors of a checkpoint (``path``) fit the model that continues with them.

    ``like`` are required, ``also`` optional tensors, of the same shapes and types; an axis of length 0 may
    have grown.

    Raises:
        UserError: A tensor is missing, unknown, or of another shape or type.
    """
    fix = "start again in another folder"
    if missing := [name for name in like if name not in state]:
        raise UserError(f"the checkpoint lacks the tensor {missing[0]!r}", str(path), fix)
    for name, tensor in state.items():
        wanted = like.get(name, also.get(name))
        if wanted is None:
            raise UserError(f"the checkpoint has an unknown tensor {name!r}", str(path), fix)
        fits = tensor.dtype == wanted.dtype and tensor.dim() == wanted.dim()
        if not fits or any(b not in (0, a) for a, b in zip(tensor.shape, wanted.shape, strict=True)):
            shapes = f"{tuple(tensor.shape)} {tensor.dtype}, not {tuple(wanted.shape)} {wanted.dtype}"
            raise UserError(f"the tensor {name!r} of the checkpoint is {shapes}", str(path), fix)
    return state


def load_pinned(
    settings: Encoder, folder: RunDir, load: Callable[..., FrozenEncoder] = load_encoder
) -> FrozenEncoder:
    """Load a run's encoder: at first as the settings say, on resume at the recorded commit.

    The folder's environment.json records the commit and a checksum.

    Raises:
        UserError: The encoder cannot be loaded, or is not the one that the run was started with.
    """
    environment = read_environment(folder.path / ENVIRONMENT)
    before = environment.get(ENCODER, {})
    revision = before.get("revision") or settings.revision
    encoder = load(settings.name, prefix=settings.prefix, revision=revision)
    record = {"name": encoder.name, "revision": encoder.revision, "fingerprint": encoder.fingerprint}
    if before and before != record:
        what = f"encoder {encoder.name!r} has changed since the run was started"
        fix = "restore the former encoder, or start again with another --out"
        raise UserError(what, str(folder.path / ENVIRONMENT), fix)
    if not before:
        folder.write_json(ENVIRONMENT, {**environment, ENCODER: record})
    return encoder


def recorded_revision(folder: Path) -> str | None:
    """The hub commit of the encoder that a run used; None if none is recorded."""
    if not (folder / ENVIRONMENT).is_file():
        return None
    revision: str | None = read_environment(folder / ENVIRONMENT).get(ENCODER, {}).get("revision")
    return revision
