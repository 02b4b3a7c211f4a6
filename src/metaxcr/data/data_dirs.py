"""Where data sets are on the disk: data roots, the files of a split, and their checksums."""

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from metaxcr.data.download import Download
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
        """List the files."""
        return [self.data] if self.labels is None else [self.data, self.labels]


def cache_root() -> Path:
    """Return the folder under the user's cache that ``metaxcr tasks fetch`` fills."""
    return user_cache() / "data"


def candidate_roots(explicit: Path | None = None) -> list[Path]:
    """List the data roots that exist, in the order of the search: ``--data``, ``$METAXCR_DATA``, the cache.

    Raises:
        UserError: A root that the user named is no folder.
    """
    roots = []
    for value, source in ((explicit, "--data"), (os.environ.get(VARIABLE), f"${VARIABLE}")):
        if value:
            path = Path(os.path.expanduser(value))
            if not os.path.isdir(path):
                fix = "name the folder that holds the data sets"
                raise UserError(f"the data root '{path}' is no folder", source, fix)
            roots.append(path)
    if cache_root().is_dir():
        roots.append(cache_root())
    return roots


class Declaration(Protocol):
    """What tasks and text corpora have in common: files by split and language."""

    @property
    def id(self) -> str:
        """Name."""

    @property
    def package(self) -> bool:
        """Whether the files ship inside the package."""

    @property
    def splits(self) -> Mapping[str, Any]:
        """The splits by name."""

    @property
    def languages(self) -> Collection[str]:
        """ISO 639-1 codes."""

    @property
    def codes(self) -> Mapping[str, str]:
        """How file names spell a language, where they do it differently."""

    @property
    def fetch(self) -> Sequence[Download]:
        """Where the files come from."""

    @property
    def licence(self) -> str:
        """Under which the files may be used."""

    @property
    def citation(self) -> str:
        """What a paper has to cite."""

    @property
    def url(self) -> str:
        """The authors' page."""

    def split_languages(self, split: str) -> list[str]:
        """List the languages that a split has."""

    def files_of(self, split: str, language: str) -> list[str]:
        """Name the files of a split relative to a root: the data file, then that of the labels if any."""


def files_of(spec: Declaration, split: str | None = None, language: str | None = None) -> list[str]:
    """Name the files of a task or corpus, or of one split or language of it, relative to a root, sorted.

    Raises:
        UserError: It has no such split or language.
    """
    for kind, value, known in (("split", split, list(spec.splits)), ("language", language, spec.languages)):
        if value is not None and value not in known:
            raise UserError(f"task '{spec.id}' has no {kind} '{value}'", None, f"it has {', '.join(known)}")
    return sorted(
        {
            name
            for one in ([split] if split else spec.splits)
            for code in spec.split_languages(one)
            if language in (None, code)
            for name in spec.files_of(one, code)
        }
    )


def split_files(spec: Declaration, split: str, language: str, root: Path | None = None) -> SplitFiles:
    """Find the files of one split in one language, all under the same root; ``root`` is that of ``--data``.

    Raises:
        UserError: A file is missing; the message names it and the roots that were searched.
    """
    names = spec.files_of(split, language)
    if Path(names[0]).is_absolute():  # the user's own file; its reader says whether it can be read
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
    fix = f"{fetch}give --data or set {VARIABLE} to the folder that holds '{folder}' ({spec.url})"
    if not roots:
        raise UserError(f"no data root for task '{spec.id}'", f"--data, ${VARIABLE}, {cache_root()}", fix)
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


def data_fingerprint(paths: Iterable[Path]) -> str:
    """Digest names and contents of files with SHA-256; folders, order and repetitions do not count."""
    parts = {f"{path.name} {sha256(path)}\n" for path in paths}
    return hashlib.sha256("".join(sorted(parts)).encode()).hexdigest()
