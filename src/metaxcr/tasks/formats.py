"""File formats: a file becomes (line number, row) pairs; a new format is one function in FORMATS."""

import csv
import itertools
import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from xml.parsers import expat

from metaxcr.errors import UserError
from metaxcr.tasks.json_rows import read_json, read_jsonl
from metaxcr.tasks.parquet import batches
from metaxcr.tasks.repair import Repairs
from metaxcr.tasks.rows import (
    MAX_BYTES,
    Defect,
    RowReader,
    Rows,
    check_columns,
    check_file,
    flaw,
    lines_of,
    open_text,
    paired,
    read_text,
    shown,
)
from metaxcr.tasks.special import read_dream, read_xwinograd

SEPARATOR_LINE = re.compile(r"sep=(.)\s*")  # with which Excel tells itself how a file is separated


def read_csv(path: Path, columns: Sequence[str] | None, repairs: Repairs, *, delimiter: str = ",") -> Rows:
    """Yield the records of a comma-separated file with the usual quoting.

    Args:
        path: The file.
        columns: Names of the columns; None when the first record names them.
        repairs: The steps that are on.
        delimiter: Between the fields.

    Yields:
        (number of the record's first line, row).

    Raises:
        UserError: Broken quoting; where the next record begins is then unknown.
    """
    csv.field_size_limit(min(sys.maxsize, MAX_BYTES))  # how long a text may be is the reader's to say

    def records() -> Iterator[tuple[int, list[str] | Defect]]:
        begun = 1
        with open_text(path, repairs) as text:
            reader = csv.reader(text, strict=True, delimiter=delimiter)
            try:
                for record in reader:
                    if record and not (begun == 1 and SEPARATOR_LINE.fullmatch(delimiter.join(record))):
                        yield begun, flaw("".join(record)) or record
                    begun = reader.line_num + 1
            except csv.Error as error:
                what = str(error).replace("\t", "\\t")
                raise UserError(f"broken quoting ({what})", f"{path}:{begun}", "mend the line") from error

    yield from _named(path, records(), columns)


def read_tsv(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield the records of a tab-separated file; quotation marks are ordinary characters.

    Args:
        path: The file.
        columns: Names of the columns; None when the first record names them.
        repairs: The steps that are on.

    Yields:
        (line number, row).
    """
    records = (
        (number, line if isinstance(line, Defect) else line.split("\t"))
        for number, line in lines_of(path, repairs)
    )
    yield from _named(path, records, columns)


def read_parquet(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield the rows of a Parquet file.

    Args:
        path: The file.
        columns: Not used: the file names its columns.
        repairs: Not used.

    Yields:
        (1-based number of the row, row).

    Raises:
        UserError: It is no Parquet file, is damaged, or unpacks to too much.
    """
    check_file(path)
    with path.open("rb") as stream:
        if stream.read(4) != b"PAR1":
            raise UserError("the file is not Parquet", str(path), "fetch it again, or declare its format")
    counter = itertools.count(1)
    try:
        for batch in batches(path):
            for row in batch.to_pylist():
                yield next(counter), row
    except UserError:
        raise
    # Which exceptions a damaged file brings about is for pyarrow to say, and changes with its version.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"the Parquet file is damaged ({reason})", str(path), "fetch it again") from error


def read_copa_xml(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield the items of an official COPA file: attributes, and the texts of the elements p, a1, a2.

    Args:
        path: The file.
        columns: Not used: the elements name their fields.
        repairs: The steps that are on.

    Yields:
        (line number of the item, row).

    Raises:
        UserError: The file is not well-formed XML, or declares entities.
    """
    items: list[tuple[int, dict[str, str]]] = []
    inside: list[str] = []  # names of the elements that are open
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        if "item" not in inside:
            if name == "item":
                items.append((parser.CurrentLineNumber, dict(attributes)))
        elif inside.index("item") == len(inside) - 1:
            if name in items[-1][1]:
                place = f"{path}:{parser.CurrentLineNumber}"
                raise UserError(f"the item has {shown(name)} twice", place, "remove one of them")
            items[-1][1][name] = ""
        inside.append(name)

    def text(part: str) -> None:
        if "item" in inside[:-1]:  # between the elements of an item is layout, not text
            items[-1][1][inside[inside.index("item") + 1]] += part

    def end(name: str) -> None:
        inside.pop()

    def entity(name: str, *rest: object) -> None:  # a few lines of entities unpack to gigabytes
        raise UserError(
            f"the file declares the entity {shown(name)}",
            f"{path}:{parser.CurrentLineNumber}",
            "fetch it again",
        )

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(read_text(path, repairs), True)
    except expat.ExpatError as error:
        raise UserError(
            f"the file is not XML ({error})", f"{path}:{error.lineno}", "fetch it again"
        ) from error
    yield from items


def _named(
    path: Path, records: Iterator[tuple[int, list[str] | Defect]], columns: Sequence[str] | None
) -> Rows:
    """Pair the fields of each record with the names of the columns."""
    for number, record in records:
        if columns is not None:
            yield number, record if isinstance(record, Defect) else paired(record, columns)
            continue
        if isinstance(record, Defect):
            raise UserError(record.what, f"{path}:{number}", record.fix)
        columns = [name.strip() for name in record]
        check_columns(columns, f"{path}:{number}")


FORMATS: dict[str, RowReader] = {
    "jsonl": read_jsonl,
    "json": read_json,
    "csv": read_csv,
    "csv-semicolon": partial(read_csv, delimiter=";"),
    "csv-pipe": partial(read_csv, delimiter="|"),
    "tsv": read_tsv,
    "tsv-quoted": partial(read_csv, delimiter="\t"),
    "parquet": read_parquet,
    "copa-xml": read_copa_xml,
    "xwinograd": read_xwinograd,
    "dream": read_dream,
}
