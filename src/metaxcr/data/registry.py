"""The tasks by name, where their files are on the disk, and the one call that loads a split."""

import difflib
import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from metaxcr.data.readers import LoadedSplit, read_examples
from metaxcr.data.spec import Declaration, Download, TaskSpec, read_spec
from metaxcr.errors import UserError
from metaxcr.files import user_cache
from metaxcr.parse import check_file, lines_of_text

__all__ = ["LoadedSplit", "available_splits", "load", "task_ids", "task_spec", "user_specs"]

SPECS, STARTER = Path(__file__).parent / "specs", Path(__file__).parent / "starter"
CHECKSUMS = SPECS / "SHA256SUMS"
TASKS_VARIABLE, DATA_VARIABLE = "METAXCR_TASKS", "METAXCR_DATA"


def user_specs() -> Path:
    """Return the folder of the user's own tasks: ``$METAXCR_TASKS``, or under the configuration folder."""
    if explicit := os.environ.get(TASKS_VARIABLE):
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

    The data root is one of :func:`candidate_roots`; starter tasks need none. ``raw`` leaves questions as the
    official file has them; the repair steps in ``off`` are switched off.

    Raises:
        UserError: Unknown task, split or language, a missing file, or a malformed line.
    """
    spec = task_spec(task_id)
    _check_name(f"split of '{task_id}'", split, list(spec.splits))
    _check_name(f"language of '{task_id}'", language, spec.languages)
    _check_name(f"language of '{task_id}' {split}", language, spec.split_languages(split))
    off = {*off, "question"} if raw else off
    return read_examples(spec, split, language, *split_files(spec, split, language, root), off=off)


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


def cache_root() -> Path:
    """Return the folder under the user's cache that ``metaxcr tasks fetch`` fills."""
    return user_cache() / "data"


def candidate_roots(explicit: Path | None = None) -> list[Path]:
    """List the data roots that exist, in the order of the search: --data, $METAXCR_DATA, the cache."""
    roots = []
    for value, source in ((explicit, "--data"), (os.environ.get(DATA_VARIABLE), f"${DATA_VARIABLE}")):
        if value:
            path = Path(os.path.expanduser(value))
            if not os.path.isdir(path):
                fix = "name the folder that holds the data sets"
                raise UserError(f"the data root '{path}' is no folder", source, fix)
            roots.append(path)
    return [*roots, cache_root()] if cache_root().is_dir() else roots


def files_of(spec: Declaration, split: str | None = None, language: str | None = None) -> list[str]:
    """Name the files of a task or corpus, or of one split or language of it, relative to a root, sorted."""
    for kind, value, known in (("split", split, spec.splits), ("language", language, spec.languages)):
        if value is not None and value not in known:
            raise UserError(f"task '{spec.id}' has no {kind} '{value}'", None, f"it has {', '.join(known)}")
    names = set[str]()
    for one in [split] if split else spec.splits:
        for code in spec.split_languages(one):
            if language in (None, code):
                names.update(spec.files_of(one, code))
    return sorted(names)


def downloads_of(spec: Declaration, split: str | None = None, language: str | None = None) -> list[Download]:
    """List the downloads of a task, or of one split or language of it, without placeholders, one a file.

    A language's file that no split names is left out; a file for all languages that no split names (a
    licence) belongs to the whole task only.
    """
    names = set(files_of(spec, split, language))
    codes = [spec.codes.get(code, code) for code in spec.languages]
    found: dict[str, Download] = {}
    for declared in spec.fetch:
        for code in codes if declared.per_language else [""]:
            download = declared.for_language(code)
            if download.to in names or not (declared.per_language or split or language):
                found.setdefault(download.to, download)
    return list(found.values())


def split_files(spec: Declaration, split: str, language: str, root: Path | None = None) -> list[Path]:
    """Find the data file of one split in one language, and the label file if there is one, under one root.

    ``root`` is that of ``--data``.
    """
    names = spec.files_of(split, language)
    if Path(names[0]).is_absolute():  # the user's own file; its reader says whether it can be read
        return [Path(names[0]).parent / name for name in names]
    roots = [STARTER] if spec.package else candidate_roots(root)
    for candidate in roots:
        found = [candidate / name for name in names]
        if all(map(os.path.isfile, found)):  # unlike Path.is_file, no error where a folder may not be entered
            return found
    if spec.package:
        raise UserError(f"'{names[0]}' is missing from the package", str(STARTER), "install metaxcr again")
    fetch = f"'metaxcr tasks fetch {spec.id}', or " if spec.fetch else ""
    folder = Path(names[0]).parts[0]
    fix = f"{fetch}give --data or set {DATA_VARIABLE} to the folder that holds '{folder}' ({spec.url})"
    if not roots:
        searched = f"--data, ${DATA_VARIABLE}, {cache_root()}"
        raise UserError(f"no data root for task '{spec.id}'", searched, fix)
    missing = next(name for name in names if not os.path.isfile(roots[0] / name))
    raise UserError(f"'{missing}' of task '{spec.id}' is missing", ", ".join(map(str, roots)), fix)


def missing_files(spec: Declaration, root: Path | None = None) -> list[str]:
    """List the files of a task that no root holds, relative to a root; empty when the task is complete."""
    roots = [STARTER] if spec.package else candidate_roots(root) or [Path()]
    return [name for name in files_of(spec) if not any(os.path.isfile(folder / name) for folder in roots)]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@lru_cache
def official_checksums() -> dict[str, str]:
    """Return the SHA-256 of the official files of the package's tasks, by name under a data root."""
    lines = lines_of_text(CHECKSUMS.read_text(encoding="utf-8"))
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines if line)}


def data_fingerprint(paths: Iterable[Path]) -> str:
    """Digest names and contents of files with SHA-256; folders, order and repetitions do not count."""
    parts = {f"{path.name} {sha256(path)}\n" for path in paths}
    return hashlib.sha256("".join(sorted(parts)).encode()).hexdigest()
