"""Which files of a task are asked for, which of them are there, and which are to be brought."""

from dataclasses import dataclass
from typing import Literal

from metaxcr.data.data_dirs import Declaration, files_of
from metaxcr.data.fetching.downloads import Download
from metaxcr.errors import UserError


@dataclass(frozen=True, slots=True)
class Fetched:
    """One file of a task after a fetch; ``file`` is its name under the data root."""

    task: str
    file: str
    bytes: int
    sha256: str
    source: str | None
    commit: str | None
    status: Literal["fetched", "present"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a fetch of one task comes to.

    Attributes:
        spec: The task.
        present: Files that are there and right.
        todo: Files to be brought.
        by_hand: Missing files that no download is declared for.
    """

    spec: Declaration
    present: list[Fetched]
    todo: list[Download]
    by_hand: list[str]


def wanted(spec: Declaration, split: str | None = None, language: str | None = None) -> list[Download]:
    """List the downloads of a task, one a file.

    Args:
        spec: The task.
        split: Only files of this split.
        language: Only files that this language needs.

    Returns:
        The downloads without placeholders. A language's file that no split names is left out; a file for all
        languages that no split names (a licence) comes when the whole task is asked for.
    """
    names = set(asked(spec, split, language))
    codes = [spec.codes.get(code, code) for code in spec.languages]
    found: dict[str, Download] = {}
    for download in spec.fetch:
        for code in codes if download.per_language else [""]:
            one = download.for_language(code)
            if one.to in names or not (download.per_language or split or language):
                found.setdefault(one.to, one)
    return list(found.values())


def asked(spec: Declaration, split: str | None, language: str | None) -> list[str]:
    """Name the files of a task that are asked for.

    Args:
        spec: The task.
        split: Only files of this split.
        language: Only files that this language needs.

    Raises:
        UserError: The task has no such split or language.
    """
    for kind, value, known in (("split", split, list(spec.splits)), ("language", language, spec.languages)):
        if value is not None and value not in known:
            raise UserError(f"task '{spec.id}' has no {kind} '{value}'", None, f"it has {', '.join(known)}")
    if split is None and language is None:
        return files_of(spec)
    return sorted(
        {
            name
            for one in ([split] if split else spec.splits)
            for code in spec.split_languages(one)
            if language in (None, code)
            for name in spec.files_of(one, code)
        }
    )
