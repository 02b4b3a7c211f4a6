"""Rows of a file: the text they are read from, and the defect in place of a row that cannot be used."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from metaxcr.data.repairs import Repairs
from metaxcr.errors import UserError
from metaxcr.parse import check_file, decode_text, file_error

Row = Mapping[str, Any]
Item = TypeVar("Item")
MARK = "\ufeff"  # the byte order mark, decoded
_NOT_TEXT = {  # first bytes of a file -> what it is
    b"\x1f\x8b": "packed (gzip)",
    b"PK\x03\x04": "packed (zip)",
    b"\xfd7zXZ": "packed (xz)",
    b"BZh9": "packed (bzip2)",
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


def shown(value: object) -> str:
    """Quote a value from a file in a message, on one line of at most 60 characters."""
    quoted = repr(value)
    return quoted if len(quoted) <= 60 else f"{quoted[:57]}..."


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
            if number == 1 and not raw.endswith(b"\n") and b"\r" in raw:  # line ends of an old Macintosh
                for at, line in enumerate(raw.split(b"\r"), start=1):
                    if line.strip():
                        yield at, _line(line, True, repairs)
            elif raw.strip():
                yield number, _line(raw.removesuffix(b"\n"), False, repairs)


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


def strict(path: Path, items: Iterable[tuple[int, Item | Defect]]) -> Iterator[tuple[int, Item]]:
    """Yield numbered rows or lines of a file; raise the first defect as a UserError."""
    for line, item in items:
        if isinstance(item, Defect):
            raise UserError(item.what, f"{path}:{line}", item.fix)
        yield line, item
