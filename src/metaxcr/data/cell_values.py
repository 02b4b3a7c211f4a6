"""How people write choices and labels into a cell: lists, numbers before choices, spellings of labels."""

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from metaxcr.data.rows import Defect, shown
from metaxcr.parse import json_value, literal_value

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
_TRUE = frozenset({"true", "yes", "t", "y", "1", "1.0", "correct", "right"})
_FALSE = frozenset({"false", "no", "f", "n", "0", "0.0", "", "incorrect", "wrong"})
_MISSING = frozenset({"", "-", "?", "-1", "-1.0", "null", "none", "nan", "n/a", "na", "unknown", "_"})
_WORD_AND_NUMBER = re.compile(r"(?:[^\W\d_]{2,}[\s_:.#-]*)?(\d{1,3})(?:\.0+)?")
_WORD_AND_LETTER = re.compile(r"(?:[^\W\d_]{2,}[\s_:.#-]+)?[(\[]?([^\W\d_])")


def cut_cell(cell: str, how: str) -> Any:
    """Cut a text that holds all choices, in ``lines`` or as ``json`` (or Python) writes a list."""
    if how == "lines":
        lines = [_NUMBER.sub("", line.strip()) for line in cell.split("\n")]
        return [line for line in lines if line]
    try:
        return json_value(cell)
    except json.JSONDecodeError:
        pass  # the list may be written as Python does
    except ValueError as error:
        raise Defect(f"{shown(cell[:40])} is no list: {error}", "write a list as JSON does") from None
    try:
        return literal_value(cell)
    except ValueError:
        raise Defect(f"{shown(cell[:40])} is no list", "write a list as JSON does") from None


def without_numbers(choices: Sequence[Any]) -> list[str] | None:
    """Remove the number or letter of each choice, as in ``A) yes``, ``B) no``.

    None: the choices are not all numbered, or do not count up from the first one.
    """
    marks = [_MARK.match(choice) if isinstance(choice, str) else None for choice in choices]
    if len(marks) < 2 or not all(marks):
        return None
    numbers = [mark[1].casefold() for mark in marks if mark]
    expected = range(len(numbers))
    if not (
        numbers in ([str(n) for n in expected], [str(n + 1) for n in expected])
        or tuple(numbers) == _ROMAN[: len(numbers)]
        or [letter_index(number) for number in numbers] == [*expected]
    ):
        return None
    return [choice[mark.end() :] for choice, mark in zip(choices, marks, strict=True) if mark]


def carries_number(choice: object) -> bool:
    """Tell whether a choice begins with a number or letter such as ``2.`` or ``B)``."""
    mark = _MARK.match(choice) if isinstance(choice, str) else None
    return mark is not None and (mark[1].isdecimal() or letter_index(mark[1]) is not None)


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
    if isinstance(raw, bool):
        return "truth", int(raw)
    if isinstance(raw, int):
        return "number", raw
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


def choice_index(raw: object, kind: str, n_choices: int) -> int | None:
    """Read a freely spelt label as the index of a choice; None: it is out of range or of another kind."""
    found = parse_index(raw)
    if found is None or kind not in ("zero", "one", "letter"):
        return None
    spelling, index = found
    if (spelling == "letter") != (kind == "letter"):
        return None
    if spelling == "truth" and (kind != "zero" or n_choices != 2):
        return None
    index -= kind == "one"
    return index if 0 <= index < n_choices else None


def is_missing(raw: object) -> bool:
    """Tell whether a row hides its label: null, blank, -1 and their kind."""
    if raw is None or raw == -1 or (isinstance(raw, float) and math.isnan(raw)):
        return True
    return isinstance(raw, str) and raw.strip().casefold() in _MISSING


def marked_index(flags: Sequence[object]) -> int | None:
    """Find the one choice that is marked as right: by truth values, words for them, or the highest score.

    None: no choice is marked. Marks that cannot be read, or several marked choices, are a Defect.
    """
    scores = [_score(flag) for flag in flags]
    known = [score for score in scores if score is not None]
    if len(known) < len(scores):
        raise Defect("a choice does not say whether it is the right one", "mark every choice true or false")
    best = max(known, default=0.0)
    if best == min(known, default=0.0) and (best == 0 or len(known) < 2):
        return None
    if known.count(best) > 1:
        raise Defect(f"{known.count(best)} choices are marked as right", "mark one choice of the row")
    return known.index(best)


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


def plain_text(value: object) -> object:
    """Fold case and white space of a text, to compare a label with choices; other values stay."""
    if not isinstance(value, str):
        return value
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split())
