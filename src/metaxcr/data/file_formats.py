"""File formats: each parses a file into (line, row) pairs. A new format is one function in FORMATS.

Tables and Parquet come first, then the XML of COPA and two layouts that no declaration of fields describes:
XWinograd's and DREAM's. JSON is in :mod:`metaxcr.data.json_rows`.
"""

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any
from xml.parsers import expat

from metaxcr.data.json_rows import read_json, read_jsonl
from metaxcr.data.rows import (
    Defect,
    FormatReader,
    Repairs,
    Row,
    Rows,
    check_columns,
    flaw,
    lines_of,
    open_text,
    read_text,
    shown,
    strict,
    with_names,
)
from metaxcr.errors import UserError
from metaxcr.parse import MAX_BYTES, check_file, json_value

SEPARATOR_LINE = re.compile(r"sep=(.)\s*")  # a first line in which Excel notes the separator


def read_csv(path: Path, columns: Sequence[str] | None, repairs: Repairs, *, delimiter: str = ",") -> Rows:
    """Yield the records of a table with the usual quoting, by their first lines.

    Without ``columns``, the first record names them. Broken quoting is an error: it is unknown where the next
    record begins.
    """
    csv.field_size_limit(min(sys.maxsize, MAX_BYTES))  # the reader of examples limits the length of a text

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

    return _table(path, records(), columns)


def read_tsv(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield the lines of a tab-separated file; quotation marks are ordinary characters."""
    lines = lines_of(path, repairs)
    records = ((n, line if isinstance(line, Defect) else line.split("\t")) for n, line in lines)
    return _table(path, records, columns)


def _table(
    path: Path, records: Iterator[tuple[int, list[str] | Defect]], columns: Sequence[str] | None
) -> Rows:
    """Name the fields of each record; without ``columns``, the first one names them and must be readable."""
    if columns is None:
        records = chain(strict(path, islice(records, 1)), records)
    return with_names(path, records, columns)


MARKDOWN_RULE = re.compile(r"\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)+\|?")  # the line below the header


def read_markdown(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield the rows of a Markdown table, ``| a | b |`` below a header and a line of hyphens."""

    def cells(line: str) -> list[str]:
        inside = line.strip().removeprefix("|").removesuffix("|")
        return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inside)]

    records = (
        (number, line if isinstance(line, Defect) else cells(line))
        for number, line in lines_of(path, repairs)
        if isinstance(line, Defect) or not MARKDOWN_RULE.fullmatch(line.strip())
    )
    return _table(path, records, None)


# ---- Parquet: a small file may unpack to far more than fits into memory

BATCH = 256  # rows
RATIO, FREE = 50, 2 * 10**8  # a file may unpack to 50 times its size, and to 200 MB in any case
_ROW = 100  # bytes that a row takes at least


def read_parquet(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield the rows of a Parquet file with their 1-based numbers."""
    check_file(path)
    with path.open("rb") as stream:
        if stream.read(4) != b"PAR1":
            raise UserError("the file is not Parquet", str(path), "fetch it again, or declare its format")
    try:
        rows = (row for batch in parquet_batches(path) for row in batch.to_pylist())
        yield from enumerate(rows, start=1)
    except UserError:
        raise
    except Exception as error:  # which exceptions a damaged file causes changes with pyarrow's version
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"the Parquet file is damaged ({reason})", str(path), "fetch it again") from error


def parquet_batches(path: Path) -> Iterator[Any]:
    """Yield the rows of a Parquet file as ``pyarrow.RecordBatch``; one that unpacks to too much is an error.

    Texts stay in the file's dictionaries until their size is known: a text of a megabyte that a million rows
    share is read as one.
    """
    from pyarrow import parquet

    limit = min(MAX_BYTES, max(FREE, RATIO * path.stat().st_size))
    with parquet.ParquetFile(path) as file:
        check_columns(file.schema_arrow.names, str(path))
        leaves = [file.schema.column(n) for n in range(len(file.schema))]
        # of pages and rows only: where what a file says of its columns is damaged, pyarrow ends the process
        groups, rows = range(file.metadata.num_row_groups), file.metadata.num_rows
        pages = sum(file.metadata.row_group(number).total_byte_size for number in groups)
        _check_size(path, int(max(pages, rows * max(_ROW, sum(leaf.length for leaf in leaves)))), limit)
    with parquet.ParquetFile(path, read_dictionary=[leaf.path for leaf in leaves]) as file:
        unpacked = 0
        for group in range(file.num_row_groups):  # each has dictionaries of its own
            for batch in file.iter_batches(batch_size=BATCH, row_groups=[group]):
                unpacked += sum(map(unpacked_size, batch.columns))
                _check_size(path, unpacked, limit)
                yield batch


def _check_size(path: Path, size: int, limit: int) -> None:
    if size > limit:
        what = f"the file unpacks to {size:,} bytes or more, {limit:,} are allowed"
        raise UserError(what, str(path), "look at what it holds, then cut it into parts")


def unpacked_size(array: Any) -> int:
    """Return how many bytes a ``pyarrow.Array`` takes once its dictionaries are unpacked."""
    import pyarrow as arrow
    from pyarrow import compute

    if arrow.types.is_dictionary(array.type):
        lengths = compute.binary_length(array.dictionary).cast(arrow.int64())
        return int(compute.sum(lengths.take(array.indices)).as_py() or 0)
    if arrow.types.is_struct(array.type):
        return sum(map(unpacked_size, array.flatten()))
    if arrow.types.is_map(array.type):
        return unpacked_size(array.keys) + unpacked_size(array.items)
    if arrow.types.is_list(array.type) or arrow.types.is_large_list(array.type):
        return unpacked_size(array.flatten())
    return int(array.nbytes)


# ---- layouts of single data sets


def read_copa_xml(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield the items of an official COPA file: attributes, and the texts of the elements p, a1, a2."""
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
        place = f"{path}:{parser.CurrentLineNumber}"
        raise UserError(f"the file declares the entity {shown(name)}", place, "fetch it again")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(read_text(path, repairs), True)
    except expat.ExpatError as error:
        place = f"{path}:{error.lineno}"
        raise UserError(f"the file is not XML ({error})", place, "fetch it again") from error
    yield from items


BLANK = "_"
# What a span in XWinograd's file holds beside the pronoun: punctuation; Japanese particles, perhaps with a
# second pronoun; in Chinese only the second half of "because", before a pronoun that may be left out.
_MARKS = ".,"
_JAPANESE = re.compile("(彼女ら|彼女|彼ら|彼)(?:[をにの]|は彼)")
_CHINESE, _CHINESE_PRONOUN = "为", re.compile("(?:[他她它]们?)?")
_COLUMNS = ("lang", "subset", "source", "sentence", "tokens", "pronoun", "candidates")


def read_xwinograd(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield XWinograd's items with a blank in place of the pronoun, and ``choices`` and ``label``.

    The file is tab-separated without quoting; tokens, pronoun and candidates are JSON: ``[text, [first token,
    end], tokens, right or not]``.
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
        what = f"tokens, pronoun or candidates are not as they should be ({error})"
        return Defect(what, "fetch the file again")
    if right.count(True) != 1:
        return Defect(f"{right.count(True)} candidates are right where one should be", "fetch the file again")
    row["label"] = right.index(True)
    return row


def _with_blank(sentence: str, before: Sequence[str], span: str) -> str:
    """Put a blank in place of the pronoun, found after the tokens before it: its word may occur twice."""
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
    """Yield DREAM's questions: a document of [turns of a dialogue, [question, ...], id]."""
    for line, row in read_json(path, ("dialogue", "questions", "id"), repairs):
        if isinstance(row, Defect):
            yield line, row
            continue
        turns, questions = row.get("dialogue"), row.get("questions")
        try:
            if not isinstance(turns, list) or not isinstance(questions, list):
                raise TypeError("no lists")
            for number, question in enumerate(questions):
                yield line, {**question, "id": f"{row['id']}-{number}", "dialogue": " ".join(turns)}
        except (TypeError, KeyError) as error:
            yield line, Defect(f"no dialogue with its questions ({error})", "fetch the file again")


FORMATS: dict[str, FormatReader] = {
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
