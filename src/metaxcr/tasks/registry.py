"""The tasks by name, and the one call that loads a split."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from metaxcr.errors import UserError
from metaxcr.tasks.example import Example
from metaxcr.tasks.phrasing import phrase
from metaxcr.tasks.readers import read_examples
from metaxcr.tasks.repair import repair
from metaxcr.tasks.roots import split_files
from metaxcr.tasks.spec import TaskSpec, read_spec

__all__ = ["LoadedSplit", "load", "phrase", "task_ids", "task_spec"]

SPECS = Path(__file__).parent / "specs"


@dataclass(frozen=True, slots=True)
class LoadedSplit:
    """One split in one language, read and repaired.

    Attributes:
        spec: The task.
        split: Name of the split.
        language: ISO 639-1 code.
        examples: In the order of the file.
        repaired: Number of examples whose ``question`` was corrected; 0 when raw.
        files: What was read, for :func:`metaxcr.tasks.roots.data_fingerprint`.
    """

    spec: TaskSpec
    split: str
    language: str
    examples: list[Example]
    repaired: int
    files: list[Path]


def task_ids() -> list[str]:
    """List the ids of all tasks, sorted."""
    return sorted(path.stem for path in SPECS.glob("*.yaml"))


@cache
def task_spec(task_id: str) -> TaskSpec:
    """Return the declaration of a task.

    Args:
        task_id: Its id, see :func:`task_ids`.

    Returns:
        The declaration.

    Raises:
        UserError: There is no such task; the message names the nearest one.
    """
    _known("task", task_id, task_ids())
    return read_spec(SPECS / f"{task_id}.yaml")


def load(
    task_id: str, split: str, *, language: str = "en", root: Path | None = None, raw: bool = False
) -> LoadedSplit:
    """Load one split of a task in one language.

    Args:
        task_id: The task.
        split: One of its splits.
        language: One of its languages (ISO 639-1).
        root: Data root, see :func:`metaxcr.tasks.roots.candidate_roots`; starter tasks need none.
        raw: Take the official file as it is, without the repairs that the task declares.

    Returns:
        The examples with what a result has to say about them.

    Raises:
        UserError: Unknown task, split or language, a missing file, or a malformed line.
    """
    spec = task_spec(task_id)
    _known(f"split of '{task_id}'", split, list(spec.splits))
    _known(f"language of '{task_id}'", language, spec.languages)
    files = split_files(spec, split, language, root)
    examples = read_examples(spec, split, language, files.data, files.labels)
    repaired = 0
    if not raw:
        examples, repaired = repair(examples, spec, split, language)
    return LoadedSplit(spec, split, language, examples, repaired, files.all())


def _known(kind: str, name: str, names: Sequence[str]) -> None:
    """Refuse a name that does not exist, with the nearest that does."""
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1) if len(name) > 3 else []  # codes have no neighbours
    guess = f"did you mean '{near[0]}'? " if near else ""
    raise UserError(f"unknown {kind} '{name}'", None, f"{guess}There are {', '.join(names)}")
