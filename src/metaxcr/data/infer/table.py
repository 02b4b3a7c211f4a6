"""A file whose fields are being told apart, and what the user said about them."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metaxcr.data.infer.column_names import ID, LANGUAGE, known, plain, words_of
from metaxcr.data.languages import Tag, is_language, language_named
from metaxcr.data.rows import Defect, Row, value_of
from metaxcr.errors import UserError

ROLES = ("premise", "question", "choices", "label", "id", "cause", "effect", "language", "ignore")
KINDS = ("zero", "one", "letter", "key", "text", "flag", "none")
_MANY_VALUES = 200  # different values, from which a column is none of languages
_ENGLISH = frozenset(
    {"no", "is", "it", "to", "so", "he", "or", "id", "as", "an", "in", "my", "be", "am", "yes"}
)
_SPLITS = frozenset({"train", "training", "dev", "val", "valid", "validation", "test", "testing", "eval"})
_LONG = 25  # characters on average, from which texts are long


@dataclass(frozen=True)
class ColumnHints:
    """What the user said about a file, where the guess does not do.

    Attributes:
        roles: Role of :data:`ROLES` -> fields; for ``cause`` and ``effect`` the words.
        labels: One of :data:`KINDS`.
        relation: As in a task's declaration.
        columns: Names of the columns of a file without a head line.
        where: Field -> value of the rows that are wanted.
        skip_bad: Rows that cannot be used do not stand in the way.
        repairs: Declared steps that are wanted.
    """

    roles: dict[str, list[str]] = field(default_factory=dict)
    labels: str | None = None
    relation: str | None = None
    columns: tuple[str, ...] = ()
    where: dict[str, str] = field(default_factory=dict)
    skip_bad: bool = False
    repairs: tuple[str, ...] = ()


class NotUnderstood(UserError):
    """Some field cannot be told; options that name the fields may help."""


class Table:
    """Rows, and what is known of their fields so far.

    Args:
        rows: (line, row).
        names: Of all fields, nested ones dotted.
        asked: What the user said.
        path: The file, for messages.

    Attributes:
        left: Fields that mean nothing yet.
        fields: What is known, as :class:`metaxcr.data.spec.Fields` declares it.
        repairs: Declared repairs that the file needs.
        why: Role -> what was found, in words.
    """

    def __init__(
        self, rows: Sequence[tuple[int, Row]], names: Sequence[str], asked: ColumnHints, path: Path
    ) -> None:
        self.rows, self.names, self.asked, self.path = list(rows), list(names), asked, path
        self.left = [name for name in names if name not in asked.roles.get("ignore", [])]
        self.fields: dict[str, Any] = {}
        self.repairs: list[dict[str, Any]] = []
        self.why: dict[str, str] = {}

    def values(self, name: str) -> list[Any]:
        """List what all rows hold in a field."""
        return [value_at(row, name) for _, row in self.rows]

    def texts(self, name: str) -> list[str]:
        """List the texts that rows hold in a field, without blank ones."""
        return [value for value in self.values(name) if isinstance(value, str) and value.strip()]

    def take(self, *names: str) -> None:
        """Take fields out of what is left."""
        self.left = [name for name in self.left if name not in names]

    def only(self, name: str, value: str) -> None:
        """Keep only the rows with a value, and declare so."""
        self.fields.setdefault("where", {})[name] = value
        self.rows = [(line, row) for line, row in self.rows if str(value_at(row, name)).strip() == value]
        self.take(name)

    def option(self, role: str, *names: str) -> str:
        """Return the option that gives fields a role, quoted for a shell."""
        return shlex.join(["--map", f"{role}={','.join(names)}"])

    def error(self, what: str, fix: str) -> NotUnderstood:
        """Return the message that something was not found: what is there, and what to say.

        Args:
            what: What is wrong.
            fix: The option to give.
        """
        there = ", ".join(f"'{name}'" for name in self.names)
        return NotUnderstood(f"{what}; the fields are {there}", str(self.path), f"say {fix}")


def only_language(table: Table, language: Tag) -> dict[str, str]:
    """Keep the rows of the language, where the rows say which they are in.

    Args:
        table: The file.
        language: The one that is wanted.

    Returns:
        Language -> how the file spells it, where that is no code.

    Raises:
        UserError: No row is in the language, or which rows are cannot be told.
    """
    for name, value in table.asked.where.items():
        if name not in table.names:
            raise table.error(f"there is no field '{name}'", "--where FIELD=VALUE")
        before = Counter(str(v).strip() for v in table.values(name))
        if not before[value]:
            there = ", ".join(str(v) for v in list(before)[:20])
            raise UserError(f"no row has {name}={value}", str(table.path), f"'{name}' has {there}")
        table.only(name, value)
        table.why["rows"] = f"{name} = {value} ({before[value]} of {before.total()} rows)"
    asked = table.asked.roles.get("language", [])
    codes: dict[str, str] = {}
    for name in asked or [*table.left]:
        if asked or _is_of_languages(table, name):
            codes |= _rows_in(table, name, language, asked=bool(asked))
    return codes


def _is_of_languages(table: Table, name: str) -> bool:
    """Tell whether a field says in which language a row is, by its name or by all of its values."""
    if any(name in names for names in table.asked.roles.values()):
        return False
    different = {value.strip() for value in table.texts(name)}
    if plain(name) in map(plain, LANGUAGE) or set(words_of(name)) & _LANGUAGE_WORDS:
        return 0 < len(set(map(str, table.values(name)))) <= _MANY_VALUES
    if not 1 < len(different) <= _MANY_VALUES or len(different) > 0.5 * len(table.rows):
        return False
    if {value.casefold() for value in different} <= _ENGLISH:
        return False
    return all(is_language(value) for value in different)


_LANGUAGE_WORDS = frozenset({"language", "lang", "dialect", "locale"})


def _rows_in(table: Table, name: str, language: Tag, *, asked: bool) -> dict[str, str]:
    """Keep the rows that a field says to be in the language; return how it spells it."""
    counts = Counter(str(value).strip() for value in table.values(name) if not is_blank(value))
    named = {value: found for value in counts if (found := language_named(value))}
    if not named:
        if len(counts) == 1 and not asked:
            return {}  # says nothing of languages, and tells no rows apart
        listed = ", ".join(list(counts)[:20])
        first = counts.most_common(1)[0][0]
        option = shlex.join(["--where", f"{name}={first}"])
        raise UserError(
            f"'{name}' has {listed}, and which of them is '{language.code}' is not known",
            str(table.path),
            f"name the rows that are wanted with {option}, or take all with {table.option('ignore', name)}",
        )
    mine = [value for value, (code, _) in named.items() if code == language.code]
    given = language.given.casefold().replace("_", "-")
    mine = [value for value in mine if value.casefold().replace("_", "-") == given] or mine
    if not mine or len({named[value][1] for value in mine}) > 1:
        there = ", ".join(sorted(counts)[:20])
        what = f"{' and '.join(sorted(mine))} are both" if mine else "no row is"
        one = sorted(mine)[0] if mine else None
        fix = f"name one: {shlex.join(['--where', f'{name}={one}'])}" if one else "write --language as there"
        whole = f", or take all rows with {table.option('ignore', name)}"
        raise UserError(
            f"{what} in '{language.code}'", str(table.path), f"'{name}' has {there}; {fix}{whole}"
        )
    table.take(name)
    total = len(table.rows)
    if len(counts) == 1 and counts.total() == total:
        return {}
    table.fields.setdefault("where", {})[name] = "{language}"
    table.rows = [(n, row) for n, row in table.rows if str(value_at(row, name)).strip() in mine]
    table.why["language"] = f"{name} = {' or '.join(mine)} ({len(table.rows)} of {total} rows)"
    return {} if mine == [language.code] or len(mine) > 1 else {language.code: mine[0]}


def warnings_of(table: Table) -> list[str]:
    """Name the fields that are not used although they hold long or varied text, or tell splits apart.

    Args:
        table: The file, with all that was understood of it.
    """
    context = table.fields.get("context")
    used = [context] if isinstance(context, str) else context or []
    question = table.fields.get("question")
    told = []
    for name in table.left:
        ignore = table.option("ignore", name)
        values = {str(value).strip().casefold() for value in table.values(name)}
        if len(values) > 1 and values <= _SPLITS:
            where = shlex.join(["--where", f"{name}={sorted(values)[0]}"])
            told.append(
                f"'{name}' has {', '.join(sorted(values))}, and all rows are read as one split: choose "
                f"rows with {where}, or say {ignore}"
            )
        elif _holds_text(table, name, [*used, *([question] if question else [])]):
            told.append(
                f"'{name}' holds text and is not used: if it is part of the context say "
                f"{table.option('premise', *used, name)}, otherwise {ignore}"
            )
    return told


def _holds_text(table: Table, name: str, used: Sequence[str]) -> bool:
    """Tell whether a field holds long or varied text that no used field holds, too."""
    rows = [(_joined(value_at(row, name)), row) for _, row in table.rows]
    rows = [(text, row) for text, row in rows if text]
    if len(rows) < 0.1 * len(table.rows) or plain(name) in map(plain, ID):
        return False
    texts = [text for text, _ in rows]
    worded = [t for t in texts if (" " in t or not t.isascii()) and not t.startswith(("http://", "https://"))]
    if len(worded) < 0.5 * len(texts):
        return False
    inside = sum(any(text in _joined(value_at(row, other)) for other in used) for text, row in rows)
    if inside >= 0.9 * len(rows):
        return False
    different = len(set(texts))
    long = sum(map(len, texts)) / len(texts) >= _LONG
    return (long and different > 1) or different > max(5, 0.3 * len(texts))


def _joined(value: object) -> str:
    if isinstance(value, list):
        return " ".join(part.strip() for part in value if isinstance(part, str))
    return value.strip() if isinstance(value, str) else ""


def value_at(row: Row, name: str) -> Any:
    """Look a field up; None where there is none."""
    try:
        return value_of(row, name)
    except Defect:
        return None


def is_blank(value: object) -> bool:
    """Tell whether a value is missing or nothing but blanks."""
    return value is None or not str(value).strip()


def fields_known(table: Table, names: Sequence[str], role: tuple[str, ...]) -> list[str]:
    """List the fields that a table of names knows, without those that have a role already."""
    taken = {name for listed in table.asked.roles.values() for name in listed}
    return [name for name in known(role, names) if name not in taken]
