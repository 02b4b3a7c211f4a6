"""What the name of a column says about its role; the known names are in ``column_names.yaml``."""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from metaxcr.parse import read_yaml

_NUMBERED = re.compile(r"(.*?)[ _.-]?(\d{1,2})")
_LETTERED = re.compile(r"(.*?)[ _.-]?([a-j])")


@cache
def _names() -> dict[str, list[str]]:
    names: dict[str, list[str]] = read_yaml(Path(__file__).with_suffix(".yaml"))
    return names


@cache
def vocabulary(role: str) -> dict[str, int]:
    """Return the known names of a role in comparable form, with their rank: the most telling is 0."""
    ranks: dict[str, int] = {}
    for name in _names()[role]:
        ranks.setdefault(comparable(name), len(ranks))
    return ranks


def comparable(name: str) -> str:
    """Fold case and digits of the last part of a name, and drop its blanks, hyphens and underscores."""
    return re.sub(r"[\s_\u200c-]", "", _folded(name).rpartition(".")[2])


def words_of(name: str) -> set[str]:
    """Return the words in the last part of a column's name, such as ``correctAnswer_2``, without numbers."""
    last = re.sub(r"(?<=[a-zà-ž])(?=[A-ZÀ-Ž])", " ", name.rpartition(".")[2])
    return {*re.split(r"[\s_\u200c\d.-]+", unicodedata.normalize("NFC", last).casefold())} - {""}


def has_word(name: str, role: str) -> bool:
    """Tell whether a word of a column's name is in the vocabulary of a role."""
    return not words_of(name).isdisjoint(vocabulary(role))


def has_role(name: str, role: str) -> bool:
    """Tell whether a column's name is in the vocabulary of a role."""
    return comparable(name) in vocabulary(role)


def known(role: str, names: Iterable[str]) -> list[str]:
    """List the names that the vocabulary of a role contains, the most telling first."""
    ranks = vocabulary(role)
    return sorted((name for name in names if comparable(name) in ranks), key=lambda n: ranks[comparable(n)])


def numbered_columns(names: Iterable[str]) -> dict[str, list[str]]:
    """Find columns that are numbered or lettered, as choices often are: stem -> two or more columns in order.

    They count up from 0, 1 or A without a gap; the stem has the dotted path before it.
    """
    found: dict[tuple[str, str], dict[int, str]] = {}
    for name in names:
        path, dot, last = _folded(name).rpartition(".")
        for kind, pattern in (("number", _NUMBERED), ("letter", _LETTERED)):
            if match := pattern.fullmatch(last):
                number = int(match[2]) if kind == "number" else ord(match[2]) - ord("a") + 1
                stem = path + dot + comparable(match[1])
                found.setdefault((kind, stem), {}).setdefault(number, name)
                break
    groups: dict[str, list[str]] = {}
    for (_, stem), members in found.items():
        numbers = sorted(members)
        if len(numbers) > 1 and numbers[0] in (0, 1) and numbers[-1] - numbers[0] == len(numbers) - 1:
            groups.setdefault(stem, [members[number] for number in numbers])
    return groups


def question_kind(word: str) -> str | None:
    """Return ``cause`` or ``effect`` for a word of some language, or a sentence, that means it; else None."""
    text = unicodedata.normalize("NFC", word).strip().casefold().rstrip(" ?.？؟:")
    return next((kind for kind in ("cause", "effect") if text in _names()[kind]), None)


def _folded(name: str) -> str:
    """Fold case and write digits of any script as 0 to 9."""
    folded = unicodedata.normalize("NFC", name).strip().casefold()
    return "".join(str(unicodedata.digit(char)) if char.isdigit() else char for char in folded)
