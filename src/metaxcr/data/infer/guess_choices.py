"""Where a file holds its questions, perhaps inside of its rows, and which columns hold the choices."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from metaxcr.data.infer.table import (
    columns_of,
    has_role,
    has_word,
    is_blank,
    known,
    maps_choices,
    numbered_columns,
    vocabulary,
)
from metaxcr.data.labels import cut_cell, marked_index, parse_index
from metaxcr.data.rows import EACH, Defect, Row, take_step, value_at

Declared = dict[str, Any]  # keys of metaxcr.data.spec.Fields
MOST = 0.9  # share of the rows that a layout must fit; the reader names the others


_Result = TypeVar("_Result")


def or_none(function: Callable[..., _Result], *arguments: Any) -> _Result | None:
    """Call a function on what a row holds; None where that is a defect, which the reader reports."""
    try:
        return function(*arguments)
    except Defect:
        return None


def most(fits: Iterable[bool]) -> bool:
    """Tell whether something holds in at least nine of ten rows."""
    listed = list(fits)
    return bool(listed) and sum(listed) >= MOST * len(listed)


# ---- choices


def find_choices(names: Sequence[str], rows: Sequence[Row], given: Sequence[str] = ()) -> Declared | None:
    """Find the choices: a list, a list of objects, two lists, numbered columns, or one text with all of them.

    Returns the keys of :class:`metaxcr.data.spec.Fields` that describe them; None: nothing fits. ``given`` is
    what the user said with ``--map choices``: one column, or one for each choice.
    """
    if len(given) > 1:
        return _right_and_wrong(given, rows) or _one_column_each(list(given), rows)
    if given:
        return _in_one_column(given[0], names, rows)
    return _in_known_columns(names, rows) or _in_unknown_columns(names, rows)


def columns_of_choices(declared: Declared, names: Sequence[str]) -> set[str]:
    """List the columns that the choices take, so that nothing else is looked for in them."""
    listed = declared["choices"]
    if isinstance(listed, list):
        return set(listed)
    parents = {listed, listed.rpartition(".")[0] if "choice_keys" in declared else listed}
    return {name for name in names if name in parents or any(name.startswith(f"{p}.") for p in parents)}


def _in_known_columns(names: Sequence[str], rows: Sequence[Row]) -> Declared | None:
    right_and_wrong = _right_and_wrong(names, rows)
    columns = [
        n for n in known("choices", names) if right_and_wrong is None or not has_word(n, "wrong_words")
    ]
    for name in names:  # choices: {text: [...], label: [...]}
        parent, _, last = name.rpartition(".")
        if has_role(last, "choice_text") and has_role(parent, "choices"):
            columns.append(parent)
    for name in columns:
        if (found := _in_one_column(name, names, rows)) is not None:
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
    if lists:
        return lists[0] if len(lists) == 1 else None
    numbered = _numbered_texts(names, rows)
    contexts = vocabulary("context_stems")
    groups = [members for stem, members in numbered.items() if stem.rpartition(".")[2] not in contexts]
    if not groups:  # two sentences and nothing else, as in ComVE
        groups = [members for stem, members in numbered.items() if stem == "sent" and len(members) == 2]
    return _one_column_each(groups[0], rows) if len(groups) == 1 else None


def _numbered_texts(names: Sequence[str], rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return the numbered columns that hold texts, without those of wrong answers."""
    return {
        stem: members
        for stem, members in numbered_columns(names).items()
        if not has_word(stem, "wrong_words")
        and most(_is_text(value_at(row, name)) for name in members[:2] for row in rows)
    }


def _one_column_each(members: list[str], rows: Sequence[Row], **more: Any) -> Declared:
    """Describe choices in columns of their own; a row with fewer leaves the last ones blank."""
    blank = any(is_blank(value_at(row, name)) for row in rows for name in members[2:])
    return {"choices": members, **more, **({"blank_choices": True} if blank else {})}


def _right_and_wrong(names: Sequence[str], rows: Sequence[Row]) -> Declared | None:
    """Describe a right answer and wrong ones in columns of their own; their order is drawn."""
    wrong = [name for name in names if has_word(name, "wrong_words") and _are_answers(name, rows)]
    if not wrong:
        return None
    right = [name for name in names if has_word(name, "right_words") and name not in wrong]
    right += [name for name in known("label", names) if name not in (*right, *wrong)]
    for name in right:
        values = [value_at(row, name) for row in rows]
        texts = most(map(_is_text, values)) and not most(parse_index(value) is not None for value in values)
        if texts and most(v not in _answers(row, wrong) for v, row in zip(values, rows, strict=True)):
            return _one_column_each([name, *wrong], rows, label_kind="first", shuffle=0)
    return None


def _answers(row: Row, names: Sequence[str]) -> list[Any]:
    values = [value_at(row, name) for name in names]
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


def _are_answers(name: str, rows: Sequence[Row]) -> bool:
    """Tell whether a column holds texts, or lists of them."""
    answers = [_answers(row, [name]) for row in rows]
    only_texts = (bool(items) and all(i is None or isinstance(i, str) for i in items) for items in answers)
    return most(only_texts) and any(_is_text(item) for items in answers for item in items)


def _in_one_column(name: str, names: Sequence[str], rows: Sequence[Row]) -> Declared | None:
    """Describe the choices in one column: a list, an object with two lists, or a text; None: no choices."""
    values = [value_at(row, name) for row in rows]
    if most(maps_choices(value) and sum(value.values()) == 1 for value in values):
        return {"choices": name, "choice_cell": "mapping", "shuffle": 0}  # the right one is often the first
    if most(isinstance(value, dict) for value in values):
        return _two_lists(name, names, rows)
    if not most(isinstance(value, str) for value in values):
        return _list(name, values)
    for how in ("json", "lines"):
        cut = [or_none(cut_cell, cell, how) for cell in values if isinstance(cell, str)]
        if most(isinstance(items, list) and len(items) > 1 for items in cut):
            found = _list(name, cut)
            return found and {**found, "choice_cell": how}
    return None


def _list(name: str, values: Sequence[Any]) -> Declared | None:
    """Describe lists of texts or of objects."""
    lists = [value for value in values if isinstance(value, list)]
    if len(lists) < MOST * len(values) or not most(len(items) > 1 for items in lists):
        return None
    if most(all(isinstance(item, str) or item is None for item in items) for items in lists):
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
    readable, marked = [], False
    for items in lists:
        try:
            marked |= marked_index([item.get(key) for item in items]) is not None
            readable.append(True)
        except Defect:
            readable.append(False)
    if not most(readable) or not marked:
        return False
    return has_role(key, "choice_flag") or all(isinstance(i.get(key), bool) for items in lists for i in items)


def _two_lists(name: str, names: Sequence[str], rows: Sequence[Row]) -> Declared | None:
    """Describe an object with the list of the texts and the list of their keys."""
    inside = [
        column.removeprefix(f"{name}.")
        for column in names
        if column.startswith(f"{name}.") and most(isinstance(value_at(row, column), list) for row in rows)
    ]
    texts = known("choice_text", inside)
    if not texts:
        return None
    keys = [key for key in known("choice_key", inside) if key != texts[0]]
    found = {"choices": f"{name}.{texts[0]}"}
    return {**found, **({"choice_keys": f"{name}.{keys[0]}"} if keys else {})}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


# ---- rows inside rows

_DEPTH = 4  # steps at most
_SAMPLE = 50  # rows that are looked at


def find_steps(rows: Sequence[Row], depth: int = _DEPTH) -> list[list[str]]:
    """Find the steps of ``unfold_rows`` that lead to the questions of a file, perhaps none."""
    if not rows or depth == 0 or _are_questions(rows):
        return []
    step = _columns_step(rows) or _each_step(rows) or _nested_step(rows, depth)
    if step is None:
        return []
    inner: list[Row] = []
    try:
        for row in rows[:_SAMPLE]:
            inner += list(take_step(row, step))
    except (Defect, RecursionError):
        pass
    return [step, *find_steps(inner[:200], depth - 1)]


def _are_questions(rows: Sequence[Row]) -> bool:
    """Tell whether rows have a question and choices already."""
    names = columns_of(rows)
    asked = any(most(isinstance(value_at(row, n), str) for row in rows) for n in known("question", names))
    return asked and find_choices(names, rows) is not None


def _columns_step(rows: Sequence[Row]) -> list[str] | None:
    """Find the columns of a document that holds them one by one."""
    if len(rows) != 1:
        return None
    head, body = rows[0].get("columns"), rows[0].get("data")
    if isinstance(head, list) and isinstance(body, list) and body and isinstance(body[0], list):
        return ["columns=data"] if len(body[0]) == len(head) else None  # pandas, orient="split"
    values, holds = list(rows[0].values()), False
    if len(values) >= 3 and all(isinstance(value, list) for value in values):
        holds = len(values[0]) > 1 and len({len(value) for value in values}) == 1
    elif len(values) >= 3 and all(isinstance(value, dict) and value for value in values):
        keys = [list(value) for value in values]  # pandas: {column: {"0": ...}}
        holds = all(key == keys[0] for key in keys) and all(name.isdecimal() for name in keys[0])
    return list(rows[0]) if holds else None


def _each_step(rows: Sequence[Row]) -> list[str] | None:
    """Tell whether all fields of a single row are questions, or hold some."""
    if len(rows) != 1 or len(rows[0]) < 2:
        return None
    values = list(rows[0].values())
    objects = all(isinstance(value, dict) for value in values)
    return [EACH] if objects and all(_may_hold(value, 3) for value in values[:20]) else None


def _nested_step(rows: Sequence[Row], depth: int) -> list[str] | None:
    """Find a list of questions in each row, or lists of questions, choices and labels side by side."""
    sample = rows[:_SAMPLE]
    lists = [name for name in columns_of(rows[:1]) if isinstance(value_at(rows[0], name), list)]
    values = {name: [value_at(row, name) for row in sample] for name in lists}
    for name, held in values.items():
        items = [item for value in held if isinstance(value, list) for item in value]
        objects = bool(items) and all(isinstance(item, dict) for item in items)
        if objects and most(_may_hold(item, depth) for item in items):
            return [name]
    for name, held in values.items():
        if not all(isinstance(value, list) and value and all(map(_is_choices, value)) for value in held):
            continue
        lengths = [len(value) for value in held]
        beside = [
            other
            for other, its in values.items()
            if other.rpartition(".")[0] == name.rpartition(".")[0]
            and all(isinstance(value, list) for value in its)
            and [len(value) for value in its] == lengths
        ]
        if len(beside) > 1:
            return beside
    return None


def _is_choices(value: object) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(isinstance(item, str) for item in value)


def _may_hold(value: object, depth: int) -> bool:
    """Tell whether an object is a question, or holds a list of them."""
    if not isinstance(value, dict):
        return False
    if find_choices(columns_of([value]), [value]) is not None:
        return True
    if depth == 0:
        return False
    held = [inner if isinstance(inner, list) else [inner] for inner in value.values()]
    return any(items and all(_may_hold(item, depth - 1) for item in items) for items in held)
