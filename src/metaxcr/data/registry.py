"""The tasks by name, and the one call that loads a split."""

import difflib
import os
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from metaxcr.data.data_dirs import missing_files, split_files
from metaxcr.data.readers import LoadedSplit, read_examples
from metaxcr.data.spec import TaskSpec, read_spec
from metaxcr.errors import UserError
from metaxcr.parse import check_file

__all__ = ["LoadedSplit", "available_splits", "load", "task_ids", "task_spec", "user_specs"]

SPECS = Path(__file__).parent / "specs"
VARIABLE = "METAXCR_TASKS"


def user_specs() -> Path:
    """Return the folder of the user's own tasks: ``$METAXCR_TASKS``, or under the configuration folder."""
    explicit = os.environ.get(VARIABLE)
    if explicit:
        return Path(os.path.expanduser(explicit))
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "metaxcr" / "tasks"


def _spec_files() -> dict[str, Path]:
    """Return the task files by id; a user's task cannot replace one of the package."""
    return {path.stem: path for folder in (user_specs(), SPECS) for path in folder.glob("*.yaml")}


def task_ids() -> list[str]:
    """List the ids of all tasks, sorted: those of the package and the user's own."""
    return sorted(_spec_files())


def task_spec(task_id: str) -> TaskSpec:
    """Return the declaration of a task; for an unknown one, the error names the nearest."""
    path = SPECS / f"{task_id}.yaml"
    if not os.path.isfile(path):
        files = _spec_files()
        _check_name("task", task_id, sorted(files))
        path = files[task_id]
    check_file(path)
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=512)
def _read(path: Path, changed: int) -> TaskSpec:
    """Read a declaration; ``changed`` is part of the key because a user may edit it while a program runs."""
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

    The data root is one of :func:`metaxcr.data.data_dirs.candidate_roots`; starter tasks need none. ``raw``
    leaves questions as the official file has them; the repair steps in ``off`` are switched off.

    Raises:
        UserError: Unknown task, split or language, a missing file, or a malformed line.
    """
    spec = task_spec(task_id)
    _check_name(f"split of '{task_id}'", split, list(spec.splits))
    _check_name(f"language of '{task_id}'", language, spec.languages)
    _check_name(f"language of '{task_id}' {split}", language, spec.split_languages(split))
    files = split_files(spec, split, language, root)
    off = {*off, "question"} if raw else off
    return read_examples(spec, split, language, files.data, files.labels, off=off)


def available_splits(
    spec: TaskSpec, languages: Collection[str], root: Path | None = None
) -> Iterator[tuple[str, str]]:
    """Yield (split, language) of a task in some languages, as far as the files are there."""
    absent = set(missing_files(spec, root))
    for split in spec.splits:
        for language in spec.split_languages(split):
            if language in languages and not absent.intersection(spec.files_of(split, language)):
                yield split, language


def _check_name(kind: str, name: str, names: Sequence[str]) -> None:
    """Raise a UserError for a name that does not exist; it suggests the nearest that does."""
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1) if len(name) > 3 else []  # codes have no neighbours
    guess = f"did you mean '{near[0]}'? " if near else ""
    raise UserError(f"unknown {kind} '{name}'", None, f"{guess}There are {', '.join(names)}")
