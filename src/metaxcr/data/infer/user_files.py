"""The files of a user's own task, on this machine or on the hub: their format, their rows, their splits."""

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from metaxcr.data.file_formats import FORMATS, MARKDOWN_RULE, SEPARATOR_LINE
from metaxcr.data.infer.roles_by_value import propose_names
from metaxcr.data.languages import Tag
from metaxcr.data.registry import cache_root
from metaxcr.data.rows import Defect, Repairs, Row, open_bytes, read_text
from metaxcr.data.spec import Download
from metaxcr.errors import UserError
from metaxcr.parse import check_file, json_value

_SAMPLE = 2_000  # records that are looked at to tell tables apart
_SPLITS = ("train", "dev", "val", "valid", "validation", "test", "eval")
_SPLIT_KEYS = (*_SPLITS, "training", "development", "testing")
_TABLES = {",": "csv", ";": "csv-semicolon", "\t": "tsv-quoted", "|": "csv-pipe"}
_HUB = re.compile(r"([\w.-]+/[\w.-]+?)(?::([^/\s][^\s]*))?")
_SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")  # the best first


@dataclass(frozen=True, slots=True)
class DataSource:
    """One split in one file, which is parsed once."""

    path: Path
    split: str
    format: str
    rows: list[tuple[int, Row | Defect]]  # line, row or what is wrong with it
    name: str  # of the file in the task's declaration: absolute, or relative to a data root
    download: Download | None = None
    part: str | None = None  # the key of the file's one object that holds the split
    columns: tuple[str, ...] = ()  # their names, where the file has no header line
    repairs: dict[str, int] = field(default_factory=dict)  # step -> how often parsing needed it


# ---- formats


def sniff(path: Path, limit: int | None = None) -> str:
    """Tell the format of a file (of :data:`metaxcr.data.file_formats.FORMATS`) from its content.

    The suffix says too little: ``.json`` may be JSON lines, a list, a list of lists with a header, or objects
    strung together; ``.csv`` may be separated by semicolons. ``limit`` is the number of bytes to look at.
    """
    check_file(path)
    with path.open("rb") as stream:
        if stream.read(4) == b"PAR1":
            return "parquet"
    text = read_text(path) if limit is None or path.stat().st_size <= limit else _first_lines(path, limit)
    start = text.lstrip()[:1]
    if not start:
        raise UserError("the file is empty", str(path), "name the data file")
    if start in "{[":
        return _sniff_json(text)
    if start == "<":
        if "<item" in text:
            return "copa-xml"
        raise UserError("the file is XML or HTML", str(path), "save the data file itself")
    return _sniff_table(text, path)


def _first_lines(path: Path, limit: int) -> str:
    with open_bytes(path) as stream:
        content = stream.read(limit)
    return content[: content.rfind(b"\n") + 1].decode("utf-8-sig", errors="replace")


def _sniff_json(text: str) -> str:
    """Tell JSON lines, where each line is an object or a list, from every other shape."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    first = [_json_or_none(line) for line in lines[:2]]
    whole = sum(line.startswith("{") and line.endswith("}") for line in lines)
    objects = lines[0].startswith("{") and whole > len(lines) / 2 and dict in map(type, first)
    if len(lines) > 1 and (objects or all(isinstance(value, list) for value in first)):
        return "jsonl"
    item = _json_or_none(text[text.find("[") + 1 :].lstrip(), first_only=True)
    dialogue = isinstance(item, list) and [type(part) for part in item] == [list, list, str]
    return "dream" if dialogue and item[1] and isinstance(item[1][0], dict) else "json"


def _json_or_none(text: str, *, first_only: bool = False) -> Any:
    """Parse a JSON text, or only the value that it begins with."""
    try:
        return json.JSONDecoder().raw_decode(text)[0] if first_only else json_value(text)
    except (ValueError, RecursionError):
        return None


def _sniff_table(text: str, path: Path) -> str:
    """Find the separator that cuts most records into as many fields as the header has."""
    first, _, rest = text.partition("\n")
    if MARKDOWN_RULE.fullmatch(rest.partition("\n")[0].strip()):
        return "markdown"
    stated = SEPARATOR_LINE.fullmatch(first.strip().strip('"'))
    if stated:
        text = rest
    best, columns = "", 2
    for separator in [mark for mark in _TABLES if not stated or mark == stated[1]]:
        records = _records(text, separator) or [[]]
        width = Counter(map(len, records)).most_common(1)[0][0]
        if width == len(records[0]) and width > columns:
            best, columns = separator, width
    if "\t" in text.split("\n", 1)[0] and best in ("", "\t"):
        return "tsv-quoted" if best and _is_quoted(text) else "tsv"
    if not best:
        head = text.lstrip().split("\n", 1)[0].strip()[:60]
        what = f"the format is not known; the file begins with '{head}'"
        fix = "give CSV, TSV, JSON, JSON lines or Parquet; a table needs three columns or more, and a header"
        raise UserError(what, f"{path}:1", fix)
    return _TABLES[best]


def _records(text: str, separator: str) -> list[list[str]] | None:
    """Cut the first records with the usual quoting; None where the quoting is broken."""
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    records: list[list[str]] = []
    try:
        for record in reader:
            if record:
                records.append(record)
            if len(records) >= _SAMPLE:
                break
    except csv.Error:  # broken further down: the reader names the line
        return records if len(records) > 1 and separator != "\t" else None
    return records or None


def _is_quoted(text: str) -> bool:
    """Tell whether quotation marks in a tab-separated file enclose fields, or belong to the texts.

    They enclose fields where a field holds a tab, a line end or doubled marks, or where all texts have them.
    A single text with marks around it may be a quotation.
    """
    records = [line.rstrip("\r").split("\t") for line in text.split("\n")[:_SAMPLE] if line.strip()]
    cells = [cell for record in records for cell in record]
    marked = [cell for cell in cells if cell.startswith('"')]
    if not marked:
        return False
    if any(len(record) != len(records[0]) for record in records):
        return True
    inside = [cell[1:-1] for cell in marked]
    closed = all(len(cell) > 1 and cell.endswith('"') for cell in marked)
    if not closed or any('"' in text.replace('""', "") for text in inside):
        return False
    texts = [cell for cell in cells if not cell.replace(".", "").isdigit()]
    return len(marked) >= 0.9 * len(texts) or any('""' in text for text in inside)


# ---- files on this machine


def local_sources(
    files: Sequence[Path], splits: Sequence[str] = (), columns: Sequence[str] = ()
) -> list[DataSource]:
    """Parse a user's files, one for each split, or one that holds several splits.

    ``splits`` names the splits in the order of the files, or those to read of one file with several; by
    default the files' names tell, or all splits are read.
    """
    paths = [Path(os.path.expanduser(file)).absolute() for file in files]
    if len(paths) == 1:
        source = _parse(paths[0], splits[0] if len(splits) == 1 else "test", str(paths[0]), columns)
        if parts := _splits_inside(source, splits):
            return parts
    if splits and len(splits) != len(files):
        what = f"{len(splits)} splits for {len(files)} files"
        raise UserError(what, "--split", "give one for each file, in order")
    names = list(splits) or [split_name(file.name) or "test" for file in files]
    for number, name in enumerate(names):
        if not re.fullmatch(r"[A-Za-z][\w-]*", name):
            raise UserError(f"'{name}' cannot name a split", "--split", "use letters, digits, - and _")
        if (first := names.index(name)) < number:
            what = f"{files[first].name} and {files[number].name} are both split '{name}'"
            raise UserError(what, None, "name the split of each file: --split NAME --split NAME")
    if len(paths) == 1:
        return [replace(source, split=names[0])]
    return [_parse(path, split, str(path), columns) for path, split in zip(paths, names, strict=True)]


def split_name(file: str) -> str | None:
    """Return the last word in the name of a file that names a split, or None."""
    words = re.split(r"[^a-z]+", PurePosixPath(file).name.casefold())
    return next((word for word in reversed(words) if word in _SPLITS), None)


def _parse(
    path: Path, split: str, name: str, columns: Sequence[str] = (), download: Download | None = None
) -> DataSource:
    file_format, repairs = sniff(path), Repairs()
    if columns and file_format in ("copa-xml", "parquet", "dream", "markdown"):
        raise UserError("the file names its columns itself", str(path), "leave out --columns")
    try:
        rows = list(FORMATS[file_format](path, columns or None, repairs))
    except UserError as error:
        names = [] if columns or not error.what.startswith("two columns") else _propose(path, file_format)
        if not names:
            raise
        fix = f"{error.fix}; if the file has no header line, say --columns {','.join(names)}"
        raise UserError(error.what, error.where, fix) from error
    counts = dict(repairs.counts)
    return DataSource(path, split, file_format, rows, name, download, None, tuple(columns), counts)


def _propose(path: Path, file_format: str) -> list[str]:
    """Propose names for the columns of a table whose first line has two equal cells."""
    separators = {name: mark for mark, name in _TABLES.items()} | {"tsv": "\t"}
    if file_format not in separators or not (records := _records(read_text(path), separators[file_format])):
        return []
    columns = list(zip(*(record for record in records if len(record) == len(records[0])), strict=True))
    return propose_names(columns) if len(columns) > 2 else []


def _splits_inside(source: DataSource, wanted: Sequence[str]) -> list[DataSource]:
    """Take apart a document that holds several splits; an empty list where it does not."""
    if len(source.rows) != 1 or isinstance(source.rows[0][1], Defect):
        return []
    row = source.rows[0][1]
    names = {key: key.casefold().strip() for key in row if key.casefold().strip() in _SPLIT_KEYS}
    if not names or not all(isinstance(row[key], list | dict) for key in names):
        return []
    names = {key: name for key, name in names.items() if row[key]}
    if missing := [name for name in wanted if name not in names.values()]:
        present = ", ".join(names.values())
        raise UserError(f"the file has no split '{missing[0]}'", str(source.path), f"it has {present}")
    return [replace(source, split=n, part=key) for key, n in names.items() if not wanted or n in wanted]


# ---- data sets on the hub


def hub_name(word: str) -> tuple[str, str | None] | None:
    """Read ``owner/name`` or ``owner/name:config``; None where the word names a file."""
    match = _HUB.fullmatch(word)
    if match is None or os.path.exists(os.path.expanduser(word)) or word.startswith(("/", ".", "~")):
        return None
    if match[2] is None and Path(match[1]).suffix.casefold() in {*_SUFFIXES, ".txt", ".xml"}:
        return None
    return match[1], match[2]


def hub_sources(
    repo: str, config: str | None, language: Tag, splits: Sequence[str] = (), columns: Sequence[str] = ()
) -> list[DataSource]:
    """Fetch a data set of the hub (``owner/name``) into the cache and parse its files.

    By default ``config`` is the only part of the data set, or the one that the language names, and all
    splits are read.
    """
    from metaxcr.data.download import list_hub_files
    from metaxcr.data.fetcher import fetch_hub_files

    commit, paths = list_hub_files(repo, "main")
    chosen = choose_paths(repo, paths, config, language)
    if missing := [split for split in splits if split not in chosen]:
        raise UserError(f"'{repo}' has no split '{missing[0]}'", "--split", f"it has {', '.join(chosen)}")
    chosen = {split: path for split, path in chosen.items() if not splits or split in splits}
    root = cache_root()
    commit, files = fetch_hub_files(repo, commit, list(chosen.values()), root)
    sources = []
    for (split, path), file in zip(chosen.items(), files, strict=True):
        name = file.relative_to(root).as_posix()
        download = Download(to=name, hub=repo, revision=commit, path=path)
        sources.append(_parse(file, split, name, columns, download))
    return sources


def choose_paths(repo: str, paths: Sequence[str], config: str | None, language: Tag) -> dict[str, str]:
    """Choose the files of one configuration of a data set, one for each split: split -> path."""
    configs: dict[str, dict[str, list[str]]] = {}
    for path in paths:
        name = PurePosixPath(path).name.casefold()
        card = name.startswith((".", "dataset_info", "readme")) or path.startswith(".")
        if path.casefold().endswith(_SUFFIXES) and not card:
            split, part = _split_and_config(path)
            configs.setdefault(part, {}).setdefault(split, []).append(path)
    if not configs:
        raise UserError(f"'{repo}' holds no file that can be read", None, "download it and name the file")
    matching = set(configs)
    if config or len(configs) > 1:
        matching = _matching_configs(matching, config, language)
    if len(matching) != 1:
        listed = ", ".join(sorted(name or "(none)" for name in matching or configs)[:20])
        what = "no such part" if config and not matching else "several parts"
        raise UserError(f"'{repo}' has {what}: {listed}", None, f"say which: {repo}:PART")
    by_split = configs[matching.pop()]
    order = sorted(by_split, key=lambda split: _SPLITS.index(split) if split in _SPLITS else 9)
    return {split: _only_file(repo, split, by_split[split]) for split in order}


def _matching_configs(configs: set[str], config: str | None, language: Tag) -> set[str]:
    """Return the configurations that the user's word, or the language, names: whole, or else as a part."""
    for word in [config] if config else [language.given, language.code]:
        if whole := {name for name in configs if word.casefold() in name.split("/")}:
            return whole
    word = config or language.code
    return {name for name in configs if word.casefold() in re.split(r"[/_.-]", name)}


def _only_file(repo: str, split: str, paths: Sequence[str]) -> str:
    """Return the one file of a split in the best of its formats."""
    best = min(_SUFFIXES.index(PurePosixPath(path).suffix.casefold()) for path in paths)
    files = [path for path in paths if path.casefold().endswith(_SUFFIXES[best])]
    if len(files) > 1:
        what = f"'{repo}' has {len(files)} files of split '{split}', first {files[0]}"
        raise UserError(what, None, "download them, join them into one, and add that")
    return files[0]


def _split_and_config(path: str) -> tuple[str, str]:
    """Read split and configuration from a path in a repository; the latter may be empty."""
    *folders, name = PurePosixPath(path.casefold()).parts
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", name.rsplit(".", 1)[0])
    split = split_name(stem)
    inside = [folder for folder in folders if folder not in ("data", "default", *_SPLITS)]
    if split is None:
        split = next((folder for folder in reversed(folders) if folder in _SPLITS), "test")
        rest = "" if re.fullmatch(r"\d+|data|dataset", stem) or folders[-1:] == [split] else stem
    else:
        rest = re.sub(rf"(?<![a-z]){split}(?![a-z])", "", stem).strip("-_. ")
    return split, "/".join([*inside, *([rest] if rest else [])])
