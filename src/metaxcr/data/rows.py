"""Rows of a file: the text they are read from, repairs, defects, and rows inside rows."""

import io
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from metaxcr.errors import UserError
from metaxcr.parse import check_file, decode_text, file_error

Row = Mapping[str, Any]
Item = TypeVar("Item")
MARK = "\ufeff"  # the byte order mark, decoded
_NOT_TEXT = {  # first bytes of a file -> what it is
    b"\x1f\x8b": "packed (gzip)",
    b"PK\x03\x04": "packed (zip)",
    b"\xfd7zXZ": "packed (xz)",
    b"BZh": "packed (bzip2)",
    b"7z\xbc\xaf": "packed (7z)",
    b"\x28\xb5\x2f\xfd": "packed (zstandard)",
    b"PAR1": "Parquet, not text",
    b"\x80": "no text, perhaps a pickle",
    b"version https://git-lfs": "a pointer of Git LFS, not the data",
    b"<!doctype html": "a web page, not the data",
    b"<html": "a web page, not the data",
}


class Defect(Exception):
    """A row that cannot be used; the reader turns it into a UserError with its line, or leaves it out."""

    def __init__(self, what: str, fix: str, where: str | None = None) -> None:
        super().__init__(what)  # where: a line of the label file, if it is not the row itself
        self.what, self.fix, self.where = what, fix, where


# ---- repairs of known defects: each step is counted and can be switched off

# Steps that every task has; the others are declared in a task's YAML file.
GENERAL = {
    "byte-order-mark": "a byte order mark at the start of the file is dropped",
    "line-ends": "line ends of another system (CRLF) are read as line ends",
    "digits": "a label in the digits of another script is read as a number",
    "repeated-keys": "of a key that a JSON object has twice, the last value counts",
}
DECLARED = {
    "question": "cause or effect, where the file has the wrong one",
    "choices": "surplus choices, blank or repeated, are taken out; rows that still do not fit are left out",
    "label-spelling": "a label such as 1.0, (b) or choice2 is read as the number or letter in it",
    "repeated-ids": "an id that occurs again gets #2, #3, ... added",
}
STEPS = {**GENERAL, **DECLARED}
LAYOUT = frozenset({"byte-order-mark", "line-ends"})  # steps that change no example


class Repairs:
    """The steps that are on for a file; ``counts`` says how often each changed something."""

    def __init__(self, steps: Collection[str] = tuple(GENERAL)) -> None:
        self._on = frozenset(steps)
        self.counts: Counter[str] = Counter()

    @classmethod
    def of(cls, declared: Iterable[str], off: Collection[str] = ()) -> "Repairs":
        """Return the general steps and those that a task declares, without those that are switched off."""
        if unknown := [step for step in off if step not in STEPS]:
            raise UserError(f"unknown repair step '{unknown[0]}'", None, f"There are {', '.join(STEPS)}")
        return cls({*GENERAL, *declared} - {*off})

    def take(self, step: str) -> bool:
        """Tell whether a step is on; if so, count it once more."""
        if step in self._on:
            self.counts[step] += 1
        return step in self._on


# (1-based line, row). A row that cannot be parsed comes as a defect, so that the reader can go on after it.
Rows = Iterator[tuple[int, Row | Defect]]
FormatReader = Callable[[Path, Sequence[str] | None, Repairs], Rows]  # (file, column names, repairs) -> rows


def value_of(row: Row, name: str) -> Any:
    """Look a field up; a dotted name reaches into nested objects, a missing field is a defect."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise Defect(f"no field '{name}'", "add it, or compare with the official file")
        value = value[part]
    return value


def value_at(row: Row, name: str) -> Any:
    """Look a field up as :func:`value_of` does; None where there is no such field."""
    try:
        return value_of(row, name)
    except Defect:
        return None


def shown(value: object) -> str:
    """Quote a value from a file in a message, on one line of at most 60 characters."""
    quoted = repr(value)
    return quoted if len(quoted) <= 60 else f"{quoted[:57]}..."


# ---- text


def open_bytes(path: Path) -> io.BufferedReader:
    """Open a text file; one that begins like an archive, Parquet or a web page is an error."""
    check_file(path)
    try:
        stream = path.open("rb")
        head = stream.read(256).lstrip()
        stream.seek(0)
    except OSError as error:
        raise file_error(error, path) from error
    for start, kind in _NOT_TEXT.items():
        if head.startswith(start) or head.lower().startswith(start):
            stream.close()
            raise UserError(f"the file is {kind}", str(path), "name the data file itself, unpacked")
    return stream


def _open_after_mark(path: Path, repairs: Repairs) -> io.BufferedReader:
    """Open a UTF-8 file after its byte order mark, if it has one."""
    stream = open_bytes(path)
    head = stream.read(3)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        stream.close()
        raise UserError("the file is UTF-16, not UTF-8", str(path), "convert the file to UTF-8")
    if head != b"\xef\xbb\xbf":
        stream.seek(0)
    elif not repairs.take("byte-order-mark"):
        stream.close()
        raise UserError("a byte order mark", f"{path}:1", "remove it, or leave that repair on")
    return stream


def read_text(path: Path, repairs: Repairs | None = None) -> str:
    """Read a UTF-8 file whole, line ends untouched; an error names the line that is not UTF-8."""
    with _open_after_mark(path, repairs or Repairs()) as stream:
        return decode_text(stream.read(), path)


def open_text(path: Path, repairs: Repairs) -> io.TextIOWrapper:
    """Open a UTF-8 file as a stream, line ends untouched; :func:`flaw` finds what is not UTF-8."""
    stream = _open_after_mark(path, repairs)
    return io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")


def lines_of(path: Path, repairs: Repairs | None = None) -> Iterator[tuple[int, str | Defect]]:
    """Yield the lines that are not blank, with their 1-based numbers; a line that is not text is a defect.

    ``str.splitlines`` would also cut at U+2028 and similar characters, which occur inside texts. One line at
    a time is in memory, except for a file without a line feed.
    """
    repairs = repairs or Repairs()
    with _open_after_mark(path, repairs) as stream:
        for number, raw in enumerate(stream, start=1):
            old = number == 1 and not raw.endswith(b"\n") and b"\r" in raw  # line ends of an old Macintosh
            for at, line in enumerate(raw.split(b"\r") if old else [raw.removesuffix(b"\n")], start=number):
                if line.strip():
                    yield at, _line(line, old, repairs)


def _line(raw: bytes, ended_by_cr: bool, repairs: Repairs) -> str | Defect:
    line = raw.decode(errors="surrogateescape")
    if defect := flaw(line):
        return defect
    if ended_by_cr or line.endswith("\r"):
        if not repairs.take("line-ends"):
            return Defect("the line does not end with LF", "convert the line ends, or leave that repair on")
        line = line.rstrip("\r")
    return _second_mark(line) or line


def flaw(text: str) -> Defect | None:
    """Return a defect where a text holds bytes that are not UTF-8 (as surrogates) or a NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return Defect("the line is not UTF-8 text", "convert the file to UTF-8")
    if "\0" in text:
        return Defect("the line holds a NUL byte", "mend it; the file may be damaged or UTF-16")
    return None


def _second_mark(text: str) -> Defect | None:
    """Return a defect where files were joined with the byte order mark of the second."""
    if text.startswith(MARK):
        return Defect("a byte order mark in the middle of the file", "remove it")
    return None


# ---- records with named columns


def check_columns(columns: Sequence[str], place: str) -> None:
    """Raise a UserError where two columns have the same name."""
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise UserError(f"two columns are named {shown(twice[0])}", place, "rename one of them")


def paired(record: Sequence[Any], columns: Sequence[str]) -> Row | Defect:
    """Name the fields of a record after the columns; another number of fields is a defect."""
    if record and isinstance(record[0], str) and (defect := _second_mark(record[0])):
        return defect
    if len(record) != len(columns):
        return Defect(f"{len(record)} fields where {len(columns)} belong", "check the separators")
    if list(record) == list(columns):
        return Defect("the line repeats the names of the columns", "remove it")
    return dict(zip(columns, record, strict=True))


def with_names(
    path: Path, records: Iterable[tuple[int, Row | Sequence[Any] | Defect]], columns: Sequence[str] | None
) -> Rows:
    """Name the fields of the records that are lists; without ``columns``, the first list names them."""
    for number, record in records:
        if isinstance(record, Defect | Mapping):
            yield number, record
        elif columns is not None:
            yield number, paired(record, columns)
        else:
            columns = [str(cell).strip() for cell in record]
            check_columns(columns, f"{path}:{number}")


def strict(path: Path, items: Iterable[tuple[int, Item | Defect]]) -> Iterator[tuple[int, Item]]:
    """Yield numbered rows or lines of a file; raise the first defect as a UserError."""
    for line, item in items:
        if isinstance(item, Defect):
            raise UserError(item.what, f"{path}:{line}", item.fix)
        yield line, item


# ---- rows inside rows: columns of a JSON document, rows by id, several questions under one passage

EACH = "*"  # the step for a document whose fields are the rows
Steps = Sequence[Sequence[str]]


def unfold_rows(
    rows: Iterable[tuple[int, Row | Defect]],
    steps: Steps,
    part: str | None = None,
    columns: Sequence[str] | None = None,
) -> Rows:
    """Yield the rows that a file's own rows hold, each with its line, or what is wrong with it.

    A step names fields whose lists are as long as each other: the row is repeated with the first item of
    each, the second, and so on. ``*`` alone takes every field as a row; ``head=body`` takes the lists of
    ``body`` as rows whose columns ``head`` names. ``part`` is the field that holds the rows of this split,
    and ``columns`` names the columns where these are lists.
    """
    for line, row in rows:
        for found in [row] if part is None else _rows_of_part(row, part, columns):
            if isinstance(found, Defect) or not steps:
                yield line, found
                continue
            try:
                for inner in _unfold(found, steps):
                    yield line, inner
            except Defect as defect:
                yield line, defect
            except RecursionError:
                yield line, Defect("nested too deeply", "mend or remove it")


def _rows_of_part(row: Row | Defect, part: str, columns: Sequence[str] | None) -> Iterator[Row | Defect]:
    held = row if isinstance(row, Defect) else row.get(part)
    if isinstance(held, Defect | dict):
        yield held
    elif not isinstance(held, list):
        yield Defect(f"'{part}' is no list of rows", "write a list of objects")
    else:
        for item in held:
            if not isinstance(item, list):
                yield item if isinstance(item, dict) else Defect(f"'{part}' holds no objects", "write {...}")
            elif columns is None:
                columns = [str(cell).strip() for cell in item]
            else:
                yield paired(item, columns)


def _unfold(row: Row, steps: Steps) -> Iterator[Row]:
    if not steps:
        yield row
        return
    for inner in take_step(row, steps[0]):
        yield from _unfold(inner, steps[1:])


def take_step(row: Row, step: Sequence[str]) -> Iterator[Row]:
    """Yield the rows to which one step of :func:`unfold_rows` leads; a row without them is a defect."""
    head, equals, body = step[0].partition("=")
    if list(step) == [EACH]:
        for key, value in row.items():
            if not isinstance(value, dict):
                raise Defect(f"'{key[:60]}' is no object", "write {...} with named fields")
            yield {"key": key, **value}
    elif equals and step[0] not in row:
        for record in _list_at(row, body):
            pair = paired(record if isinstance(record, list) else [record], _list_at(row, head))
            if isinstance(pair, Defect):
                raise pair
            yield pair
    else:
        lists = [_list_at(row, name) for name in step]
        if len({len(items) for items in lists}) > 1:
            lengths = ", ".join(f"{name} {len(items)}" for name, items in zip(step, lists, strict=True))
            raise Defect(f"lists of different lengths: {lengths}", "correct the row")
        for items in zip(*lists, strict=True):
            new = row
            for name, item in zip(step, items, strict=True):
                new = _with(new, name, item)
            yield new


def _list_at(row: Row, name: str) -> list[Any]:
    value = value_of(row, name)
    if isinstance(value, dict):  # pandas writes a column as {"0": ...}
        return list(value.values())
    if not isinstance(value, list):
        raise Defect(f"'{name}' is no list", "write a list")
    return value


def _with(row: Row, name: str, value: object) -> Row:
    """Copy a row with another value in a field, which may be dotted."""
    if name in row:
        return {**row, name: value}
    first, _, rest = name.partition(".")
    return {**row, first: _with(row[first], rest, value)}
