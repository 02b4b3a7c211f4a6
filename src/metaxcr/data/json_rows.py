"""JSON as rows: one object a line, or a document in any of the shapes that data sets are published in."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from metaxcr.data.repairs import Repairs
from metaxcr.data.rows import Defect, Row, Rows, check_columns, lines_of, paired, read_text
from metaxcr.errors import UserError
from metaxcr.parse import check_characters, json_value, too_deep_at

NEWLINE = "\n"
_BETWEEN, _COLON = re.compile(r"[\s,]*"), re.compile(r"\s*:\s*")


def read_jsonl(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield one JSON object a line, or one list a line.

    Args:
        path: The file.
        columns: Names of the columns where the lines are lists without a head.
        repairs: The steps that are on.

    Yields:
        (line number, row).
    """
    decoder, lists = _decoder(repairs), columns is not None
    for at, (number, line) in enumerate(lines_of(path, repairs)):
        row = line if isinstance(line, Defect) else _line(decoder, line)
        lists = lists or (at == 0 and isinstance(row, list))
        if not isinstance(row, list):
            yield number, row
        elif not lists:
            yield number, _object(row)
        elif columns is None:
            columns = [str(cell).strip() for cell in row]
            check_columns(columns, f"{path}:{number}")
        else:
            yield number, paired(row, columns)


def read_json(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield the objects of a JSON document.

    It may be a list of objects, a list of lists of which the first names the columns, an object that holds
    one list, or objects one after another, however the lines are broken.

    Args:
        path: The file.
        columns: Names of the columns where the rows are lists without a head.
        repairs: The steps that are on.

    Yields:
        (number of the line on which the object begins, row).

    Raises:
        UserError: From some line on the file is not JSON; nothing behind it can be found.
    """
    text = read_text(path, repairs)
    if "\n" not in text:
        text = text.replace("\r", "\n")  # line ends as on an old Macintosh
    if (deep := too_deep_at(text)) >= 0:
        place = f"{path}:{1 + text.count(NEWLINE, 0, deep)}"
        raise UserError("the file is nested too deeply", place, "mend it, or fetch it again")
    start = _first_row(text)
    listed, line = start > 0 and text[start - 1] == "[", 1 + text.count("\n", 0, start)
    for value, begin, end in _values(path, text, start, listed, _decoder(repairs)):
        line += text.count("\n", start, begin)
        start = begin
        if not isinstance(value, list):
            yield line, _characters(text[begin:end], value) or _object(value)
        elif columns is None:
            columns = [str(cell).strip() for cell in value]
            check_columns(columns, f"{path}:{line}")
        else:
            yield line, _characters(text[begin:end], value) or paired(value, columns)


def _values(
    path: Path, text: str, position: int, listed: bool, decoder: json.JSONDecoder
) -> Iterator[tuple[Any, int, int]]:
    """Yield the values from a position on, with where each begins and ends; a defect in place of a value."""

    def wrong(what: str, at: int) -> UserError:
        return UserError(what, f"{path}:{1 + text.count(NEWLINE, 0, at)}", "mend it, or fetch it again")

    while True:
        position = _BETWEEN.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing, too
        if position >= len(text):
            if listed:
                raise wrong("the file is not JSON (the list does not end)", position)
            return
        if listed and text[position] == "]":
            break
        value, end = _decode(decoder, text, position, wrong)
        yield value, position, end
        position = end
    # What follows the list of an object was decoded when the list was looked for.
    rest = _BETWEEN.match(text, position + 1).end()  # type: ignore[union-attr]
    if text.lstrip().startswith("[") and rest < len(text):
        raise wrong("the file is not JSON (something follows the list)", rest)


def _decode(
    decoder: json.JSONDecoder, text: str, position: int, wrong: Callable[[str, int], UserError]
) -> tuple[Any, int]:
    """Decode the value at a position; return it, or what stands against it, and where it ends."""
    try:
        return decoder.raw_decode(text, position)
    except Defect as defect:
        return defect, json.JSONDecoder().raw_decode(text, position)[1]
    except json.JSONDecodeError as error:
        raise wrong(f"the file is not JSON ({_reason(error)})", error.pos) from None
    except ValueError:  # more digits than Python converts
        raise wrong("a number has too many digits", position) from None


def _first_row(text: str) -> int:
    """Find where the rows of a JSON document begin: inside its list, or in the list that its object holds."""
    start = len(text) - len(text.lstrip())
    if text.startswith("[", start):
        return start + 1
    try:
        value, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return start
    if text[end:].strip() or not isinstance(value, dict) or len(value) > 3:
        return start  # objects one after another, or one row
    lists = [
        key
        for key, inner in value.items()
        if isinstance(inner, list) and inner and isinstance(inner[0], dict)
    ]
    return _after_key(text, start + 1, lists[0]) + 1 if len(lists) == 1 else start


def _after_key(text: str, position: int, key: str) -> int:
    """Find the value of a key in an object whose first key begins at a position or behind it."""
    decoder = json.JSONDecoder()
    found = 0
    while True:
        position = _BETWEEN.match(text, position).end()  # type: ignore[union-attr]
        if text[position] == "}":
            return found  # of a key that occurs twice, the last one counts
        name, position = decoder.raw_decode(text, position)
        position = _COLON.match(text, position).end()  # type: ignore[union-attr]
        if name == key:
            found = position
        position = decoder.raw_decode(text, position)[1]


def _decoder(repairs: Repairs) -> json.JSONDecoder:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items) and not repairs.take("repeated-keys"):
            raise Defect("a key occurs twice", "remove one of them, or leave that repair on")
        return found

    return json.JSONDecoder(object_pairs_hook=pairs)


def _line(decoder: json.JSONDecoder, text: str) -> Row | list[Any] | Defect:
    """Decode one line; what stands against it comes as a defect."""
    try:
        value = json_value(text.strip(), decoder)
        return value if isinstance(value, list) and value else _object(value)
    except Defect as defect:
        return defect
    except json.JSONDecodeError as error:
        what = f"the line is not JSON ({_reason(error)} at column {error.colno})"
        return Defect(what, "mend or remove it")
    except ValueError as error:
        return Defect(_bounds(error).replace("it is", "the line is"), "mend or remove it")


def _bounds(error: ValueError) -> str:
    """Say what is too deep or too long; Python itself says it of numbers, at length."""
    return "a number has too many digits" if "integer string" in str(error) else str(error)


def _reason(error: json.JSONDecodeError) -> str:
    """Return what the decoder says, without the preposition that some of its messages end with."""
    return error.msg.removesuffix(" at").removesuffix(" starting")


def _characters(text: str, value: Any) -> Defect | None:
    """Return a defect where a value holds half a character, which JSON can spell but no file can hold."""
    try:
        if "\\u" in text:
            check_characters(value)
    except ValueError as error:
        return Defect(str(error), "mend or remove the character")
    return None


def _object(value: Any) -> Row | Defect:
    """Insist on an object."""
    if isinstance(value, Defect):
        return value
    if not isinstance(value, dict):
        return Defect("the line is JSON, but no object", "write {...} with named fields")
    return value
