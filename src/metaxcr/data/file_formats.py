"""Parquet in blocks of rows, and how much a file unpacks to: a small one may hold far more than fits.

Two layouts that no declaration of fields describes: XWinograd's and DREAM's.

File formats: a file becomes (line number, row) pairs; a new format is one function in FORMATS.
"""

import csv
import itertools
import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from xml.parsers import expat

from metaxcr.data.json_rows import read_json, read_jsonl
from metaxcr.data.repairs import Repairs
from metaxcr.data.rows import (
    Defect,
    Row,
    RowReader,
    Rows,
    check_columns,
    flaw,
    lines_of,
    open_text,
    paired,
    read_text,
    shown,
)
from metaxcr.errors import UserError
from metaxcr.parse import MAX_BYTES, check_file, json_value

BATCH = 256  # rows
RATIO, FREE = 50, 2 * 10**8  # a file may unpack to so many times its size, and to so many bytes in any case
_ROW = 100  # bytes that a row takes at least


def batches(path: Path) -> Iterator[Any]:
    """Yield the rows of a Parquet file in blocks.

    Beforehand it is counted what the file unpacks to. For that, texts stay in the dictionaries in which the
    file has them: a text of a megabyte that a million rows share is read as one.

    Args:
        path: The file.

    Yields:
        A ``pyarrow.RecordBatch`` after another.

    Raises:
        UserError: Two columns have one name, or the file unpacks to too much. What else a damaged file leads
            to, pyarrow raises.
    """
    from pyarrow import parquet

    limit = min(MAX_BYTES, max(FREE, RATIO * path.stat().st_size))
    with parquet.ParquetFile(path) as file:
        check_columns(file.schema_arrow.names, str(path))
        leaves = [file.schema.column(n) for n in range(len(file.schema))]
        _check_size(path, _declared(file.metadata, leaves), limit)
    with parquet.ParquetFile(path, read_dictionary=[leaf.path for leaf in leaves]) as file:
        unpacked = 0
        for group in range(file.num_row_groups):  # each has dictionaries of its own
            for batch in file.iter_batches(batch_size=BATCH, row_groups=[group]):
                unpacked += sum(map(size_of, batch.columns))
                _check_size(path, unpacked, limit)
    with parquet.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=BATCH)


def _check_size(path: Path, size: int, limit: int) -> None:
    if size > limit:
        raise UserError(
            f"the file unpacks to {size:,} bytes or more, {limit:,} are allowed",
            str(path),
            "look at what it holds, then cut it into parts",
        )


def _declared(metadata: Any, leaves: list[Any]) -> int:
    """Return what the file says about its size: of its pages, and of its rows.

    Its columns say more, but pyarrow ends the whole process where what they say is damaged.
    """
    pages = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    return int(max(pages, metadata.num_rows * max(_ROW, sum(leaf.length for leaf in leaves))))


def size_of(array: Any) -> int:
    """Return how many bytes an array takes once its dictionaries are unpacked.

    Args:
        array: A ``pyarrow.Array``.
    """
    import pyarrow as arrow
    from pyarrow import compute

    if arrow.types.is_dictionary(array.type):
        lengths = compute.binary_length(array.dictionary).cast(arrow.int64())
        return int(compute.sum(lengths.take(array.indices)).as_py() or 0)
    if arrow.types.is_struct(array.type):
        return sum(map(size_of, array.flatten()))
    if arrow.types.is_map(array.type):
        return size_of(array.keys) + size_of(array.items)
    if arrow.types.is_list(array.type) or arrow.types.is_large_list(array.type):
        return size_of(array.flatten())
    return int(array.nbytes)


BLANK = "_"
# What a span in the file holds beside the pronoun: marks; Japanese particles, perhaps with a second pronoun;
# in Chinese the second half of "because" alone, behind which the pronoun stands or is left out.
_MARKS = ".,"
_JAPANESE = re.compile("(彼女ら|彼女|彼ら|彼)(?:[をにの]|は彼)")
_CHINESE, _CHINESE_PRONOUN = "为", re.compile("(?:[他她它]们?)?")
_COLUMNS = ("lang", "subset", "source", "sentence", "tokens", "pronoun", "candidates")


def read_xwinograd(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield XWinograd's items with a blank in place of the pronoun.

    The file is tab-separated without quoting; tokens, pronoun and candidates are JSON: ``[text, [first token,
    end], tokens, right or not]``.

    Args:
        path: The file.
        columns: Not used.
        repairs: The steps that are on.

    Yields:
        (line number, row with ``lang``, ``subset``, ``source``, ``sentence``, ``choices`` and ``label``).
    """
    for number, line in lines_of(path, repairs):
        yield number, line if isinstance(line, Defect) else _winograd_row(line.split("\t"))


def _winograd_row(cells: list[str]) -> Row | Defect:
    if len(cells) != len(_COLUMNS):
        return Defect(f"{len(cells)} fields where {len(_COLUMNS)} belong", "check the separators")
    row: dict[str, Any] = dict(zip(_COLUMNS, cells, strict=True))
    try:
        tokens, (pronoun, (first, _end), *_), candidates = map(json_value, cells[4:])
        row["choices"] = [candidate[0] for candidate in candidates]
        right = [bool(candidate[3]) for candidate in candidates]
        row["sentence"] = _with_blank(row["sentence"], tokens[:first], pronoun)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        return Defect(
            f"tokens, pronoun or candidates are not as they should be ({error})", "fetch the file again"
        )
    if right.count(True) != 1:
        return Defect(f"{right.count(True)} candidates are right where one should be", "fetch the file again")
    row["label"] = right.index(True)
    return row


def _with_blank(sentence: str, before: Sequence[str], span: str) -> str:
    """Put a blank where the pronoun stands: behind the tokens before it, the same word may occur twice."""
    position = 0
    for token in before:
        found = sentence.find(token, position)
        position = position if found < 0 else found + len(token)
    start = sentence.find(span, position)
    if start < 0:
        raise ValueError(f"no '{span}' in the sentence")
    end = start + len(span.rstrip(_MARKS))
    if match := _JAPANESE.fullmatch(span):
        end = start + len(match[1])
    if span == _CHINESE and (match := _CHINESE_PRONOUN.match(sentence, end)):
        start, end = match.span()
    return sentence[:start] + BLANK + sentence[end:]


def read_dream(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield DREAM's questions: a document of [turns of a dialogue, [question, ...], id].

    Args:
        path: The file.
        columns: Not used.
        repairs: The steps that are on.

    Yields:
        (line number, row with ``id``, ``dialogue``, ``question``, ``choice`` and ``answer``).
    """
    for line, row in read_json(path, ("dialogue", "questions", "id"), repairs):
        if isinstance(row, Defect):
            yield line, row
            continue
        turns, questions = row.get("dialogue"), row.get("questions")
        try:
            if not isinstance(turns, list) or not isinstance(questions, list):
                raise TypeError("no lists")
            for number, asked in enumerate(questions):
                yield line, {**asked, "id": f"{row['id']}-{number}", "dialogue": " ".join(turns)}
        except (TypeError, KeyError) as error:
            yield line, Defect(f"no dialogue with its questions ({error})", "fetch the file again")


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


MARKDOWN_RULE = re.compile(r"\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)+\|?")  # the line below the header


def read_markdown(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield the rows of a Markdown table, ``| a | b |`` below a header and a line of hyphens.

    Args:
        path: The file.
        columns: Not used: the table names its columns.
        repairs: The steps that are on.

    Yields:
        (line number, row).
    """

    def cells(line: str) -> list[str]:
        inside = line.strip().removeprefix("|").removesuffix("|")
        return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inside)]

    records = (
        (number, line if isinstance(line, Defect) else cells(line))
        for number, line in lines_of(path, repairs)
        if isinstance(line, Defect) or not MARKDOWN_RULE.fullmatch(line.strip())
    )
    yield from _named(path, records, None)


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
    "markdown": read_markdown,
    "parquet": read_parquet,
    "copa-xml": read_copa_xml,
    "xwinograd": read_xwinograd,
    "dream": read_dream,
}
