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

from metaxcr.data.data_dirs import cache_root
from metaxcr.data.download import Download
from metaxcr.data.file_formats import FORMATS, SEPARATOR_LINE
from metaxcr.data.infer.guess import column_names
from metaxcr.data.languages import Tag
from metaxcr.data.repairs import Repairs
from metaxcr.data.rows import Defect, Row, open_bytes, read_text
from metaxcr.errors import UserError
from metaxcr.parse import check_file, json_value

SAMPLE = 2_000  # records that are looked at to tell tables apart
SPLITS = ("train", "dev", "val", "valid", "validation", "test", "eval")
_SPLIT_NAMES = (*SPLITS, "training", "development", "testing")
_PACKED = {b"PK\x03\x04": "zip", b"\x1f\x8b": "gzip", b"\xfd7zXZ": "xz", b"BZh": "bzip2", b"7z\xbc\xaf": "7z"}
_TABLES = {",": "csv", ";": "csv-semicolon", "\t": "tsv-quoted", "|": "csv-pipe"}
_HUB = re.compile(r"([\w.-]+/[\w.-]+?)(?::([^/\s][^\s]*))?")
_SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")  # the best first


@dataclass(frozen=True, slots=True)
class DataSource:
    """One split in one file, which is parsed once.

    Attributes:
        path: Where it lies.
        split: Name of the split.
        form: Its format.
        rows: What the file holds.
        name: How the task's declaration names it: absolute, or relative to a data root.
        download: Where it came from.
        part: The field of the file's one object that holds the split.
        columns: Names of the columns, where the file has no head line.
        repaired: Step of :mod:`metaxcr.data.repairs` -> how often it was needed to parse the file.
    """

    path: Path
    split: str
    form: str
    rows: list[tuple[int, Row | Defect]]
    name: str
    download: Download | None = None
    part: str | None = None
    columns: tuple[str, ...] = ()
    repaired: dict[str, int] = field(default_factory=dict)


def sniff(path: Path, look: int | None = None) -> str:
    """Tell the format of a file from its content.

    ``.json`` may be JSON lines, a list, a list of lists with a head, or objects strung together; ``.csv`` may
    be separated by semicolons, and a tab-separated file may use quotation marks or not. So the suffix is not
    looked at.

    Args:
        path: The file.
        look: Bytes to look at, cut at a line's end; None: all.

    Returns:
        A name in :data:`metaxcr.data.file_formats.FORMATS`.

    Raises:
        UserError: The file is empty, packed, not text, or in no format that is known.
    """
    check_file(path)
    with path.open("rb") as stream:
        head = stream.read(8)
    if head.startswith(b"PAR1"):
        return "parquet"
    packed = next((kind for mark, kind in _PACKED.items() if head.startswith(mark)), None)
    if packed:
        raise UserError(f"the file is packed ({packed})", str(path), "unpack it and name the file inside")
    text = read_text(path) if look is None or path.stat().st_size <= look else _beginning(path, look)
    start = text.lstrip()[:1]
    if not start:
        raise UserError("the file is empty", str(path), "name the data file")
    if start in "{[":
        return _json(text)
    if start == "<":
        if "<item" in text:
            return "copa-xml"
        raise UserError("the file is XML or HTML", str(path), "save the data file itself")
    return _table(text, path)


def _beginning(path: Path, look: int) -> str:
    """The lines that fit into so many bytes."""
    with open_bytes(path) as stream:
        content = stream.read(look)
    return content[: content.rfind(b"\n") + 1].decode("utf-8-sig", errors="replace")


def read_rows(
    path: Path, form: str, columns: Sequence[str] = (), repairs: Repairs | None = None
) -> list[tuple[int, Row | Defect]]:
    """Read all rows of a file; what cannot be read stays as a defect.

    Args:
        path: The file.
        form: Its format, from :func:`sniff`.
        columns: Names of the columns, where the file has no head line.
        repairs: Counts what had to be repaired.

    Returns:
        (line, row or defect), in the order of the file.

    Raises:
        UserError: The file cannot be read at all.
    """
    return list(FORMATS[form](path, columns or None, repairs or Repairs()))


def _json(text: str) -> str:
    """Tell JSON lines from every other shape: each line is an object, and there is more than one."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    whole = sum(line.startswith("{") and line.endswith("}") for line in lines)
    several = len(lines) > 1 and lines[0].startswith("{") and whole > len(lines) / 2
    if several and any(isinstance(_decoded(line), dict) for line in lines[:2]):
        return "jsonl"
    if len(lines) > 1 and all(isinstance(_decoded(line), list) for line in lines[:2]):
        return "jsonl"  # one list a line
    first = _first_item(text)
    if isinstance(first, list) and [type(part) for part in first] == [list, list, str] and first[1]:
        return "dream" if isinstance(first[1][0], dict) else "json"
    return "json"


def _decoded(line: str) -> object:
    try:
        return json_value(line)
    except ValueError:
        return None


def _first_item(text: str) -> object:
    """Return the first item of a list."""
    start = text.find("[") + 1
    try:
        return json.JSONDecoder().raw_decode(text, start + len(text[start:]) - len(text[start:].lstrip()))[0]
    except (ValueError, RecursionError):
        return None


def _table(text: str, path: Path) -> str:
    """Find the separator: the one that cuts most records into as many fields as the head has."""
    best, columns = "", 1
    first, _, rest = text.partition("\n")
    said = SEPARATOR_LINE.fullmatch(first.strip().strip('"'))
    if said:
        text = rest
    for separator in [mark for mark in _TABLES if not said or mark == said[1]]:
        records = _records(text, separator)
        if records is None or len(records[0]) < 3:
            continue
        width = Counter(map(len, records)).most_common(1)[0][0]
        if width == len(records[0]) and width > columns:
            best, columns = separator, width
    if "\t" in text.split("\n", 1)[0] and best in ("", "\t"):
        return "tsv-quoted" if best and _quoted(text) else "tsv"
    if not best:
        head = text.lstrip().split("\n", 1)[0].strip()[:60]
        raise UserError(
            f"the format is not known; the file begins with '{head}'",
            f"{path}:1",
            "give CSV, TSV, JSON, JSON lines or Parquet; a table has three columns or more, and a head",
        )
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
            if len(records) >= SAMPLE:
                break
    except csv.Error:  # broken further down: the reader names the line
        return records if len(records) > 1 and separator != "\t" else None
    return records or None


def _quoted(text: str) -> bool:
    """Tell whether quotation marks in a tab-separated file enclose fields, or belong to the texts.

    They enclose fields where these hold what they must be enclosed for, or where all texts have them; a text
    that is a quotation as a whole has them, too.
    """
    plain = [line.rstrip("\r").split("\t") for line in text.split("\n")[:SAMPLE] if line.strip()]
    cells = [cell for record in plain for cell in record]
    marked = [cell for cell in cells if cell.startswith('"')]
    if not marked:
        return False
    if any(len(record) != len(plain[0]) for record in plain):
        return True
    if not all(_well_formed(cell) for cell in marked):
        return False
    texts = [cell for cell in cells if not cell.replace(".", "").isdigit()]
    return len(marked) >= 0.9 * len(texts) or any('""' in cell[1:-1] for cell in marked)


def _well_formed(cell: str) -> bool:
    """Tell whether a cell is enclosed in quotation marks, those inside doubled."""
    return len(cell) > 1 and cell.endswith('"') and '"' not in cell[1:-1].replace('""', "")


def split_name(file: str) -> str | None:
    """Read a split from the name of a file: the last word that is one, or None."""
    words = re.split(r"[^a-z]+", PurePosixPath(file).name.casefold())
    return next((word for word in reversed(words) if word in SPLITS), None)


def local_sources(
    files: Sequence[Path], splits: Sequence[str] = (), columns: Sequence[str] = ()
) -> list[DataSource]:
    """Open a user's files.

    Args:
        files: One a split, or one that holds several.
        splits: Their names in the same order; of a file that holds several, those that are wanted. Default:
            from the files' names, or all that the file holds.
        columns: Names of the columns of tables without a head line.

    Raises:
        UserError: A file cannot be read, or two are the same split.
    """
    if len(files) == 1:
        path = Path(os.path.expanduser(files[0])).absolute()
        whole = _source(path, splits[0] if len(splits) == 1 else "test", str(path), columns)
        if parts := _parts_of(whole, splits):
            return parts
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
    if len(files) == 1:
        return [replace(whole, split=names[0])]
    return [
        _source(path, split, str(path), columns)
        for path, split in zip(
            (Path(os.path.expanduser(file)).absolute() for file in files), names, strict=True
        )
    ]


def _source(
    path: Path, split: str, name: str, columns: Sequence[str] = (), download: Download | None = None
) -> DataSource:
    form, repairs = sniff(path), Repairs()
    if columns and form in ("copa-xml", "parquet", "dream"):
        raise UserError("the file names its columns itself", str(path), "leave out --columns")
    try:
        rows = read_rows(path, form, columns, repairs)
    except UserError as error:
        names = [] if columns or not error.what.startswith("two columns") else _names_for(path, form)
        if not names:
            raise
        fix = f"{error.fix}; if the file has no head line, say --columns {','.join(names)}"
        raise UserError(error.what, error.where, fix) from error
    return DataSource(path, split, form, rows, name, download, None, tuple(columns), dict(repairs.counts))


def _names_for(path: Path, form: str) -> list[str]:
    """Propose names for the columns of a table whose first line has two equal cells."""
    separator = next(
        (mark for mark, name in _TABLES.items() if name == form), "\t" if form == "tsv" else None
    )
    records = _records(read_text(path), separator) if separator else None
    width = len(records[0]) if records else 0
    whole = [record for record in records or () if len(record) == width]
    return column_names([[record[k] for record in whole] for k in range(width)]) if width > 2 else []


def _parts_of(source: DataSource, wanted: Sequence[str]) -> list[DataSource]:
    """Take a document apart that holds several splits; nothing where it does not."""
    if len(source.rows) != 1 or isinstance(source.rows[0][1], Defect):
        return []
    row = source.rows[0][1]
    names = {key: key.casefold().strip() for key in row if key.casefold().strip() in _SPLIT_NAMES}
    if not names or not all(isinstance(row[key], list | dict) for key in names):
        return []
    names = {key: name for key, name in names.items() if row[key]}
    if wanted and not {*wanted} <= {*names.values()}:
        there = ", ".join(names.values())
        raise UserError(f"the file has no split '{wanted[0]}'", str(source.path), f"it has {there}")
    return [
        replace(source, split=name, part=key) for key, name in names.items() if not wanted or name in wanted
    ]


def hub_name(word: str) -> tuple[str, str | None] | None:
    """Read ``owner/name`` or ``owner/name:config``; None where a file is meant."""
    match = _HUB.fullmatch(word)
    if match is None or os.path.exists(os.path.expanduser(word)) or word.startswith(("/", ".", "~")):
        return None
    if match[2] is None and Path(match[1]).suffix.casefold() in {*_SUFFIXES, ".txt", ".xml"}:
        return None
    return match[1], match[2]


def hub_sources(
    repo: str, config: str | None, language: Tag, splits: Sequence[str] = (), columns: Sequence[str] = ()
) -> list[DataSource]:
    """Fetch a data set of the hub into the cache and open its files.

    Args:
        repo: ``owner/name``.
        config: Part of the data set; default: the only one, or the one that the language names.
        language: Of the texts.
        splits: Only these; default: all.
        columns: Names of the columns of tables without a head line.

    Raises:
        UserError: The hub cannot be reached, or what it has is not one file a split.
    """
    from metaxcr.data.fetcher import fetch_hub_files
    from metaxcr.data.hub_data import list_hub_files

    commit, paths = list_hub_files(repo, "main")
    chosen = choose_paths(repo, paths, config, language)
    for split in splits:
        if split not in chosen:
            raise UserError(f"'{repo}' has no split '{split}'", "--split", f"it has {', '.join(chosen)}")
    chosen = {split: path for split, path in chosen.items() if not splits or split in splits}
    root = cache_root()
    commit, files = fetch_hub_files(repo, commit, list(chosen.values()), root)
    sources = []
    for (split, path), file in zip(chosen.items(), files, strict=True):
        name = file.relative_to(root).as_posix()
        download = Download(to=name, hub=repo, revision=commit, path=path)
        sources.append(_source(file, split, name, columns, download))
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
