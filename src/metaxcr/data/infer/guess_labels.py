"""Which column holds the labels, and how they are spelt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from metaxcr.data.infer.guess_choices import MOST, or_none
from metaxcr.data.infer.table import NotUnderstood, Table, has_word, known, words_of
from metaxcr.data.labels import decode_label, is_missing, keys_of_choices, parse_index
from metaxcr.data.rows import GENERAL, STEPS, Repairs, shown, value_at
from metaxcr.data.spec import Fields
from metaxcr.errors import UserError

_SEVERAL = 10  # rows from which a few odd labels are left to the reader
_MARKS = {"0", "1", "0.0", "1.0", "True", "False", "'0'", "'1'"}
_COUNTERS = {
    "number", "count", "id", "idx", "index", "fold", "year", "length", "changed", "num", "no", "annotators",
    "group", "part", "level", "version", "ind", "split", "hop",
}  # fmt: skip


class AmbiguousLabels(UserError):
    """The labels of a file fit two readings."""


@dataclass(frozen=True, slots=True)
class RowLabel:
    """The label of one row beside what it may refer to: the choices, their keys, and their columns."""

    line: int
    raw: object
    choices: Sequence[Any]
    keys: Sequence[object] = ()
    columns: Sequence[str] = ()

    def index(self, kind: str, *, loosely: bool = True) -> int | None:
        """Return the choice that the label names, read as a kind; None where it names none."""
        repairs = Repairs(STEPS if loosely else GENERAL)
        return or_none(decode_label, self.raw, kind, self.choices, repairs, self.keys)


def find_label(table: Table) -> bool:
    """Find the labels and how they are spelt; False: there are none, or all are hidden."""
    fields, choices, reasons = table.fields, table.fields["choices"], table.reasons
    right_is_first = fields.get("label_kind") == "first"
    if table.hints.labels == "none":
        fields.pop("choice_flag", None)
        table.use(*known("label", table.unused))
        apart = "the right answer is a column of its own, but labels are not wanted"
        reasons["label"] = apart if right_is_first else "no labels, as you say"
        return False
    by_choices = None
    if right_is_first:
        by_choices = f"{choices[0]} is the right one; the order of the choices is drawn"
    elif fields.get("choice_cell") == "mapping":
        fields.update(label=choices, label_kind="flag")
        by_choices = f"{choices} marks the right one; the order of the choices is drawn"
    elif "choice_flag" in fields:
        fields["label_kind"] = "flag"
        by_choices = f"{choices}: {fields['choice_flag']} marks the right one"
    if by_choices is not None:
        reasons["label"] = by_choices
        return True
    names = table.hints.roles.get("label") or _columns_named_like_labels(table)
    labels = {name: rows for name in names if (rows := _labels(table, name))}
    for name, rows in labels.items():
        given = table.hints.labels
        found = (given, f"{given}, as you say") if given else label_kind(rows, f"{table.path}, '{name}'")
        if found is not None:
            table.use(name)
            fields.update(label=name, label_kind=found[0])
            reasons["label"] = f"{name}, {found[1]}"
            if _needs_repair(rows, found[0], given=given is not None):
                table.repairs.append({"step": "label-spelling"})
            return True
    if labels:
        raise _not_understood(table, *next(iter(labels.items())))
    suspects = [] if names else [name for name in table.unused if _may_be_labels(table, name)]
    if suspects:
        fix = f"{table.option('label', suspects[0])}, or --labels none"
        raise NotUnderstood(f"'{suspects[0]}' looks like labels", table, fix)
    table.use(*names)
    reasons["label"] = f"no labels: {names[0]} is null or -1 in every row" if names else "no labels"
    return False


def _columns_named_like_labels(table: Table) -> list[str]:
    """List the columns that are named like labels, the most telling first; else those that mark a choice."""
    names = known("label", table.unused)
    names += [name for name in table.unused if has_word(name, "right_words") and name not in names]
    return names or [
        name
        for name in table.unused
        if all(isinstance(v, list) and {*map(repr, v)} <= _MARKS for v in table.values(name))
        and _names_one(table, name)
    ]


def _names_one(table: Table, name: str) -> bool:
    """Tell whether a column holds lists of flags or scores, of which one choice has the highest."""
    rows = _labels(table, name)
    return bool(rows) and _share(rows, "flag") >= MOST


def _labels(table: Table, name: str) -> list[RowLabel]:
    """Collect the labels in a column that are not hidden."""
    fields = Fields.model_validate(table.fields)
    columns = fields.choices if isinstance(fields.choices, list) else ()
    have_keys = fields.choice_keys is not None or fields.choice_key is not None
    labels = []
    for (line, row), choices in zip(table.rows, table.choices, strict=True):
        if choices is None:
            continue  # the reader names the row
        raw = value_at(row, name)
        keys = or_none(keys_of_choices, row, fields, len(choices)) or () if have_keys else ()
        if not is_missing(raw) or raw in keys:
            labels.append(RowLabel(line, raw, choices, keys, columns))
    return labels


def _may_be_labels(table: Table, name: str) -> bool:
    """Tell whether a column with an unknown name may be the labels: a few small numbers, over and over."""
    values = table.values(name)
    if values and isinstance(values[0], list) and _names_one(table, name):
        return True
    if len(values) <= 5 or words_of(name) & _COUNTERS:
        return False
    indices = [parse_index(value) for value in values]
    if not all(indices):
        return False
    different, choices = {index[1] for index in indices if index}, table.fields["choices"]
    highest = len(choices) if isinstance(choices, list) else 4
    return len(different) > 1 and min(different) >= 0 and max(different) <= highest


def _not_understood(table: Table, name: str, rows: list[RowLabel]) -> UserError:
    """Return the message about labels of which too many fit no spelling; it names the first odd one."""
    best = max(("zero", "one", "letter", "text"), key=lambda kind: _share(rows, kind))
    odd = next((row for row in rows if row.index(best) is None), rows[0])
    others = ", ".join(f"'{left}'" for left in table.unused if left != name)
    other = f", or name another column ({others}): --map label=COLUMN" if others else ""
    return UserError(
        f"'{name}' is {shown(odd.raw)} here: neither an index nor a letter, a key or the text of a choice",
        f"{table.path}:{odd.line}",
        f"say how it is spelt: --labels KIND{other}; --labels none if there are no labels",
    )


# ---- spellings of labels


def label_kind(rows: Sequence[RowLabel], where: str) -> tuple[str, str] | None:
    """Return the ``label_kind`` of labels that are not missing, and the reason; None: these are no labels.

    Whole numbers within range are indices, whatever the choices say: "3" may well be the text of the second
    choice. A 0, or a label as high as the number of choices, shows whether they count from 0 or from 1. A few
    labels that fit nothing are left to the reader, which names them.
    """
    columns = [replace(row, keys=row.columns) for row in rows]
    for least in (1.0, MOST) if len(rows) >= _SEVERAL else (1.0,):  # what all fit, before what most fit
        if _share(rows, "key") >= least:
            return "key", "the key of a choice"
        if max(_share(rows, kind, loosely=False) for kind in ("zero", "one")) >= least:
            return _indices(rows, where, least)
        if _share(rows, "text") >= least:
            return "text", "the text of a choice"
        if _share(columns, "key") >= least:
            return "key", "the name of the choice's column"
        for kind, reason in (("letter", "letters"), ("flag", "a list that marks the right choice")):
            if _share(rows, kind) >= least:
                return kind, reason + _but(rows, kind)
        if found := _indices(rows, where, least):
            return found
    return None


def _indices(rows: Sequence[RowLabel], where: str, least: float) -> tuple[str, str] | None:
    kinds = [kind for kind in ("zero", "one") if _share(rows, kind) >= least]
    spelt = [found for row in rows if (found := parse_index(row.raw))]
    if len(kinds) > 1:
        what = f"the labels ({', '.join(map(str, sorted({n for _, n in spelt})))}) may count from 0 or from 1"
        raise AmbiguousLabels(what, where, "add --labels zero or --labels one")
    if not kinds:
        return None
    kind, but = kinds[0], _but(rows, kinds[0])
    if kind == "one":
        last = sum(row.index(kind) == len(row.choices) - 1 for row in rows)
        reason = f"counted from 1 (none is 0, {last} name the last choice{but})"
    elif any(spelling == "truth" for spelling, _ in spelt):
        reason = f"false is the first choice, true the second{but}"
    else:
        reason = f"counted from 0 ({sum(row.index(kind) == 0 for row in rows)} are 0{but})"
    return kind, reason


def _share(rows: Sequence[RowLabel], kind: str, *, loosely: bool = True) -> float:
    return sum(row.index(kind, loosely=loosely) is not None for row in rows) / len(rows)


def _needs_repair(rows: Sequence[RowLabel], kind: str, *, given: bool) -> bool:
    """Tell whether some labels of a kind are spelt freely (``1.0``, ``(b)``)."""
    if given and not _share(rows, kind):
        return kind in ("zero", "one", "letter", "text")
    if kind == "text" and not given:
        return _share(rows, kind, loosely=False) < 1
    return any(row.index(kind) != row.index(kind, loosely=False) for row in rows)


def _but(rows: Sequence[RowLabel], kind: str) -> str:
    odd = sum(row.index(kind) is None for row in rows)
    return f"; {odd} cannot be read" if odd else ""
