"""Rows of a file: what they are, how a text file is read, and what becomes of a row that cannot be used."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from metaxcr.data.repairs import Repairs
from metaxcr.errors import UserError
from metaxcr.parse import check_file, decode_text, file_error

Row = Mapping[str, Any]
MARK = "\ufeff"  # the byte order mark, decoded
_NOT_TEXT = {  # how such a file begins -> what it is
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
    """A row that cannot be used. Who knows file and line turns it into a UserError, or leaves the row out.

    Args:
        what: What is wrong.
        fix: What to do about it.
        where: The place, if it is not the row itself: a line of the label file.
    """

    def __init__(self, what: str, fix: str, where: str | None = None) -> None:
        super().__init__(what)
        self.what, self.fix, self.where = what, fix, where


# A row that cannot be read comes as a defect, so that the reader can go on behind it.
Rows = Iterator[tuple[int, Row | Defect]]
RowReader = Callable[[Path, Sequence[str] | None, Repairs], Rows]


def value_of(row: Row, name: str) -> Any:
    """Look a field up.

    Args:
        row: A row.
        name: Name of the field; a dotted name reaches into nested objects.

    Returns:
        What the row holds there.

    Raises:
        Defect: There is no such field.
    """
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise Defect(f"no field '{name}'", "add it, or compare with the official file")
        value = value[part]
    return value


def shown(value: object) -> str:
    """Quote something from a file in a message: in one line, however long it is and whatever it holds."""
    quoted = repr(value)
    return quoted if len(quoted) <= 60 else f"{quoted[:57]}..."


def read_bytes(path: Path) -> bytes:
    """Read a text file whole.

    Raises:
        UserError: See :func:`check_file`; or it cannot be read, or begins as no text does.
    """
    with open_bytes(path) as stream:
        return stream.read()


def open_bytes(path: Path) -> io.BufferedReader:
    """Open a text file for reading, after a look at how it begins.

    Raises:
        UserError: See :func:`read_bytes`.
    """
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


def read_text(path: Path, repairs: Repairs | None = None) -> str:
    """Read a UTF-8 file whole, naming the line where it is not UTF-8.

    Args:
        path: The file.
        repairs: Says whether a byte order mark is dropped; default: it is.

    Returns:
        Its text, line ends untouched.

    Raises:
        UserError: The file cannot be read or is not UTF-8.
    """
    content = read_bytes(path)
    return decode_text(content[_mark(path, content[:3], repairs or Repairs()) :], path)


def open_text(path: Path, repairs: Repairs) -> io.TextIOWrapper:
    """Open a UTF-8 file to be read bit by bit, line ends untouched.

    What is not UTF-8 is left to :func:`flaw`, so that only its row is lost.

    Raises:
        UserError: See :func:`read_bytes`.
    """
    stream = open_bytes(path)
    skipped = _mark(path, stream.read(3), repairs)
    stream.seek(skipped)
    return io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")


def _mark(path: Path, head: bytes, repairs: Repairs) -> int:
    """Length of the byte order mark of UTF-8 at the beginning; those of other encodings are refused."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError("the file is UTF-16, not UTF-8", str(path), "convert the file to UTF-8")
    if head != b"\xef\xbb\xbf":
        return 0
    if not repairs.take("byte-order-mark"):
        raise UserError("a byte order mark", f"{path}:1", "remove it, or leave that repair on")
    return 3


def lines_of(path: Path, repairs: Repairs | None = None) -> Iterator[tuple[int, str | Defect]]:
    """Yield the lines that are not blank, with their 1-based numbers; one that is no text as a defect.

    ``str.splitlines`` would also cut at U+2028 and its kind, which occur inside texts. No more than a line is
    held in memory, except of a file without a line feed.
    """
    repairs = repairs or Repairs()
    with open_bytes(path) as stream:
        stream.seek(_mark(path, stream.read(3), repairs))
        for number, raw in enumerate(stream, start=1):
            if number == 1 and not raw.endswith(b"\n") and b"\r" in raw:  # as on an old Macintosh
                for at, line in enumerate(raw.split(b"\r"), start=1):
                    if line.strip():
                        yield at, _line(line, True, repairs)
            elif raw.strip():
                yield number, _line(raw.removesuffix(b"\n"), False, repairs)


def flaw(text: str) -> Defect | None:
    """Return what no text may hold: bytes that are not UTF-8 (see :func:`read_text`), or a NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return Defect("the line is not UTF-8 text", "convert the file to UTF-8")
    if "\0" in text:
        return Defect("the line holds a NUL byte", "mend it; the file may be damaged or UTF-16")
    return None


def _line(raw: bytes, old: bool, repairs: Repairs) -> str | Defect:
    """Decode a line; what stands against it comes as a defect."""
    line = raw.decode(errors="surrogateescape")
    if defect := flaw(line):
        return defect
    if old or line.endswith("\r"):
        if not repairs.take("line-ends"):
            return Defect("the line does not end with LF", "convert the line ends, or leave that repair on")
        line = line.rstrip("\r")
    return _no_mark(line) or line


def _no_mark(text: str) -> Defect | None:
    """Return a defect where files were joined with the byte order mark of the second."""
    if text.startswith(MARK):
        return Defect("a byte order mark in the middle of the file", "remove it")
    return None


def check_columns(columns: Sequence[str], place: str) -> None:
    """Refuse two columns of one name: one would hide the other.

    Args:
        columns: The names.
        place: Where they stand, for the message.

    Raises:
        UserError: A name occurs twice.
    """
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise UserError(f"two columns are named {shown(twice[0])}", place, "rename one of them")


def paired(record: Sequence[Any], columns: Sequence[str]) -> Row | Defect:
    """Name the fields of a record after the columns; another number of fields is a defect."""
    if record and isinstance(record[0], str) and (defect := _no_mark(record[0])):
        return defect
    if len(record) != len(columns):
        return Defect(f"{len(record)} fields where {len(columns)} belong", "check the separators")
    if list(record) == list(columns):
        return Defect("the line repeats the names of the columns", "remove it")
    return dict(zip(columns, record, strict=True))


def strict(path: Path, rows: Rows) -> Iterator[tuple[int, Row]]:
    """Yield rows, with the first defect as an error.

    Args:
        path: The file, for the message.
        rows: From one of :data:`FORMATS`.

    Raises:
        UserError: A row cannot be read.
    """
    for line, row in rows:
        if isinstance(row, Defect):
            raise UserError(row.what, f"{path}:{line}", row.fix)
        yield line, row
