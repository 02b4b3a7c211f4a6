"""Which columns hold the choices and the labels, and how the labels are spelt."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from metaxcr.data.cell_values import cut_cell, is_missing, marked_index, parse_index, without_numbers
from metaxcr.data.infer.table import (
    NotUnderstood,
    Table,
    has_role,
    has_word,
    is_blank,
    known,
    maps_choices,
    numbered_columns,
    vocabulary,
    words_of,
)
from metaxcr.data.labels import decode_label, keys_of_choices
from metaxcr.data.readers import choices_of
from metaxcr.data.repairs import GENERAL, STEPS, Repairs
from metaxcr.data.rows import Defect, Row, shown
from metaxcr.data.spec import Fields
from metaxcr.data.unfold import value_at
from metaxcr.errors import UserError

Declared = dict[str, Any]  # keys of metaxcr.data.spec.Fields
_MOST = 0.9  # share of the rows that a layout must fit; the reader names the others
_SEVERAL = 10  # rows from which a few odd labels are left to the reader
_MARKS = {"0", "1", "0.0", "1.0", "True", "False", "'0'", "'1'"}
_COUNTERS = {
    "number", "count", "id", "idx", "index", "fold", "year", "length", "changed", "num", "no", "annotators",
    "group", "part", "level", "version", "ind", "split", "hop",
}  # fmt: skip


class AmbiguousLabels(UserError):
    """The labels of a file fit two readings."""


# ---- choices


def find_choices(names: Sequence[str], rows: Sequence[Row], given: Sequence[str] = ()) -> Declared | None:
    """Find the choices: a list, a list of objects, two lists, numbered columns, or one text with all of them.

    Returns the keys of :class:`metaxcr.data.spec.Fields` that describe them; None: nothing fits. ``given`` is
    what the user said with ``--map choices``: one column, or one for each choice.
    """
    found: Declared | None
    if len(given) > 1:
        found = _right_and_wrong(given, rows) or _one_column_each(list(given), rows)
    elif given:
        found = _in_one_column(given[0], names, rows)
    else:
        found = _in_known_columns(names, rows) or _in_unknown_columns(names, rows)
    if found is not None and _carry_numbers(found, rows):
        found["choice_numbers"] = True
    return found


def columns_of_choices(declared: Declared, names: Sequence[str]) -> set[str]:
    """List the columns that the choices take, so that nothing else is looked for in them."""
    listed = declared["choices"]
    if isinstance(listed, list):
        return set(listed)
    parents = {listed, listed.rpartition(".")[0] if "choice_keys" in declared else listed}
    return {name for name in names if name in parents or any(name.startswith(f"{p}.") for p in parents)}


def _in_known_columns(names: Sequence[str], rows: Sequence[Row]) -> Declared | None:
    right_and_wrong = _right_and_wrong(names, rows)
    for name in known("choices", names):
        only_wrong = right_and_wrong is not None and has_word(name, "wrong_words")
        if not only_wrong and (found := _in_one_column(name, names, rows)) is not None:
            return found
    for name in names:  # choices: {text: [...], label: [...]}
        parent, _, last = name.rpartition(".")
        named = has_role(last, "choice_text") and has_role(parent, "choices")
        if named and (found := _in_one_column(parent, names, rows)) is not None:
            return found
    if right_and_wrong is not None:
        return right_and_wrong
    numbered = _numbered_texts(names, rows)
    for exact in (True, False):  # "answer", then "mc answer"
        for stem in vocabulary("choice_stems"):
            for key, members in numbered.items():
                last = key.rpartition(".")[2]
                if last == stem or (not exact and len(stem) > 3 and last.endswith(stem)):
                    return _one_column_each(members, rows)
    return None


def _in_unknown_columns(names: Sequence[str], rows: Sequence[Row]) -> Declared | None:
    """Take the only column that holds lists, or the only numbered columns."""
    found = [_in_one_column(name, names, rows) for name in names]
    lists = [one for one in found if one is not None and one.get("choice_cell") in (None, "mapping")]
    if len(lists) == 1:
        return lists[0]
    numbered = _numbered_texts(names, rows)
    contexts = vocabulary("context_stems")
    groups = [members for stem, members in numbered.items() if stem.rpartition(".")[2] not in contexts]
    if not groups and not lists:  # two sentences and nothing else, as in ComVE
        groups = [members for stem, members in numbered.items() if stem == "sent" and len(members) == 2]
    return _one_column_each(groups[0], rows) if len(groups) == 1 and not lists else None


def _numbered_texts(names: Sequence[str], rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return the numbered columns that hold texts, without those of wrong answers."""
    return {
        stem: members
        for stem, members in numbered_columns(names).items()
        if not has_word(stem, "wrong_words")
        and _most(_is_text(value_at(row, name)) for name in members[:2] for row in rows)
    }


def _one_column_each(members: list[str], rows: Sequence[Row]) -> Declared:
    """Describe choices in columns of their own; a row with fewer leaves the last ones blank."""
    blank = any(is_blank(value_at(row, name)) for row in rows for name in members[2:])
    return {"choices": members, **({"blank_choices": True} if blank else {})}


def _right_and_wrong(names: Sequence[str], rows: Sequence[Row]) -> Declared | None:
    """Describe a right answer and wrong ones in columns of their own; their order is drawn."""
    wrong = [name for name in names if has_word(name, "wrong_words") and _are_answers(name, rows)]
    if not wrong:
        return None
    right = [name for name in names if has_word(name, "right_words") and name not in wrong]
    right += [name for name in known("label", names) if name not in (*right, *wrong)]
    for name in right:
        values = [value_at(row, name) for row in rows]
        texts = _most(map(_is_text, values)) and not _most(parse_index(value) is not None for value in values)
        apart = (v not in _answers(row, wrong) for v, row in zip(values, rows, strict=True))
        if texts and _most(apart):
            blank = any(is_blank(value_at(row, name)) for row in rows for name in wrong[1:])
            found = {"choices": [name, *wrong], "label_kind": "first", "shuffle": 0}
            return {**found, **({"blank_choices": True} if blank else {})}
    return None


def _answers(row: Row, names: Sequence[str]) -> list[Any]:
    values = [value_at(row, name) for name in names]
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


def _are_answers(name: str, rows: Sequence[Row]) -> bool:
    """Tell whether a column holds texts, or lists of them."""
    answers = [_answers(row, [name]) for row in rows]
    only_texts = (bool(items) and all(i is None or isinstance(i, str) for i in items) for items in answers)
    return _most(only_texts) and any(_is_text(item) for items in answers for item in items)


def _in_one_column(name: str, names: Sequence[str], rows: Sequence[Row]) -> Declared | None:
    """Describe the choices in one column: a list, an object with two lists, or a text; None: no choices."""
    values = [value_at(row, name) for row in rows]
    if _most(maps_choices(value) and sum(value.values()) == 1 for value in values):
        return {"choices": name, "choice_cell": "mapping", "shuffle": 0}  # the right one is often the first
    if _most(isinstance(value, dict) for value in values):
        return _two_lists(name, names, rows)
    if not _most(isinstance(value, str) for value in values):
        return _list(name, [value for value in values if isinstance(value, list)], len(values))
    for how in ("json", "lines"):
        cut = [_cut(cell, how) for cell in values if isinstance(cell, str)]
        if _most(isinstance(items, list) and len(items) > 1 for items in cut):
            found = _list(name, [items for items in cut if isinstance(items, list)], len(cut))
            return found and {**found, "choice_cell": how}
    return None


def _cut(cell: str, how: str) -> Any:
    try:
        return cut_cell(cell, how)
    except Defect:
        return None


def _list(name: str, lists: Sequence[list[Any]], rows: int) -> Declared | None:
    """Describe lists of texts or of objects."""
    if not lists or len(lists) < _MOST * rows or not _most(len(items) > 1 for items in lists):
        return None
    if _most(all(isinstance(item, str) or item is None for item in items) for items in lists):
        blank = any(items and is_blank(items[-1]) for items in lists)
        return {"choices": name, **({"blank_choices": True} if blank else {})}
    objects = [[item for item in items if isinstance(item, dict)] for items in lists]
    first = next((item for items in objects for item in items), {})
    texts = [k for k in [*known("choice_text", first), *first] if isinstance(first[k], str)]
    if not texts:
        return None
    found = {"choices": name, "choice_text": texts[0]}
    for key in first:
        if key != texts[0] and _is_flag(key, objects):
            return {**found, "choice_flag": key}
    keys = [key for key in known("choice_key", first) if key != texts[0]]
    return {**found, **({"choice_key": keys[0]} if keys else {})}


def _is_flag(key: str, lists: Sequence[Sequence[dict[str, Any]]]) -> bool:
    """Tell whether the objects of the choices say under a key which of them is right."""
    readable, marked = [], 0
    for items in lists:
        try:
            marked += marked_index([item.get(key) for item in items]) is not None
            readable.append(True)
        except Defect:
            readable.append(False)
    if not _most(readable) or not marked:
        return False
    return has_role(key, "choice_flag") or all(isinstance(i.get(key), bool) for items in lists for i in items)


def _two_lists(name: str, names: Sequence[str], rows: Sequence[Row]) -> Declared | None:
    """Describe an object with the list of the texts and the list of their keys."""
    inside = [
        column.removeprefix(f"{name}.")
        for column in names
        if column.startswith(f"{name}.") and _most(isinstance(value_at(row, column), list) for row in rows)
    ]
    texts = known("choice_text", inside)
    if not texts:
        return None
    keys = [key for key in known("choice_key", inside) if key != texts[0]]
    found = {"choices": f"{name}.{texts[0]}"}
    return {**found, **({"choice_keys": f"{name}.{keys[0]}"} if keys else {})}


def _carry_numbers(declared: Declared, rows: Sequence[Row]) -> bool:
    """Tell whether the choices carry their numbers or letters."""
    if declared.get("label_kind") == "first":
        return False
    fields, numbered = Fields.model_validate(declared), []
    for row in rows:
        try:
            numbered.append(without_numbers(choices_of(row, fields)) is not None)
        except Defect:
            continue
    return _most(numbered)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _most(fits: Iterable[bool]) -> bool:
    listed = list(fits)
    return bool(listed) and sum(listed) >= _MOST * len(listed)


# ---- labels


@dataclass(frozen=True, slots=True)
class RowLabel:
    """The label of one row beside what it may refer to: the choices, their keys, and their columns."""

    line: int
    raw: object
    choices: Sequence[Any]
    keys: Sequence[object] = ()
    columns: Sequence[str] = ()


class LabelKind(NamedTuple):
    """A ``label_kind`` of a task, the reason, and whether the repair ``label-spelling`` is needed."""

    kind: str
    reason: str
    loose: bool = False


def find_label(table: Table) -> bool:
    """Find the labels and how they are spelt; False: there are none, or all are hidden."""
    fields, choices = table.fields, table.fields["choices"]
    right_is_first = fields.get("label_kind") == "first"
    if table.hints.labels == "none":
        fields.pop("choice_flag", None)
        table.use(*known("label", table.unused))
        apart = "the right answer is a column of its own, but labels are not wanted"
        table.reasons["label"] = apart if right_is_first else "no labels, as you say"
        return False
    if right_is_first:
        table.reasons["label"] = f"{choices[0]} is the right one; the order of the choices is drawn"
        return True
    if fields.get("choice_cell") == "mapping":
        fields.update(label=choices, label_kind="flag")
        table.reasons["label"] = f"{choices} marks the right one; the order of the choices is drawn"
        return True
    if "choice_flag" in fields:
        fields["label_kind"] = "flag"
        table.reasons["label"] = f"{choices}: {fields['choice_flag']} marks the right one"
        return True
    names = table.hints.roles.get("label") or _columns_named_like_labels(table)
    labels = {name: rows for name in names if (rows := _labels(table, name))}
    for name, rows in labels.items():
        if found := _kind_of(table, name, rows):
            table.use(name)
            fields.update(label=name, label_kind=found.kind)
            table.reasons["label"] = f"{name}, {found.reason}"
            if found.loose:
                table.repairs.append({"step": "label-spelling"})
            return True
    if labels:
        raise _not_understood(table, *next(iter(labels.items())))
    suspects = [] if names else [name for name in table.unused if _may_be_labels(table, name)]
    if suspects:
        fix = f"{table.option('label', suspects[0])}, or --labels none"
        raise NotUnderstood(f"'{suspects[0]}' looks like labels", table, fix)
    table.use(*names)
    table.reasons["label"] = f"no labels: {names[0]} is null or -1 in every row" if names else "no labels"
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
    return bool(rows) and _share(rows, "flag") >= _MOST


def _labels(table: Table, name: str) -> list[RowLabel]:
    """Collect the labels in a column that are not hidden."""
    fields = Fields.model_validate(table.fields)
    columns = fields.choices if isinstance(fields.choices, list) else ()
    labels = []
    for line, row in table.rows:
        raw = value_at(row, name)
        try:
            choices = choices_of(row, fields)
        except Defect:
            continue  # the reader names the row
        keys = _keys(row, fields, len(choices))
        if not is_missing(raw) or raw in keys:
            labels.append(RowLabel(line, raw, choices, keys, columns))
    return labels


def _keys(row: Row, fields: Fields, n_choices: int) -> Sequence[object]:
    if fields.choice_keys is None and fields.choice_key is None:
        return ()
    try:
        return keys_of_choices(row, fields, n_choices)
    except Defect:
        return ()


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
    odd = next((row for row in rows if _decoded(row, best) is None), rows[0])
    others = ", ".join(f"'{left}'" for left in table.unused if left != name)
    other = f", or name another column ({others}): --map label=COLUMN" if others else ""
    return UserError(
        f"'{name}' is {shown(odd.raw)} here: neither an index nor a letter, a key or the text of a choice",
        f"{table.path}:{odd.line}",
        f"say how it is spelt: --labels KIND{other}; --labels none if there are no labels",
    )


# ---- spellings of labels


def _kind_of(table: Table, name: str, rows: list[RowLabel]) -> LabelKind | None:
    given = table.hints.labels
    if given is None:
        return label_kind(rows, f"{table.path}, '{name}'")
    loose = _is_loose(rows, given) if _share(rows, given) else given in ("zero", "one", "letter", "text")
    return LabelKind(given, f"{given}, as you say", loose)


def label_kind(rows: Sequence[RowLabel], where: str) -> LabelKind | None:
    """Tell the kind of the labels that are not missing; None: these are no labels.

    Whole numbers within range are indices, whatever the choices say: "3" may well be the text of the second
    choice. A 0, or a label as high as the number of choices, shows whether they count from 0 or from 1. A few
    labels that fit nothing are left to the reader, which names them.
    """
    columns = [replace(row, keys=row.columns) for row in rows]
    for least in (1.0, _MOST) if len(rows) >= _SEVERAL else (1.0,):  # what all fit, before what most fit
        if _share(rows, "key") >= least:
            return LabelKind("key", "the key of a choice")
        if max(_share(rows, kind, loosely=False) for kind in ("zero", "one")) >= least:
            return _indices(rows, where, least)
        if _share(rows, "text") >= least:
            return LabelKind("text", "the text of a choice", _share(rows, "text", loosely=False) < 1)
        if _share(columns, "key") >= least:
            return LabelKind("key", "the name of the choice's column")
        for kind, reason in (("letter", "letters"), ("flag", "a list that marks the right choice")):
            if _share(rows, kind) >= least:
                return LabelKind(kind, reason + _but(rows, kind), _is_loose(rows, kind))
        if found := _indices(rows, where, least):
            return found
    return None


def _indices(rows: Sequence[RowLabel], where: str, least: float) -> LabelKind | None:
    kinds = [kind for kind in ("zero", "one") if _share(rows, kind) >= least]
    spelt = [found for row in rows if (found := parse_index(row.raw))]
    if len(kinds) > 1:
        what = f"the labels ({', '.join(map(str, sorted({n for _, n in spelt})))}) may count from 0 or from 1"
        raise AmbiguousLabels(what, where, "add --labels zero or --labels one")
    if not kinds:
        return None
    kind, but = kinds[0], _but(rows, kinds[0])
    if kind == "one":
        last = sum(_decoded(row, kind) == len(row.choices) - 1 for row in rows)
        reason = f"counted from 1 (none is 0, {last} name the last choice{but})"
    elif any(spelling == "truth" for spelling, _ in spelt):
        reason = f"false is the first choice, true the second{but}"
    else:
        reason = f"counted from 0 ({sum(_decoded(row, kind) == 0 for row in rows)} are 0{but})"
    return LabelKind(kind, reason, _is_loose(rows, kind))


def _decoded(row: RowLabel, kind: str, *, loosely: bool = True) -> int | None:
    """Return the choice that a label names, read as a kind; None where it names none."""
    try:
        return decode_label(row.raw, kind, row.choices, Repairs(STEPS if loosely else GENERAL), row.keys)
    except Defect:
        return None


def _share(rows: Sequence[RowLabel], kind: str, *, loosely: bool = True) -> float:
    return sum(_decoded(row, kind, loosely=loosely) is not None for row in rows) / len(rows)


def _is_loose(rows: Sequence[RowLabel], kind: str) -> bool:
    """Tell whether some labels of a kind are spelt freely (``1.0``, ``(b)``)."""
    return any(_decoded(row, kind) != _decoded(row, kind, loosely=False) for row in rows)


def _but(rows: Sequence[RowLabel], kind: str) -> str:
    odd = sum(_decoded(row, kind) is None for row in rows)
    return f"; {odd} cannot be read" if odd else ""
