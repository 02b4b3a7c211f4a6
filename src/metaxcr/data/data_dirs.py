"""Where data lies: the roots, the files of a split, and their fingerprint."""

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from metaxcr.data.fetching.downloads import Download
from metaxcr.errors import UserError
from metaxcr.files import user_cache

VARIABLE = "METAXCR_DATA"
STARTER = Path(__file__).parent / "starter"


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """The files of one split in one language; ``labels`` is None where the rows hold their labels."""

    data: Path
    labels: Path | None

    def all(self) -> list[Path]:
        """List the files that exist for this split."""
        return [self.data] if self.labels is None else [self.data, self.labels]


def cache_root() -> Path:
    """Return the folder under the user's cache that ``metaxcr tasks fetch`` fills."""
    return user_cache() / "data"


def candidate_roots(explicit: Path | None = None) -> list[Path]:
    """List the data roots in the order in which they are searched.

    Args:
        explicit: What the user gave as ``--data``.

    Returns:
        The explicit root, ``$METAXCR_DATA`` and the cache folder, as far as they are set and exist.

    Raises:
        UserError: A root that the user named is no folder; a silent fall-back would read other data than
            meant.
    """
    named = [(explicit, "--data"), (os.environ.get(VARIABLE), f"${VARIABLE}")]
    roots = []
    for value, source in named:
        if not value:
            continue
        path = Path(os.path.expanduser(value))
        if not os.path.isdir(path):
            raise UserError(
                f"the data root '{path}' is no folder", source, "name the folder that holds the data sets"
            )
        roots.append(path)
    if cache_root().is_dir():
        roots.append(cache_root())
    return roots


def data_root(explicit: Path | None = None) -> Path | None:
    """Return the first data root, or None when there is none (see :func:`candidate_roots`)."""
    return next(iter(candidate_roots(explicit)), None)


class Declaration(Protocol):
    """What tasks and text corpora have in common: files by split and language."""

    @property
    def id(self) -> str:
        """Name."""
        ...

    @property
    def package(self) -> bool:
        """Whether the files ship inside the package."""
        ...

    @property
    def splits(self) -> Mapping[str, Any]:
        """The splits by name."""
        ...

    @property
    def languages(self) -> Collection[str]:
        """ISO 639-1 codes."""
        ...

    @property
    def codes(self) -> Mapping[str, str]:
        """How file names spell a language, where they do it differently."""
        ...

    @property
    def fetch(self) -> Sequence[Download]:
        """Where the files come from."""
        ...

    @property
    def licence(self) -> str:
        """Under which the files may be used."""
        ...

    @property
    def citation(self) -> str:
        """What a paper has to cite."""
        ...

    @property
    def url(self) -> str:
        """The authors' page."""
        ...

    def split_languages(self, split: str) -> list[str]:
        """List the languages that a split has."""
        ...

    def files_of(self, split: str, language: str) -> list[str]:
        """Name the files of a split relative to a root."""
        ...


def files_of(spec: Declaration) -> list[str]:
    """Name all files of a task or corpus relative to a root, sorted."""
    return sorted(
        {
            name
            for split in spec.splits
            for language in spec.split_languages(split)
            for name in spec.files_of(split, language)
        }
    )


def split_files(spec: Declaration, split: str, language: str, root: Path | None = None) -> SplitFiles:
    """Find the files of one split in one language.

    Args:
        spec: The task.
        split: One of its splits.
        language: One of its languages.
        root: What the user gave as ``--data``; not needed for tasks that ship with the package.

    Returns:
        The files, all under the same root.

    Raises:
        UserError: A file is missing; the message names it and the roots that were looked at.
    """
    names = spec.files_of(split, language)
    if Path(names[0]).is_absolute():  # a user's own; whether it can be read is for the reader to say
        data = Path(names[0])
        return SplitFiles(data, data.parent / names[1] if len(names) > 1 else None)
    roots = [STARTER] if spec.package else candidate_roots(root)
    for candidate in roots:
        found = [candidate / name for name in names]
        if all(map(os.path.isfile, found)):  # unlike Path.is_file, no error where a folder may not be entered
            return SplitFiles(found[0], found[1] if len(found) > 1 else None)
    if spec.package:
        raise UserError(f"'{names[0]}' is missing from the package", str(STARTER), "install metaxcr again")
    fetch = f"'metaxcr tasks fetch {spec.id}', or " if spec.fetch else ""
    folder = Path(names[0]).parts[0]
    remedy = f"{fetch}give --data or set {VARIABLE} to the folder that holds '{folder}' ({spec.url})"
    if not roots:
        raise UserError(f"no data root for task '{spec.id}'", f"--data, ${VARIABLE}, {cache_root()}", remedy)
    missing = next(name for name in names if not os.path.isfile(roots[0] / name))
    raise UserError(f"'{missing}' of task '{spec.id}' is missing", ", ".join(map(str, roots)), remedy)


def missing_files(spec: Declaration, root: Path | None = None) -> list[str]:
    """List the files of a task that no root holds, relative to a root; empty when the task is complete."""
    roots = [STARTER] if spec.package else candidate_roots(root)
    return [
        name
        for name in files_of(spec)
        if not any(os.path.isfile(candidate / name) for candidate in roots or [Path()])
    ]


def data_fingerprint(paths: Iterable[Path]) -> str:
    """Digest the contents of data files, for the configuration hash of a run.

    Folders do not count, so the same data under another root give the same digest; nor does the order of the
    paths.

    Args:
        paths: The files that a run reads; a file named twice counts once.

    Returns:
        SHA-256 over (file name, SHA-256 of its bytes), as 64 hexadecimal digits.
    """
    parts = set()
    for path in paths:
        with path.open("rb") as stream:
            parts.add(f"{path.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n")
    return hashlib.sha256("".join(sorted(parts)).encode()).hexdigest()
