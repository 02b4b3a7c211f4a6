"""The files that a user's own task is made from: on this machine, or of a data set on the hub."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from metaxcr.errors import UserError
from metaxcr.tasks.adding.sniff import read_rows, sniff
from metaxcr.tasks.fetching.downloads import Download
from metaxcr.tasks.languages import Tag
from metaxcr.tasks.roots import cache_root
from metaxcr.tasks.rows import Defect, Row

SPLITS = ("train", "dev", "val", "valid", "validation", "test", "eval")
_HUB = re.compile(r"([\w.-]+/[\w.-]+?)(?::([^/\s][^\s]*))?")
_SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")  # the best first


@dataclass(frozen=True, slots=True)
class Source:
    """One file with one split.

    Attributes:
        path: Where it lies.
        split: Name of the split.
        form: Its format.
        rows: What it holds.
        name: How the task's declaration names it: absolute, or relative to a data root.
        download: Where it came from.
    """

    path: Path
    split: str
    form: str
    rows: list[tuple[int, Row | Defect]]
    name: str
    download: Download | None = None


def split_name(file: str) -> str | None:
    """Read a split from the name of a file: the last word that is one, or None."""
    words = re.split(r"[^a-z]+", PurePosixPath(file).name.casefold())
    return next((word for word in reversed(words) if word in SPLITS), None)


def local_sources(files: Sequence[Path], splits: Sequence[str] = ()) -> list[Source]:
    """Open a user's files.

    Args:
        files: One a split.
        splits: Their names in the same order; default: from the files' names.

    Raises:
        UserError: A file cannot be read, or two are the same split.
    """
    if splits and len(splits) != len(files):
        raise UserError(
            f"{len(splits)} splits for {len(files)} files", "--split", "give one a file, in order"
        )
    names = list(splits) or [split_name(file.name) or "test" for file in files]
    for number, name in enumerate(names):
        if not re.fullmatch(r"[A-Za-z][\w-]*", name):
            raise UserError(f"'{name}' cannot name a split", "--split", "use letters, digits, - and _")
        if name in names[:number]:
            other = files[names.index(name)]
            raise UserError(
                f"{other.name} and {files[number].name} are both split '{name}'",
                None,
                "name the split of each file: --split NAME --split NAME",
            )
    return [
        Source(path, split, form := sniff(path), read_rows(path, form), str(path))
        for path, split in zip(
            (Path(os.path.expanduser(file)).absolute() for file in files), names, strict=True
        )
    ]


def hub_name(word: str) -> tuple[str, str | None] | None:
    """Read ``owner/name`` or ``owner/name:config``; None where a file is meant."""
    match = _HUB.fullmatch(word)
    if match is None or os.path.exists(os.path.expanduser(word)) or word.startswith(("/", ".", "~")):
        return None
    if match[2] is None and Path(match[1]).suffix.casefold() in {*_SUFFIXES, ".txt", ".xml"}:
        return None
    return match[1], match[2]


def hub_sources(repo: str, config: str | None, language: Tag, splits: Sequence[str] = ()) -> list[Source]:
    """Fetch a data set of the hub into the cache and open its files.

    Args:
        repo: ``owner/name``.
        config: Part of the data set; default: the only one, or the one that the language names.
        language: Of the texts.
        splits: Only these; default: all.

    Raises:
        UserError: The hub cannot be reached, or what it has is not one file a split.
    """
    from metaxcr.tasks.fetching.fetch import fetch_hub, hub_files

    commit, paths = hub_files(repo, "main")
    chosen = choose_paths(repo, paths, config, language)
    for split in splits:
        if split not in chosen:
            raise UserError(f"'{repo}' has no split '{split}'", "--split", f"it has {', '.join(chosen)}")
    chosen = {split: path for split, path in chosen.items() if not splits or split in splits}
    root = cache_root()
    commit, files = fetch_hub(repo, commit, list(chosen.values()), root)
    sources = []
    for (split, path), file in zip(chosen.items(), files, strict=True):
        name, form = file.relative_to(root).as_posix(), sniff(file)
        download = Download(to=name, hub=repo, revision=commit, path=path)
        sources.append(Source(file, split, form, read_rows(file, form), name, download))
    return sources


def choose_paths(repo: str, paths: Sequence[str], config: str | None, language: Tag) -> dict[str, str]:
    """Choose the files of one configuration of a data set: split -> path.

    Args:
        repo: ``owner/name``, for messages.
        paths: All files.
        config: The part that the user named.
        language: Of the texts.

    Raises:
        UserError: There are no data files, several parts, or several files of one split.
    """
    data = [path for path in paths if path.casefold().endswith(_SUFFIXES) and not _is_card(path)]
    if not data:
        raise UserError(f"'{repo}' holds no file that can be read", None, "download it and name the file")
    parts = {path: _parts(path) for path in data}
    configs = {words for _, words in parts.values()}
    wanted = [config] if config else [language.given, language.code]
    if config or len(configs) > 1:
        match = next(
            (m for word in wanted if (m := {c for c in configs if word.casefold() in c.split("/")})), set()
        )
        match = match or {c for c in configs if config and config.casefold() in re.split(r"[/_.-]", c)}
        if not match:
            match = {c for c in configs if not config and language.code in re.split(r"[/_.-]", c)}
        if len(match) != 1:
            listed = ", ".join(sorted(c or "(none)" for c in match or configs)[:20])
            what = "no such part" if config and not match else "several parts"
            raise UserError(f"'{repo}' has {what}: {listed}", None, f"say which: {repo}:PART")
        configs = match
    return _one_a_split(repo, [path for path in data if parts[path][1] in configs], parts)


def _one_a_split(repo: str, paths: Sequence[str], parts: dict[str, tuple[str, str]]) -> dict[str, str]:
    by_split: dict[str, list[str]] = {}
    for path in paths:
        by_split.setdefault(parts[path][0], []).append(path)
    chosen = {}
    for split, files in by_split.items():
        best = min(_SUFFIXES.index(PurePosixPath(file).suffix.casefold()) for file in files)
        files = [file for file in files if file.casefold().endswith(_SUFFIXES[best])]
        if len(files) > 1:
            fix = "download them, join them into one, and add that"
            raise UserError(
                f"'{repo}' has {len(files)} files of split '{split}', first {files[0]}", None, fix
            )
        chosen[split] = files[0]
    return dict(sorted(chosen.items(), key=lambda item: SPLITS.index(item[0]) if item[0] in SPLITS else 9))


def _is_card(path: str) -> bool:
    name = PurePosixPath(path).name.casefold()
    return name.startswith((".", "dataset_info", "readme")) or path.startswith(".")


def _parts(path: str) -> tuple[str, str]:
    """Read split and configuration from a path in a repository; the latter may be empty."""
    folders = PurePosixPath(path).parent.parts
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", PurePosixPath(path).name.rsplit(".", 1)[0].casefold())
    split = split_name(stem)
    inside = [folder for folder in folders if folder.casefold() not in ("data", "default", *SPLITS)]
    if split is None:
        split = next((f.casefold() for f in reversed(folders) if f.casefold() in SPLITS), "test")
        rest = "" if re.fullmatch(r"\d+|data|dataset", stem) or folders[-1:] == (split,) else stem
    else:
        rest = re.sub(rf"(?<![a-z]){split}(?![a-z])", "", stem).strip("-_. ")
    return split, "/".join([*(folder.casefold() for folder in inside), *([rest] if rest else [])])
