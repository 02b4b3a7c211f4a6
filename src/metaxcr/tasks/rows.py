"""File formats: a file becomes (line number, row) pairs; a new format is one function in FORMATS."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat

from metaxcr.errors import UserError

Row = Mapping[str, Any]
RowReader = Callable[[Path, Sequence[str] | None], Iterator[tuple[int, Row]]]


class Defect(Exception):
    """A row that cannot be used. Who knows file and line turns it into a UserError.

    Args:
        what: What is wrong.
        fix: What to do about it.
    """

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what, self.fix = what, fix


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
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise Defect(f"no field '{name}'", "add it, or compare with the official file")
        value = value[part]
    return value


def read_text(path: Path) -> str:
    """Read a UTF-8 file whole, naming the line where it is not UTF-8.

    Args:
        path: The file; a byte order mark is dropped.

    Returns:
        Its text, line ends untouched.

    Raises:
        UserError: The file cannot be read or is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read the file: {error.strerror}", str(path), "check its permissions"
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            "the line is not UTF-8 text", f"{path}:{line}", "convert the file to UTF-8"
        ) from error


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their 1-based numbers.

    ``str.splitlines`` would also cut at U+2028 and its kind, which occur inside texts.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        line = line.rstrip("\r")
        if line.strip():
            yield number, line


def read_jsonl(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[int, Row]]:
    """Yield one JSON object a line.

    Args:
        path: The file.
        columns: Not used: the objects name their fields.

    Yields:
        (line number, row).

    Raises:
        UserError: A line is not a JSON object.
    """
    decode = json.JSONDecoder().decode
    for number, line in lines_of(path):
        try:
            row = decode(line.strip())
        except json.JSONDecodeError as error:
            raise UserError(
                f"the line is not JSON ({error.msg} at column {error.colno})",
                f"{path}:{number}",
                "mend or remove it",
            ) from error
        if not isinstance(row, dict):
            raise UserError(
                "the line is JSON, but no object", f"{path}:{number}", "write {...} with named fields"
            )
        if "\\ud" in line.lower() and _lone_surrogate(row):
            raise UserError(
                "half a surrogate pair (\\ud...)", f"{path}:{number}", "mend or remove the character"
            )
        yield number, row


def _lone_surrogate(row: Row) -> bool:
    """Tell whether a row holds half a character, which JSON can spell but no tokenizer can read."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def read_csv(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[int, Row]]:
    """Yield the records of a comma-separated file with the usual quoting.

    Args:
        path: The file.
        columns: Names of the columns; None when the first record names them.

    Yields:
        (number of the record's last line, row).

    Raises:
        UserError: Broken quoting, or a record with too few or too many fields.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)

    def records() -> Iterator[tuple[int, list[str]]]:
        try:
            for record in reader:
                if record:
                    yield reader.line_num, record
        except csv.Error as error:
            raise UserError(
                f"broken quoting ({error})", f"{path}:{reader.line_num}", "mend the line"
            ) from error

    yield from _named(path, records(), columns)


def read_tsv(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[int, Row]]:
    """Yield the records of a tab-separated file; quotation marks are ordinary characters.

    Args:
        path: The file.
        columns: Names of the columns; None when the first record names them.

    Yields:
        (line number, row).

    Raises:
        UserError: A record with too few or too many fields.
    """
    yield from _named(path, ((number, line.split("\t")) for number, line in lines_of(path)), columns)


def read_copa_xml(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[int, Row]]:
    """Yield the items of an official COPA file: attributes, and the texts of the elements p, a1, a2.

    Args:
        path: The file.
        columns: Not used: the elements name their fields.

    Yields:
        (line number of the item, row).

    Raises:
        UserError: The file is not well-formed XML.
    """
    items: list[tuple[int, dict[str, str]]] = []
    element = ""
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal element
        element = name
        if name == "item":
            items.append((parser.CurrentLineNumber, dict(attributes)))

    def text(part: str) -> None:
        if items and element not in ("item", ""):
            items[-1][1][element] = items[-1][1].get(element, "") + part

    def end(name: str) -> None:
        nonlocal element
        element = ""  # what follows an element is layout, not text

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    try:
        parser.Parse(read_text(path), True)
    except expat.ExpatError as error:
        raise UserError(
            f"the file is not XML ({error})", f"{path}:{error.lineno}", "fetch it again"
        ) from error
    yield from items


def _named(
    path: Path, records: Iterator[tuple[int, list[str]]], columns: Sequence[str] | None
) -> Iterator[tuple[int, Row]]:
    """Pair the fields of each record with the names of the columns."""
    for number, record in records:
        if columns is None:
            columns = record
            continue
        if len(record) != len(columns):
            raise UserError(
                f"{len(record)} fields where {len(columns)} belong",
                f"{path}:{number}",
                "check the separators",
            )
        yield number, dict(zip(columns, record, strict=True))


FORMATS: dict[str, RowReader] = {
    "jsonl": read_jsonl,
    "csv": read_csv,
    "tsv": read_tsv,
    "copa-xml": read_copa_xml,
}
