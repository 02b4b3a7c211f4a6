"""JSON as rows: one object a line, or a document in any of the shapes that data sets are published in."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metaxcr.data.rows import Defect, Repairs, Row, Rows, lines_of, read_text, with_names
from metaxcr.errors import UserError
from metaxcr.parse import check_characters, json_value, too_deep_at

_BETWEEN, _COLON = re.compile(r"[\s,]*"), re.compile(r"\s*:\s*")


def read_jsonl(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield one JSON object a line, or one list a line; without ``columns``, the first list names them."""
    decoder = _decoder(repairs)

    def rows() -> Iterator[tuple[int, Row | list[Any] | Defect]]:
        lists = columns is not None
        for at, (number, line) in enumerate(lines_of(path, repairs)):
            row = line if isinstance(line, Defect) else _parsed_line(decoder, line)
            lists = lists or (at == 0 and isinstance(row, list))
            yield number, row if lists else _object(row)

    return with_names(path, rows(), columns)


def read_json(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield the objects of a JSON document, with the lines on which they begin.

    The document is a list of objects, a list of lists (without ``columns``, the first names them), an object
    that holds one list, or a sequence of objects with any line breaks. Text that is not JSON is an error:
    nothing after it can be found.
    """
    return with_names(path, _documents(path, repairs), columns)


def _documents(path: Path, repairs: Repairs) -> Iterator[tuple[int, Row | list[Any] | Defect]]:
    """Yield the values of a document that are rows, with the lines on which they begin."""
    text, decoder = read_text(path, repairs), _decoder(repairs)
    if "\n" not in text:
        text = text.replace("\r", "\n")  # line ends of an old Macintosh

    def wrong(what: str, at: int) -> UserError:
        line = 1 + text.count("\n", 0, at)
        return UserError(what, f"{path}:{line}", "mend it, or fetch it again")

    if (deep := too_deep_at(text)) >= 0:
        raise wrong("the file is nested too deeply", deep)
    position, line, counted = _first_row(text), 1, 0
    listed = position > 0 and text[position - 1] == "["
    while (position := _skip(_BETWEEN, text, position)) < len(text):
        if listed and text[position] == "]":
            rest = _skip(_BETWEEN, text, position + 1)
            if text.lstrip().startswith("[") and rest < len(text):  # of an object, _first_row checks the rest
                raise wrong("the file is not JSON (something follows the list)", rest)
            return
        line, counted = line + text.count("\n", counted, position), position
        try:
            value, end = decoder.raw_decode(text, position)
        except Defect as defect:
            value, end = defect, json.JSONDecoder().raw_decode(text, position)[1]
        except json.JSONDecodeError as error:
            raise wrong(f"the file is not JSON ({_reason(error)})", error.pos) from None
        except ValueError:  # more digits than Python converts
            raise wrong("a number has too many digits", position) from None
        row = value if isinstance(value, list) else _object(value)
        yield line, _half_character(text[position:end], row) or row
        position = end
    if listed:
        raise wrong("the file is not JSON (the list does not end)", position)


def _first_row(text: str) -> int:
    """Find where the rows of a JSON document begin: inside its list, or in the list that its object holds."""
    start = len(text) - len(text.lstrip())
    if text.startswith("[", start):
        return start + 1
    decoder = json.JSONDecoder()
    try:
        value, end = decoder.raw_decode(text, start)
    except (ValueError, RecursionError):
        return start
    if text[end:].strip() or not isinstance(value, dict) or len(value) > 3:
        return start  # objects one after another, or one row
    lists = [k for k, v in value.items() if isinstance(v, list) and v and isinstance(v[0], dict)]
    if len(lists) != 1:
        return start
    found, position = 0, _skip(_BETWEEN, text, start + 1)
    while text[position] != "}":
        key, position = decoder.raw_decode(text, position)
        position = _skip(_COLON, text, position)
        if key == lists[0]:
            found = position + 1  # of a key that occurs twice, the last one counts
        position = _skip(_BETWEEN, text, decoder.raw_decode(text, position)[1])
    return found


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _decoder(repairs: Repairs) -> json.JSONDecoder:
    """Return a decoder that repairs, or reports, keys that occur twice."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items) and not repairs.take("repeated-keys"):
            raise Defect("a key occurs twice", "remove one of them, or leave that repair on")
        return found

    return json.JSONDecoder(object_pairs_hook=pairs)


def _parsed_line(decoder: json.JSONDecoder, text: str) -> Row | list[Any] | Defect:
    try:
        value = json_value(text.strip(), decoder)
        return value if isinstance(value, list) and value else _object(value)
    except Defect as defect:
        return defect
    except json.JSONDecodeError as error:
        what = f"the line is not JSON ({_reason(error)} at column {error.colno})"
    except ValueError as error:  # Python's own message on long numbers is about its settings
        long = "integer string" in str(error)
        what = "a number has too many digits" if long else str(error).replace("it is", "the line is")
    return Defect(what, "mend or remove it")


def _reason(error: json.JSONDecodeError) -> str:
    """Return the decoder's message, without the preposition that some of them end with."""
    return error.msg.removesuffix(" at").removesuffix(" starting")


def _half_character(text: str, value: Any) -> Defect | None:
    """Return a defect where a value holds half a surrogate pair, which no file can hold."""
    try:
        if "\\u" in text:
            check_characters(value)
    except ValueError as error:
        return Defect(str(error), "mend or remove the character")
    return None


def _object(value: Any) -> Row | Defect:
    if isinstance(value, Defect | dict):
        return value
    return Defect("the line is JSON, but not an object", "write {...} with named fields")
