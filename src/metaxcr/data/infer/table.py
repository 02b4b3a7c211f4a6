"""A user's file as a table: columns, their values, and the known names of columns (``column_names.yaml``)."""

import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from metaxcr.data.languages import Tag, is_language, language_named
from metaxcr.data.rows import Row, value_at
from metaxcr.errors import UserError
from metaxcr.parse import read_yaml

# ---- names of columns

_NUMBERED = re.compile(r"(.*?)[ _.-]?(\d{1,2})")
_LETTERED = re.compile(r"(.*?)[ _.-]?([a-j])")


@cache
def _names() -> dict[str, list[str]]:
    names: dict[str, list[str]] = read_yaml(Path(__file__).with_name("column_names.yaml"))
    return names


@cache
def vocabulary(role: str) -> dict[str, int]:
    """Return the known names of a role in comparable form, with their rank: the most telling is 0."""
    return {name: rank for rank, name in enumerate(dict.fromkeys(map(comparable, _names()[role])))}


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
        if match := _NUMBERED.fullmatch(last):
            kind, number = "number", int(match[2])
        elif match := _LETTERED.fullmatch(last):
            kind, number = "letter", ord(match[2]) - ord("a") + 1
        else:
            continue
        found.setdefault((kind, path + dot + comparable(match[1])), {}).setdefault(number, name)
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


# ---- what the user said, and what is known

ROLES = ("premise", "question", "choices", "label", "id", "cause", "effect", "language", "ignore")
LABEL_KINDS = ("zero", "one", "letter", "key", "text", "flag", "none")


@dataclass(frozen=True)
class ColumnHints:
    """What the user said about a file, where the guess does not do."""

    # a role of ROLES -> columns; for cause and effect, the words that mean it
    roles: dict[str, list[str]] = field(default_factory=dict)
    labels: str | None = None  # how they are spelt, one of LABEL_KINDS
    relation: str | None = None  # as in a task's declaration
    columns: tuple[str, ...] = ()  # their names, for a file without a header line
    where: dict[str, str] = field(default_factory=dict)  # column -> value of the rows to keep
    skip_bad: bool = False  # leave out rows that cannot be used
    repairs: tuple[str, ...] = ()  # steps to declare


class NotUnderstood(UserError):
    """The role of some column is not known; options that name the columns may help."""

    def __init__(self, problem: str, table: "Table", fix: str) -> None:
        columns = ", ".join(f"'{name}'" for name in table.names)
        super().__init__(f"{problem}; the columns are {columns}", str(table.path), f"say {fix}")
        self.problem = problem


class Table:
    """Rows, and what was found out about them so far, in the terms of a task's declaration."""

    def __init__(self, rows: Sequence[tuple[int, Row]], hints: ColumnHints, path: Path) -> None:
        self.rows, self.hints, self.path = list(rows), hints, path
        self.names = columns_of(row for _, row in rows)  # those of nested objects are dotted
        self.unused = [name for name in self.names if name not in hints.roles.get("ignore", [])]
        self.fields: dict[str, Any] = {}  # see metaxcr.data.spec.Fields
        self.choices: list[list[Any] | None] = []  # of each row; None where they cannot be used
        self.relation, self.phrasing, self.labelled = "none", dict[str, str](), False
        self.repairs: list[dict[str, Any]] = []
        self.codes: dict[str, str] = {}  # language -> how the file spells it, where that is not its code
        self.reasons: dict[str, str] = {}  # role -> what was found, in words
        self.warnings: list[str] = []  # what the user should check
        self.other_languages = 0  # number of rows that are not read

    def values(self, name: str) -> list[Any]:
        """List what all rows hold in a column."""
        return [value_at(row, name) for _, row in self.rows]

    def texts(self, name: str) -> list[str]:
        """List the texts in a column that are not blank."""
        return [value for value in self.values(name) if isinstance(value, str) and value.strip()]

    def use(self, *names: str) -> None:
        """Mark columns as used."""
        self.unused = [name for name in self.unused if name not in names]

    def option(self, role: str, *names: str) -> str:
        """Return the option that gives columns a role, quoted for a shell."""
        return shlex.join(["--map", f"{role}={','.join(names)}"])


def columns_of(rows: Iterable[Row]) -> list[str]:
    """List the columns of all rows in the order of their first occurrence; nested ones are dotted."""
    names: dict[str, None] = {}

    def add(row: Row, prefix: str, depth: int) -> None:
        for name, value in row.items():
            if isinstance(value, dict) and depth < 3 and value and not maps_choices(value):
                add(value, f"{prefix}{name}.", depth + 1)
            else:
                names[f"{prefix}{name}"] = None

    for row in rows:
        add(row, "", 1)
    return list(names)


def maps_choices(value: object) -> bool:
    """Tell whether a value is an object from choices to marks, such as ``{"A dog.": 1, "A cat.": 0}``."""
    if not isinstance(value, dict) or len(value) < 2 or not all(v in (0, 1) for v in value.values()):
        return False
    return any(" " in key.strip() for key in value)


def is_blank(value: object) -> bool:
    """Tell whether a value is missing or only white space."""
    return value is None or not str(value).strip()


# ---- which rows are read: --where, and a column that names languages

_MAX_LANGUAGES = 200  # a column with more different values does not name languages
_ENGLISH = {"no", "is", "it", "to", "so", "he", "or", "id", "as", "an", "in", "my", "be", "am", "yes"}
_LANGUAGE_WORDS = {"language", "lang", "dialect", "locale"}


def select_rows(table: Table, language: Tag) -> None:
    """Keep the rows that the user wants, and of these the rows in the language, where a column names it."""
    total = len(table.rows)
    for name, value in table.hints.where.items():
        if name not in table.names:
            raise NotUnderstood(f"there is no column '{name}'", table, "--where COLUMN=VALUE")
        counts = Counter(str(v).strip() for v in table.values(name))
        if not counts[value]:
            present = ", ".join(list(counts)[:20])
            raise UserError(f"no row has {name}={value}", str(table.path), f"'{name}' has {present}")
        _keep_rows(table, name, value, [value])
        table.reasons["rows"] = f"{name} = {value} ({counts[value]} of {counts.total()} rows)"
    named = table.hints.roles.get("language", [])
    for name in named or list(table.unused):
        if named or _names_languages(table, name):
            _keep_language(table, name, language, required=bool(named))
    table.other_languages = total - len(table.rows)


def _keep_rows(table: Table, name: str, declared: str, values: Sequence[str]) -> None:
    """Keep the rows with one of these values in a column, and declare so."""
    table.fields.setdefault("where", {})[name] = declared
    table.rows = [(line, row) for line, row in table.rows if str(value_at(row, name)).strip() in values]
    table.use(name)


def _names_languages(table: Table, name: str) -> bool:
    """Tell whether a column says in which language a row is, by its name or by all of its values."""
    if any(name in names for names in table.hints.roles.values()):
        return False
    if has_role(name, "language") or words_of(name) & _LANGUAGE_WORDS:
        return 0 < len(set(map(str, table.values(name)))) <= _MAX_LANGUAGES
    different = {value.strip() for value in table.texts(name)}
    if not 1 < len(different) <= _MAX_LANGUAGES or len(different) > 0.5 * len(table.rows):
        return False
    return not {value.casefold() for value in different} <= _ENGLISH and all(map(is_language, different))


def _keep_language(table: Table, name: str, language: Tag, *, required: bool) -> None:
    """Keep the rows that a column says to be in the language, and note how it spells the language."""
    counts = Counter(str(value).strip() for value in table.values(name) if not is_blank(value))
    named = {value: found for value in counts if (found := language_named(value))}
    take_all = f"or take all rows with {table.option('ignore', name)}"
    if not named:
        if len(counts) < 2 and not required:
            return  # says nothing about languages and does not tell rows apart
        present = ", ".join(list(counts)[:20]) or "no value"
        first = max(counts, key=counts.__getitem__, default="VALUE")
        what = f"'{name}' has {present}, and it is not known which is '{language.code}'"
        fix = f"name the rows to read with {shlex.join(['--where', f'{name}={first}'])}, {take_all}"
        raise UserError(what, str(table.path), fix)
    spellings = [value for value, (code, _) in named.items() if code == language.code]
    given = language.given.casefold().replace("_", "-")
    spellings = [v for v in spellings if v.casefold().replace("_", "-") == given] or spellings
    if not spellings or len({named[value][1] for value in spellings}) > 1:
        what, fix = f"no row is in '{language.code}'", "write --language as there"
        if spellings:
            what = f"{' and '.join(sorted(spellings))} are both in '{language.code}'"
            fix = f"name one: {shlex.join(['--where', f'{name}={min(spellings)}'])}"
        present = ", ".join(sorted(counts)[:20])
        raise UserError(what, str(table.path), f"'{name}' has {present}; {fix}, {take_all}")
    table.use(name)
    total = len(table.rows)
    if len(counts) == 1 and counts.total() == total:
        return
    _keep_rows(table, name, "{language}", spellings)
    table.reasons["language"] = f"{name} = {' or '.join(spellings)} ({len(table.rows)} of {total} rows)"
    if len(spellings) == 1 and spellings != [language.code]:
        table.codes[language.code] = spellings[0]
