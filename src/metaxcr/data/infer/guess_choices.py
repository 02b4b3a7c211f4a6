"""Which fields hold choices and labels, and how they are spelt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from metaxcr.data.cell_values import cut_cell, flagged, is_missing, plain_text, spelt_index, without_numbers
from metaxcr.data.infer.column_names import (
    CHOICE_FLAG,
    CHOICE_KEY,
    CHOICE_TEXT,
    CHOICES,
    CONTEXT_STEMS,
    LABEL,
    RIGHT,
    STEMS,
    WRONG,
    groups,
    known,
    plain,
    words_of,
)
from metaxcr.data.infer.table import Table, is_blank, value_at
from metaxcr.data.labels import objects_of
from metaxcr.data.readers import choices_of
from metaxcr.data.rows import Defect, Row, shown
from metaxcr.data.spec import Fields
from metaxcr.errors import UserError

Declared = dict[str, Any]
_MOST = 0.9  # share of the rows that a layout must fit; those that it does not fit are named later
_SEVERAL = 10  # rows from which a few odd labels do not stand in the way
_NO_LABELS = "no labels"


class Undecided(UserError):
    """The labels of a file fit two readings."""


# ---- choices


def find_choices(names: Sequence[str], rows: Sequence[Row], asked: Sequence[str] = ()) -> Declared | None:
    """Find the choices: a list, a list of objects, two lists, numbered fields, or one text with all of them.

    Args:
        names: Of all fields.
        rows: All rows.
        asked: What the user gave for ``--map choices``: one field, or one a choice.

    Returns:
        The keys of :class:`metaxcr.data.spec.Fields` that describe the choices; None: nothing fits.
    """
    found = _asked(names, rows, asked) if asked else _find(names, rows)
    if found is not None and _are_numbered(found, rows):
        found["choice_numbers"] = True
    return found


def _asked(names: Sequence[str], rows: Sequence[Row], asked: Sequence[str]) -> Declared | None:
    if len(asked) > 1:
        return _right_and_wrong(asked, rows) or _columns(list(asked), rows)
    return _listed(asked[0], names, rows)


def _find(names: Sequence[str], rows: Sequence[Row]) -> Declared | None:
    for name in known(CHOICES, names):
        if (found := _listed(name, names, rows)) is not None and not _may_be_wrong(name, names, rows):
            return found
    for name in names:  # choices: {text: [...], label: [...]}
        parent, _, last = name.rpartition(".")
        named = plain(last) in CHOICE_TEXT and plain(parent) in map(plain, CHOICES)
        if named and (found := _listed(parent, names, rows)) is not None:
            return found
    if (found := _right_and_wrong(names, rows)) is not None:
        return found
    numbered = {stem: members for stem, members in groups(names).items() if _are_texts(members, rows)}
    numbered = {stem: members for stem, members in numbered.items() if not set(words_of(stem)) & WRONG}
    for exact in (True, False):  # "answer", then "mc answer"
        for stem in STEMS:
            for key, members in numbered.items():
                last = key.rpartition(".")[2]
                if last == plain(stem) or (not exact and len(stem) > 3 and last.endswith(plain(stem))):
                    return _columns(members, rows)
    others = [
        name for name in names if "choice_cell" not in (_listed(name, names, rows) or {"choice_cell": ""})
    ]
    if len(others) == 1:
        return _listed(others[0], names, rows)
    unknown = [members for stem, members in numbered.items() if stem.rpartition(".")[2] not in CONTEXT_STEMS]
    if not unknown and not others:  # two sentences and nothing else, as in ComVE
        unknown = [members for stem, members in numbered.items() if stem == "sent" and len(members) == 2]
    return _columns(unknown[0], rows) if len(unknown) == 1 and not others else None


def fields_of(declared: Declared, names: Sequence[str]) -> set[str]:
    """List the fields that the choices take, so that nothing else is looked for in them."""
    listed = declared["choices"]
    if isinstance(listed, list):
        return set(listed)
    parents = {listed, listed.rpartition(".")[0] if "choice_keys" in declared else listed}
    return {name for name in names if name in parents or any(name.startswith(f"{p}.") for p in parents)}


def _columns(members: list[str], rows: Sequence[Row]) -> Declared:
    """Describe choices in fields of their own; a row with fewer leaves the last ones blank."""
    blank = any(is_blank(value_at(row, name)) for row in rows for name in members[2:])
    return {"choices": members, **({"blank_choices": True} if blank else {})}


def _right_and_wrong(names: Sequence[str], rows: Sequence[Row]) -> Declared | None:
    """Describe a right answer and wrong ones in fields of their own; their order is drawn."""
    wrong = [name for name in names if set(words_of(name)) & WRONG and _are_answers([name], rows)]
    if not wrong:
        return None
    right = [name for name in names if set(words_of(name)) & RIGHT and name not in wrong]
    right += [name for name in known(LABEL, names) if name not in (*right, *wrong)]
    for name in right:
        values = [value_at(row, name) for row in rows]
        if not _most([isinstance(value, str) and bool(value.strip()) for value in values]):
            continue
        apart = [value not in _answers(row, wrong) for value, row in zip(values, rows, strict=True)]
        if not _most(apart) or _most([spelt_index(value) is not None for value in values]):
            continue
        blank = any(is_blank(value_at(row, name)) for row in rows for name in wrong[1:])
        return {
            "choices": [name, *wrong],
            "label_kind": "first",
            "shuffle": 0,
            **({"blank_choices": True} if blank else {}),
        }
    return None


def _may_be_wrong(name: str, names: Sequence[str], rows: Sequence[Row]) -> bool:
    """Tell whether a field named like the choices holds only the wrong ones."""
    return bool(set(words_of(name)) & WRONG) and _right_and_wrong(names, rows) is not None


def _answers(row: Row, names: Sequence[str]) -> list[Any]:
    found: list[Any] = []
    for name in names:
        value = value_at(row, name)
        found += value if isinstance(value, list) else [value]
    return found


def _are_answers(names: Sequence[str], rows: Sequence[Row]) -> bool:
    """Tell whether fields hold texts, or lists of them."""
    held = [_answers(row, names) for row in rows]
    return _most(
        [bool(items) and all(isinstance(i, str) or i is None for i in items) for items in held]
    ) and (any(isinstance(item, str) and item.strip() for items in held for item in items))


def _listed(name: str, names: Sequence[str], rows: Sequence[Row]) -> Declared | None:
    """Describe choices in one field, if it holds any."""
    values = [value_at(row, name) for row in rows]
    if _most([isinstance(value, dict) for value in values]):
        return _two_lists(name, names, rows)
    if _most([isinstance(value, str) for value in values]):
        return _cell(name, [value for value in values if isinstance(value, str)])
    return _items(name, [value for value in values if isinstance(value, list)], len(values))


def _items(name: str, lists: Sequence[list[Any]], rows: int) -> Declared | None:
    if len(lists) < _MOST * rows or not lists or not _most([len(items) > 1 for items in lists]):
        return None
    if _most([all(isinstance(item, str) or item is None for item in items) for items in lists]):
        blank = any(items and is_blank(items[-1]) for items in lists)
        return {"choices": name, **({"blank_choices": True} if blank else {})}
    objects = [item for items in lists for item in items if isinstance(item, dict)]
    keys = list(objects[0]) if objects else []
    text = [k for k in known(CHOICE_TEXT, keys) if isinstance(objects[0][k], str)]
    text = text or [k for k in keys if isinstance(objects[0][k], str)]
    if not text:
        return None
    found: Declared = {"choices": name, "choice_text": text[0]}
    held = [[item for item in items if isinstance(item, dict)] for items in lists]
    flags = [k for k in keys if k != text[0] and _is_flag(k, held)]
    if flags:
        return {**found, "choice_flag": flags[0]}
    key = [k for k in known(CHOICE_KEY, keys) if k != text[0]]
    return {**found, **({"choice_key": key[0]} if key else {})}


def _is_flag(key: str, lists: Sequence[Sequence[dict[str, Any]]]) -> bool:
    """Tell whether the objects of the choices say under a key which of them is right."""
    told, marked = [], 0
    for items in lists:
        values = [item.get(key) for item in items]
        try:
            place = flagged(values)
        except Defect:
            told.append(False)
            continue
        marked += place is not None
        told.append(True)
    if not _most(told) or not marked:
        return False
    values = [item.get(key) for items in lists for item in items]
    return plain(key) in CHOICE_FLAG or all(isinstance(v, bool) for v in values)


def _two_lists(name: str, names: Sequence[str], rows: Sequence[Row]) -> Declared | None:
    inside = [n.removeprefix(f"{name}.") for n in names if n.startswith(f"{name}.")]
    texts = [key for key in known(CHOICE_TEXT, inside) if _are_lists(f"{name}.{key}", rows)]
    if not texts:
        return None
    keys = [key for key in known(CHOICE_KEY, inside) if key != texts[0] and _are_lists(f"{name}.{key}", rows)]
    found: Declared = {"choices": f"{name}.{texts[0]}"}
    return {**found, **({"choice_keys": f"{name}.{keys[0]}"} if keys else {})}


def _cell(name: str, cells: Sequence[str]) -> Declared | None:
    for how in ("json", "lines"):
        cut = [_cut(cell, how) for cell in cells]
        if _most([isinstance(items, list) and len(items) > 1 for items in cut]):
            found = _items(name, [items for items in cut if isinstance(items, list)], len(cut))
            return found and {**found, "choice_cell": how}
    return None


def _cut(cell: str, how: str) -> Any:
    try:
        return cut_cell(cell, how)
    except Defect:
        return None


def _are_numbered(declared: Declared, rows: Sequence[Row]) -> bool:
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


def _are_texts(members: Sequence[str], rows: Sequence[Row]) -> bool:
    """Tell whether the first two of the fields hold texts."""
    values = [value_at(row, name) for name in members[:2] for row in rows]
    return _most([isinstance(value, str) and bool(value.strip()) for value in values])


def _are_lists(name: str, rows: Sequence[Row]) -> bool:
    return _most([isinstance(value_at(row, name), list) for row in rows])


def _most(fits: Sequence[bool]) -> bool:
    return bool(fits) and sum(fits) >= _MOST * len(fits)


# ---- labels


@dataclass(frozen=True, slots=True)
class Labelled:
    """The label of one row beside what it may refer to.

    Attributes:
        line: Of the file.
        raw: As the file has it.
        texts: The choices.
        keys: Their keys, where they have any.
        fields: The names of their fields, where they have fields of their own.
    """

    line: int
    raw: object
    texts: Sequence[Any]
    keys: Sequence[object] = ()
    fields: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LabelKind:
    """How labels are spelt.

    Attributes:
        kind: A ``label_kind`` of :class:`metaxcr.data.spec.Fields`.
        why: In words.
        loose: Some are spelt freely (``1.0``, ``(b)``): the repair ``label-spelling`` is needed.
    """

    kind: str
    why: str
    loose: bool = False


def find_label(table: Table) -> bool:
    """Find the labels and how they are spelt.

    Args:
        table: The file; the choices are known. Field and kind are written into its fields.

    Returns:
        False: there are none, or all are hidden.

    Raises:
        UserError: They cannot be understood, or a field looks like labels that nobody named.
    """
    if table.asked.labels == "none":
        if table.fields.get("label_kind") == "first":
            table.why["label"] = "the right answer is a field of its own, but labels are not wanted"
        table.fields.pop("choice_flag", None)
        table.take(*known(LABEL, table.left))
        table.why.setdefault("label", f"{_NO_LABELS}, as you say")
        return False
    if table.fields.get("label_kind") == "first":
        table.why["label"] = (
            f"{table.fields['choices'][0]} is the right one; the order of the choices is drawn"
        )
        return True
    if "choice_flag" in table.fields:
        table.fields["label_kind"] = "flag"
        table.why["label"] = f"{table.fields['choices']}: {table.fields['choice_flag']} marks the right one"
        return True
    names = table.asked.roles.get("label") or _label_names(table)
    listed = {name: _labels(table, name) for name in names}
    for name, rows in listed.items():
        if rows and (found := _kind(table, name, rows)):
            table.take(name)
            table.fields |= {"label": name, "label_kind": found.kind}
            table.why["label"] = f"{name}, {found.why}"
            if found.loose:
                table.repairs.append({"step": "label-spelling"})
            return True
    strange = next((name for name, rows in listed.items() if rows), None)
    if strange is not None:
        raise _not_understood(table, strange, listed[strange])
    suspect = None if names else next((name for name in table.left if _may_be(table, name)), None)
    if suspect is not None:
        raise table.error(
            f"'{suspect}' looks like labels", f"{table.option('label', suspect)}, or --labels none"
        )
    table.take(*names)
    table.why["label"] = f"{_NO_LABELS}: {names[0]} is null or -1 in every row" if names else _NO_LABELS
    return False


def _label_names(table: Table) -> list[str]:
    """List the fields that are named like labels, the most telling first."""
    names = known(LABEL, table.left)
    others = [name for name in table.left if set(words_of(name)) & RIGHT and name not in names]
    return names + others or [name for name in table.left if _marks_one(table, name)]


def _marks_one(table: Table, name: str) -> bool:
    """Tell whether a field that nobody knows holds a list beside the choices that marks one of them."""
    values = table.values(name)
    plain_marks = all(isinstance(value, list) and {*map(repr, value)} <= _MARKS for value in values)
    return plain_marks and _names_one(table, name)


def _names_one(table: Table, name: str) -> bool:
    """Tell whether a field holds lists of flags or scores of which one choice has the highest."""
    rows = _labels(table, name)
    return bool(rows) and _share(rows, lambda row: _place(row, "flag") is not None) >= _MOST


def _kind(table: Table, name: str, rows: list[Labelled]) -> LabelKind | None:
    asked = table.asked.labels
    if asked is not None:
        found = _fits(rows, asked)
        return LabelKind(asked, f"{asked}, as you say", found is None or found.loose)
    return label_kind(rows, f"{table.path}, '{name}'")


def _not_understood(table: Table, name: str, rows: list[Labelled]) -> UserError:
    """Return the message about labels of which too many fit no spelling."""
    kinds: list[Callable[[Labelled], bool]] = [lambda r, k=k: _place(r, k) is not None for k in _INDEX]  # type: ignore[misc]
    most = max([*kinds, _is_text], key=lambda fits: _share(rows, fits))
    odd = next((row for row in rows if not most(row)), rows[0])
    there = ", ".join(f"'{left}'" for left in table.left if left != name)
    other = f", or name another field ({there}): --map label=FIELD" if there else ""
    return UserError(
        f"'{name}' is {shown(odd.raw)} here: neither an index nor a letter, a key or the text of a choice",
        f"{table.path}:{odd.line}",
        f"say how it is spelt: --labels KIND{other}; --labels none if there are no labels",
    )


def _labels(table: Table, name: str) -> list[Labelled]:
    """Collect the labels that a field holds beside the choices of their rows."""
    fields = Fields.model_validate(table.fields)
    listed = []
    for line, row in table.rows:
        raw = value_at(row, name)
        try:
            texts = choices_of(row, fields)
            keys = _keys(row, fields)
        except Defect:
            continue  # the reader names the row
        if not is_missing(raw) or raw in keys:
            own = fields.choices if isinstance(fields.choices, list) else ()
            listed.append(Labelled(line, raw, texts, keys, own))
    return listed


def _keys(row: Row, fields: Fields) -> list[object]:
    if fields.choice_keys is not None:
        return list(value_at(row, fields.choice_keys) or [])
    return objects_of(row, fields, fields.choice_key) if fields.choice_key is not None else []


def _may_be(table: Table, name: str) -> bool:
    """Tell whether a field that nobody knows may be the labels: a few small numbers, over and over."""
    values = table.values(name)
    if values and isinstance(values[0], list) and _names_one(table, name):
        return True
    if len(values) <= 5 or set(words_of(name)) & _COUNTERS:
        return False
    spelt = [spelt_index(value) for value in values]
    if not all(spelt):
        return False
    different, listed = {found[1] for found in spelt if found}, table.fields["choices"]
    most = len(listed) if isinstance(listed, list) else 4
    return len(different) > 1 and min(different) >= 0 and max(different) <= most


_MARKS = frozenset({"0", "1", "0.0", "1.0", "True", "False", "'0'", "'1'"})
_INDEX = ("zero", "one", "letter")
_COUNTERS = frozenset({
    "number", "count", "id", "idx", "index", "fold", "year", "length", "changed", "num", "no", "annotators",
    "group", "part", "level", "version", "ind", "split", "hop",
})  # fmt: skip


# ---- spellings of labels


def label_kind(rows: Sequence[Labelled], where: str) -> LabelKind | None:
    """Tell the kind of the labels.

    Whole numbers within range are indices, whatever the choices say: "3" may well be the text of the second
    choice. From 0 or from 1 is told by a 0, or by a label as high as the number of choices. A few labels that
    fit nothing do not stand in the way: the reader names them.

    Args:
        rows: All rows whose label is not missing.
        where: File and field, for messages.

    Returns:
        The kind; None: these are no labels.

    Raises:
        Undecided: From 0 or from 1 cannot be told.
    """
    for least in (1.0, _MOST):  # what all fit, before what most fit
        if least < 1 and len(rows) < _SEVERAL:
            break
        if _share(rows, _is_key) >= least:
            return LabelKind("key", "the key of a choice")
        if _share(rows, lambda row: _is_plain(row.raw)) >= least and (found := _indices(rows, where, least)):
            return found
        if _share(rows, _is_text) >= least:
            return LabelKind("text", "the text of a choice", _share(rows, _is_text_exactly) < 1)
        if _share(rows, lambda row: row.raw in row.fields) >= least:
            return LabelKind("key", "the name of the choice's field")
        found = _fits(rows, "letter", least) or _fits(rows, "flag", least) or _indices(rows, where, least)
        if found is not None:
            return found
    return None


def _indices(rows: Sequence[Labelled], where: str, least: float) -> LabelKind | None:
    zero, one = _fits(rows, "zero", least), _fits(rows, "one", least)
    if zero is None or one is None:
        return zero or one
    numbers = [found[1] for row in rows if (found := spelt_index(row.raw))]
    seen = ", ".join(map(str, sorted(set(numbers))))
    raise Undecided(
        f"the labels ({seen}) may count from 0 or from 1", where, "add --labels zero or --labels one"
    )


def _fits(rows: Sequence[Labelled], kind: str, least: float = 0.0) -> LabelKind | None:
    """Tell whether labels are of a kind, and whether some are spelt freely."""
    places = [(row, _place(row, kind)) for row in rows]
    fitting = [(row, place) for row, place in places if place is not None]
    if not fitting or len(fitting) < least * len(rows):
        return None
    loose = any(not _is_strict(row.raw, kind) for row, _ in fitting)
    odd = len(rows) - len(fitting)
    but = f"; {odd} cannot be read" if odd else ""
    indices = [place for _, place in fitting]
    truths = any(isinstance(row.raw, bool) or spelt_index(row.raw) in _TRUTHS for row, _ in fitting)
    if kind == "zero" and truths:
        return LabelKind(kind, f"false is the first choice, true the second{but}", loose)
    if kind == "zero":
        return LabelKind(kind, f"counted from 0 ({indices.count(0)} are 0{but})", loose)
    if kind == "one":
        highest = sum(place == len(row.texts) - 1 for row, place in fitting)
        return LabelKind(kind, f"counted from 1 (none is 0, {highest} name the last choice{but})", loose)
    if kind == "flag":
        return LabelKind(kind, f"a list that marks the right choice{but}")
    return LabelKind(kind, f"letters{but}" if kind == "letter" else kind, loose)


_TRUTHS = (("truth", 0), ("truth", 1))


def _place(row: Labelled, kind: str) -> int | None:
    """Return the choice that a label names, read as a kind."""
    if kind == "flag":
        try:
            several = isinstance(row.raw, list) and len(row.raw) == len(row.texts)
            return flagged(row.raw) if several and isinstance(row.raw, list) else None
        except Defect:
            return None
    found = spelt_index(row.raw)
    if found is None or kind not in ("zero", "one", "letter"):
        return None
    how, index = found
    if (how == "letter") != (kind == "letter") or (how == "truth" and (kind == "one" or len(row.texts) != 2)):
        return None
    index -= kind == "one"
    return index if 0 <= index < len(row.texts) else None


def _is_strict(raw: object, kind: str) -> bool:
    """Tell whether a label is spelt as the reader expects it."""
    if kind == "letter":
        return isinstance(raw, str) and len(raw.strip()) == 1 and raw.strip().upper() in "ABCDEFGHIJ"
    return kind == "flag" or _is_plain(raw)


def _is_plain(raw: object) -> bool:
    """Tell a whole number in the digits of any script; True and 1.0 are none."""
    if type(raw) is int:
        return True
    text = raw.strip() if isinstance(raw, str) else ""
    return text.isdecimal() and len(text) < 10


def _share(rows: Sequence[Labelled], fits: Callable[[Labelled], bool]) -> float:
    return sum(map(fits, rows)) / len(rows)


def _is_key(row: Labelled) -> bool:
    return any(type(key) is type(row.raw) and key == row.raw for key in row.keys)


def _is_text(row: Labelled) -> bool:
    wanted = plain_text(row.raw[0] if isinstance(row.raw, list) and len(row.raw) == 1 else row.raw)
    texts = [plain_text(text) for text in row.texts]
    return wanted in texts or wanted in [plain_text(text) for text in without_numbers(row.texts) or ()]


def _is_text_exactly(row: Labelled) -> bool:
    raw = row.raw.strip() if isinstance(row.raw, str) else row.raw
    return raw in [text.strip() if isinstance(text, str) else text for text in row.texts]
