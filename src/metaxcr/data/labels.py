"""Choices and labels as people write them into a file; the package counts choices from 0.

First what stands in a cell (lists, numbers before choices, spellings of an index, marks), then the label of a
row, from the row or from a file of labels.
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metaxcr.data.file_formats import read_csv
from metaxcr.data.rows import Defect, Repairs, Row, lines_of, shown, strict, value_of
from metaxcr.data.spec import Fields
from metaxcr.errors import UserError
from metaxcr.parse import json_value, literal_value

# ---- lists in a cell, numbers before choices

# In front of a choice: "1.", "(2)", "C)", a number in a circle.
_NUMBER = re.compile(r"(?:\(?(?:\d{1,2}|[A-Ja-j])[.)]|[①-⑳㉠-㉭])\s+|[①-⑳]\s*")
# The same in front of every choice: the text may follow at once, and letters may be of other alphabets.
_MARK = re.compile(r"\s*[(\[]?\s*(\d{1,2}|[^\W\d_]{1,3})\s*(?:[.)\]:．）、]|\s-(?=\s))\s*(?=\S)")
_ALPHABETS = (
    "abcdefghij", "абвгдежзик", "абцдефгхиј", "αβγδεζηθικ", "ابجدهوزحطي", "ابتثجحخدذر", "אבגדהוזחטי",
    "कखगघङचछजझञ", "กขคงจฉชซฌญ", "가나다라마바사아자차", "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊ",
    "甲乙丙丁戊己庚辛壬癸", "アイウエオカキクケコ",
)  # fmt: skip
_SERIES = {"الف": 0, "أ": 0, "א": 0}  # first letters with another spelling
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")


def cut_cell(cell: str, how: str) -> Any:
    """Cut a text that holds all choices, in ``lines`` or as ``json`` (or Python) writes a list."""
    if how == "lines":
        lines = [_NUMBER.sub("", line.strip()) for line in cell.split("\n")]
        return [line for line in lines if line]
    why = ""
    try:
        return json_value(cell)
    except json.JSONDecodeError:
        try:
            return literal_value(cell)  # the list may be written as Python does
        except ValueError:
            pass
    except ValueError as error:
        why = f": {error}"
    raise Defect(f"{shown(cell[:40])} is no list{why}", "write a list as JSON does")


def without_numbers(choices: Sequence[Any]) -> list[str] | None:
    """Remove the number or letter of each choice, as in ``A) yes``, ``B) no``.

    None: the choices are not all numbered, or do not count up from the first one.
    """
    marks = [mark for choice in choices if isinstance(choice, str) and (mark := _MARK.match(choice))]
    if len(marks) < max(2, len(choices)):
        return None
    numbers = [mark[1].casefold() for mark in marks]
    expected = range(len(numbers))
    counts_up = (
        numbers in ([str(n) for n in expected], [str(n + 1) for n in expected])
        or tuple(numbers) == _ROMAN[: len(numbers)]
        or [letter_index(number) for number in numbers] == [*expected]
    )
    return [mark.string[mark.end() :] for mark in marks] if counts_up else None


def carries_number(choice: object) -> bool:
    """Tell whether a choice begins with a number or letter such as ``2.`` or ``B)``."""
    mark = _MARK.match(choice) if isinstance(choice, str) else None
    return mark is not None and (mark[1].isdecimal() or letter_index(mark[1]) is not None)


# ---- spellings of a label

_TRUE = frozenset({"true", "yes", "t", "y", "1", "1.0", "correct", "right"})
_FALSE = frozenset({"false", "no", "f", "n", "0", "0.0", "", "incorrect", "wrong"})
_MISSING = frozenset({"", "-", "?", "-1", "-1.0", "null", "none", "nan", "n/a", "na", "unknown", "_"})
_WORD_AND_NUMBER = re.compile(r"(?:[^\W\d_]{2,}[\s_:.#-]*)?(\d{1,3})(?:\.0+)?")
_WORD_AND_LETTER = re.compile(r"(?:[^\W\d_]{2,}[\s_:.#-]+)?[(\[]?([^\W\d_])")


def letter_index(letter: str) -> int | None:
    """Return the place of a letter in its alphabet, from 0; None: it is not among the first ten."""
    folded = letter.casefold()
    if folded in _SERIES:
        return _SERIES[folded]
    return next((a.index(folded) for a in _ALPHABETS if len(folded) == 1 and folded in a), None)


def parse_index(raw: object) -> tuple[str, int] | None:
    """Read an index or letter however it is spelt: ``1.0``, ``True``, ``choice2``, ``option A``, ``(b)``.

    Returns:
        ``number``, ``letter`` or ``truth``, and the number as written or the place of the letter from 0;
        None: it is neither.
    """
    if isinstance(raw, list) and len(raw) == 1:
        raw = raw[0]
    if isinstance(raw, bool | int):
        return "truth" if isinstance(raw, bool) else "number", int(raw)
    if isinstance(raw, float):
        return ("number", int(raw)) if math.isfinite(raw) and raw.is_integer() else None
    if not isinstance(raw, str) or len(raw) > 40:
        return None
    text = unicodedata.normalize("NFKC", raw).strip().strip("()[]{}<>.,:;'\"#* \t")
    if text.casefold() in ("true", "false"):
        return "truth", int(text.casefold() == "true")
    if match := _WORD_AND_NUMBER.fullmatch(text):
        return "number", int(match[1])
    match = _WORD_AND_LETTER.fullmatch(text)
    index = letter_index(match[1]) if match else None
    return None if index is None else ("letter", index)


def is_missing(raw: object) -> bool:
    """Tell whether a row hides its label: null, blank, -1 and their kind."""
    if raw is None or raw == -1 or (isinstance(raw, float) and math.isnan(raw)):
        return True
    return isinstance(raw, str) and raw.strip().casefold() in _MISSING


def marked_index(flags: Sequence[object]) -> int | None:
    """Find the one choice that is marked as right: by truth values, words for them, or the highest score.

    None: no choice is marked. Marks that cannot be read, or several marked choices, are a Defect.
    """
    scores = [score for flag in flags if (score := _score(flag)) is not None]
    if len(scores) < len(flags):
        raise Defect("a choice does not say whether it is the right one", "mark every choice true or false")
    best = max(scores, default=0.0)
    if best == min(scores, default=0.0) and (best == 0 or len(scores) < 2):
        return None
    if scores.count(best) > 1:
        raise Defect(f"{scores.count(best)} choices are marked as right", "mark one choice of the row")
    return scores.index(best)


def _score(flag: object) -> float | None:
    if isinstance(flag, bool | int | float):
        return None if isinstance(flag, float) and math.isnan(flag) else flag  # an int can be beyond float
    word = str(flag if flag is not None else "").strip().casefold()
    if word in _TRUE or word in _FALSE:
        return float(word in _TRUE)
    try:
        number = float(word)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def decode_label(
    raw: object, kind: str, choices: Sequence[Any], repairs: Repairs, keys: Sequence[object] = ()
) -> int:
    """Turn a label as the file spells it into the index of a choice; a label that names none is a Defect.

    ``kind`` is a ``label_kind`` of :class:`metaxcr.data.spec.Fields`; ``keys`` are the choices' own keys, for
    the kind ``key``.
    """
    if kind == "flag" and isinstance(raw, Mapping):  # from choice to mark
        raw = list(raw.values())
    if kind == "flag" and isinstance(raw, list):
        if len(raw) != len(choices):
            raise Defect(f"{len(raw)} marks for {len(choices)} choices", "correct the row")
        return _marked(raw)
    try:
        return _decode_strictly(raw, kind, choices, repairs, keys)
    except Defect:
        index = _decode_loosely(raw, kind, choices)
        if index is None or not repairs.take("label-spelling"):
            raise
        return index


def _marked(flags: Sequence[object]) -> int:
    index = marked_index(flags)
    if index is None:
        raise Defect("no choice is marked as right", "mark one of them")
    return index


def _decode_strictly(
    raw: object, kind: str, choices: Sequence[Any], repairs: Repairs, keys: Sequence[object]
) -> int:
    """Read a label that is spelt exactly as declared."""
    if kind == "key":
        places = [place for place, key in enumerate(keys) if type(key) is type(raw) and key == raw]
        if not places:
            raise Defect(f"label {shown(raw)} is none of the choices' keys", "correct the label")
        if len(places) > 1:
            raise Defect(f"label {shown(raw)} is the key of two choices", "correct the keys")
        return places[0]
    if kind == "text":
        texts = [choice.strip() if isinstance(choice, str) else choice for choice in choices]
        wanted = raw.strip() if isinstance(raw, str) else raw
        if wanted not in texts:
            raise Defect(f"label {shown(raw)} is the text of no choice", "correct the label")
        return texts.index(wanted)
    if kind == "letter":
        letter = raw.strip().upper() if isinstance(raw, str) else ""
        index = ord(letter) - ord("A") if len(letter) == 1 else -1
    else:
        index = _whole_number(raw, repairs) - (kind == "one")
    if not 0 <= index < len(choices):
        raise Defect(f"label {shown(raw)} is out of range for {len(choices)} choices", "correct the label")
    return index


def _decode_loosely(raw: object, kind: str, choices: Sequence[Any]) -> int | None:
    """Read a label that is spelt freely; None: it is out of range, of another kind, or cannot be read."""
    if kind == "text":
        wanted = _folded(raw[0] if isinstance(raw, list) and len(raw) == 1 else raw)
        for texts in (choices, without_numbers(choices) or ()):
            plain = [_folded(text) for text in texts]
            if plain.count(wanted) == 1:
                return plain.index(wanted)
        return None
    spelling, index = parse_index(raw) or ("", -1)
    truth_fits = kind == "zero" and len(choices) == 2
    fits = {"number": kind in ("zero", "one"), "letter": kind == "letter", "truth": truth_fits}
    if not fits.get(spelling):
        return None
    index -= kind == "one"
    return index if 0 <= index < len(choices) else None


def _folded(value: object) -> object:
    """Fold case and white space of a text, to compare a label with choices; other values stay."""
    if not isinstance(value, str):
        return value
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split())


def _whole_number(raw: object, repairs: Repairs) -> int:
    """Read a whole number, written as a number or as text; True and 1.0 are neither."""
    if type(raw) is int:
        return raw
    digits = raw.strip() if isinstance(raw, str) else ""
    try:
        number = int(digits.replace("_", "x"))  # int() would read 1_000
    except ValueError:
        raise Defect(f"label {shown(raw)} is no whole number", "correct the label") from None
    if not digits.isascii() and not repairs.take("digits"):
        raise Defect(f"label {shown(raw)} is not in the digits 0 to 9", "correct the label")
    return number


# ---- the label of a row

# (row, 0-based position of the row, id, choices as the row has them) -> label
LabelSource = Callable[[Row, int, str, Sequence[Any]], int | None]


def label_source(fields: Fields, labels: Path | None, labelled: bool, repairs: Repairs) -> LabelSource:
    """Return a function that gives the label of a row, from the row or from a file of labels.

    The function raises :class:`Defect` where the row or its label cannot be used. ``labels`` is the file,
    where the task keeps labels apart (see :class:`metaxcr.data.spec.Files`).
    """
    if not labelled:
        return lambda row, position, identity, choices: None
    if labels is None:
        return lambda row, position, identity, choices: _label_in_row(row, fields, choices, repairs)
    by_id, entries = _is_keyed(labels), _read_label_file(labels, repairs)

    def from_file(row: Row, position: int, identity: str, choices: Sequence[Any]) -> int:
        key = identity if by_id else position
        if key not in entries:
            what = f"no label for this row: {labels} has {len(entries)} labels"
            if by_id:
                what = f"no label for id {shown(identity)} in {labels}"
            raise Defect(what, "fetch both files again")
        line, raw = entries[key]
        try:
            return decode_label(raw.strip(), fields.label_kind, choices, repairs)
        except Defect as defect:  # the fault is in the label file, not in the row
            raise Defect(defect.what, defect.fix, f"{labels}:{line}") from None

    return from_file


def check_length(data: Path, labels: Path, rows: int) -> None:
    """Refuse a label file with another number of labels than the data file has rows."""
    count = len(_read_label_file(labels, Repairs()))
    if count != rows:
        fix = f"fetch {labels.name} and {data.name} again"
        raise UserError(f"{count} labels for {rows} rows", str(labels), fix)


def keys_of_choices(row: Row, fields: Fields, n_choices: int) -> Sequence[object]:
    """Return the keys of the choices, without those of choices that were left blank."""
    if isinstance(fields.choices, list) and fields.choice_keys is None:
        return fields.choices[:n_choices]
    name = fields.choice_keys or fields.choices
    keys = _list_in(row, fields, name)
    if not isinstance(keys, list):
        raise Defect(f"'{name}' is no list of keys", "write a list")
    if fields.choice_keys is None:
        keys = [choice.get(fields.choice_key) if isinstance(choice, Mapping) else None for choice in keys]
    if len(keys) < n_choices or (len(keys) > n_choices and not fields.blank_choices):
        raise Defect(f"{len(keys)} keys for {n_choices} choices", "correct the row")
    return keys[:n_choices]


def _list_in(row: Row, fields: Fields, name: str | list[str]) -> Any:
    """Return what should be a list: of choices that are objects, or of keys."""
    found = value_of(row, name) if isinstance(name, str) else None
    if fields.choice_cell is not None and isinstance(found, str):
        return cut_cell(found, fields.choice_cell)
    return found


def _label_in_row(row: Row, fields: Fields, choices: Sequence[Any], repairs: Repairs) -> int:
    if fields.label_kind == "first":
        return 0
    if (flag := fields.choice_flag) is not None:
        objects = _list_in(row, fields, fields.choices)
        if not isinstance(objects, list) or not all(isinstance(choice, Mapping) for choice in objects):
            raise Defect(f"'{fields.choices}' is no list of objects", f"write objects with '{flag}'")
        return _marked([choice.get(flag) for choice in objects][: len(choices)])
    if fields.label is None:
        raise Defect("the task declares no label field", "add fields.label to the task")
    keys = keys_of_choices(row, fields, len(choices)) if fields.label_kind == "key" else ()
    return decode_label(value_of(row, fields.label), fields.label_kind, choices, repairs, keys)


def _is_keyed(labels: Path) -> bool:
    return labels.suffix == ".csv"


def _read_label_file(file: Path, repairs: Repairs) -> dict[str | int, tuple[int, str]]:
    """Read a label file: id, or position of the row where it holds one label a line -> line and label."""
    if not _is_keyed(file):
        return dict(enumerate(strict(file, lines_of(file, repairs))))
    entries: dict[str | int, tuple[int, str]] = {}
    for line, row in strict(file, read_csv(file, ("id", "label"), repairs)):
        identity = row["id"]
        if identity in entries:
            what = f"id {shown(identity)} is also on line {entries[identity][0]}"
            raise UserError(what, f"{file}:{line}", "remove one of them")
        entries[identity] = (line, row["label"])
    return entries
