"""Which format a file has, told from its content: a suffix says little about how data sets are published."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from metaxcr.errors import UserError
from metaxcr.parse import json_value
from metaxcr.tasks.formats import FORMATS
from metaxcr.tasks.repair import Repairs
from metaxcr.tasks.rows import Defect, Row, check_file, open_bytes, read_text

SAMPLE = 2_000  # records that are looked at to tell tables apart
_PACKED = {b"PK\x03\x04": "zip", b"\x1f\x8b": "gzip", b"\xfd7zXZ": "xz", b"BZh": "bzip2", b"7z\xbc\xaf": "7z"}
_TABLES = {",": "csv", ";": "csv-semicolon", "\t": "tsv-quoted"}


def sniff(path: Path, look: int | None = None) -> str:
    """Tell the format of a file from its content.

    ``.json`` may be JSON lines, a list, a list of lists with a head, or objects strung together; ``.csv`` may
    be separated by semicolons, and a tab-separated file may use quotation marks or not. So the suffix is not
    looked at.

    Args:
        path: The file.
        look: Bytes to look at, cut at a line's end; None: all.

    Returns:
        A name in :data:`metaxcr.tasks.formats.FORMATS`.

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


def read_rows(path: Path, form: str) -> list[tuple[int, Row | Defect]]:
    """Read all rows of a file; what cannot be read stays as a defect.

    Args:
        path: The file.
        form: Its format, from :func:`sniff`.

    Returns:
        (line, row or defect), in the order of the file.

    Raises:
        UserError: The file cannot be read at all.
    """
    return list(FORMATS[form](path, None, Repairs()))


def _json(text: str) -> str:
    """Tell JSON lines from every other shape: each line is an object, and there is more than one."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    whole = sum(line.startswith("{") and line.endswith("}") for line in lines)
    several = len(lines) > 1 and lines[0].startswith("{") and whole > len(lines) / 2
    return "jsonl" if several and any(map(_is_object, lines[:2])) else "json"


def _is_object(line: str) -> bool:
    try:
        return isinstance(json_value(line), dict)
    except ValueError:
        return False


def _table(text: str, path: Path) -> str:
    """Find the separator: the one that cuts most records into as many fields as the head has."""
    best, columns = "", 1
    for separator in _TABLES:
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


def names_of(rows: Sequence[tuple[int, Row | Defect]]) -> dict[str, None]:
    """List the fields of all rows, in the order of their first occurrence; those of objects are dotted.

    Args:
        rows: From :func:`read_rows`.

    Returns:
        The names, as keys.
    """
    names: dict[str, None] = {}

    def add(row: Row, prefix: str, depth: int) -> None:
        for name, value in row.items():
            if isinstance(value, dict) and depth < 3 and value:
                add(value, f"{prefix}{name}.", depth + 1)
            else:
                names[f"{prefix}{name}"] = None

    for _, row in rows:
        if not isinstance(row, Defect):
            add(row, "", 1)
    return names
