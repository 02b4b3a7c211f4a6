"""The tasks by name, and the one call that loads a split."""

import difflib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from metaxcr.data.data_dirs import split_files
from metaxcr.data.example import Example
from metaxcr.data.phrasing import phrase
from metaxcr.data.readers import read_examples
from metaxcr.data.repairs import LAYOUT
from metaxcr.data.spec import TaskSpec, read_spec
from metaxcr.errors import UserError
from metaxcr.parse import check_file

__all__ = ["LoadedSplit", "load", "own_specs", "phrase", "task_ids", "task_spec"]

SPECS = Path(__file__).parent / "specs"
VARIABLE = "METAXCR_TASKS"


@dataclass(frozen=True, slots=True)
class LoadedSplit:
    """One split in one language, read and repaired.

    Attributes:
        spec: The task.
        split: Name of the split.
        language: ISO 639-1 code.
        examples: In the order of the file.
        files: What was read, for :func:`metaxcr.data.data_dirs.data_fingerprint`.
        lines: The line of each example in its file.
        repairs: Step of :mod:`metaxcr.data.repairs` -> how often it changed something.
        skipped: ``file:line: reason`` of the rows that were left out.
    """

    spec: TaskSpec
    split: str
    language: str
    examples: list[Example]
    files: list[Path]
    lines: list[int] = field(default_factory=list)
    repairs: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    @property
    def repaired(self) -> int:
        """Number of repairs that changed an example; the layout of the file does not count."""
        return sum(count for step, count in self.repairs.items() if step not in LAYOUT)


def own_specs() -> Path:
    """Return the folder of the user's own tasks: ``$METAXCR_TASKS``, or under the configuration folder."""
    explicit = os.environ.get(VARIABLE)
    if explicit:
        return Path(os.path.expanduser(explicit))
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "metaxcr" / "tasks"


def _spec_files() -> dict[str, Path]:
    """Return the declarations by id; a user's own cannot replace one of the package."""
    return {path.stem: path for folder in (own_specs(), SPECS) for path in folder.glob("*.yaml")}


def task_ids() -> list[str]:
    """List the ids of all tasks, sorted: those of the package and the user's own."""
    return sorted(_spec_files())


def task_spec(task_id: str) -> TaskSpec:
    """Return the declaration of a task.

    Args:
        task_id: Its id, see :func:`task_ids`.

    Returns:
        The declaration.

    Raises:
        UserError: There is no such task; the message names the nearest one.
    """
    path = SPECS / f"{task_id}.yaml"
    if not os.path.isfile(path):
        files = _spec_files()
        _known("task", task_id, sorted(files))
        path = files[task_id]
    check_file(path)
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=512)
def _read(path: Path, changed: int) -> TaskSpec:
    """Read a declaration; a user's own may change while a program runs."""
    return read_spec(path)


def load(
    task_id: str,
    split: str,
    *,
    language: str = "en",
    root: Path | None = None,
    raw: bool = False,
    off: Collection[str] = (),
) -> LoadedSplit:
    """Load one split of a task in one language.

    Args:
        task_id: The task.
        split: One of its splits.
        language: One of its languages (ISO 639-1).
        root: Data root, see :func:`metaxcr.data.data_dirs.candidate_roots`; starter tasks need none.
        raw: Take the official file as it says, without the repair of questions.
        off: Repair steps that are switched off (:data:`metaxcr.data.repairs.STEPS`).

    Returns:
        The examples with what a result has to say about them.

    Raises:
        UserError: Unknown task, split or language, a missing file, or a malformed line.
    """
    spec = task_spec(task_id)
    _known(f"split of '{task_id}'", split, list(spec.splits))
    _known(f"language of '{task_id}'", language, spec.languages)
    _known(f"language of '{task_id}' {split}", language, spec.split_languages(split))
    files = split_files(spec, split, language, root)
    without = {*off, *(["question"] if raw else [])}
    read = read_examples(spec, split, language, files.data, files.labels, off=without)
    return LoadedSplit(
        spec, split, language, read.examples, files.all(), read.lines, read.repairs, read.skipped
    )


def _known(kind: str, name: str, names: Sequence[str]) -> None:
    """Refuse a name that does not exist, with the nearest that does."""
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1) if len(name) > 3 else []  # codes have no neighbours
    guess = f"did you mean '{near[0]}'? " if near else ""
    raise UserError(f"unknown {kind} '{name}'", None, f"{guess}There are {', '.join(names)}")
