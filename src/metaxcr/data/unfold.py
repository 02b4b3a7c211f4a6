"""Rows inside rows: columns of a JSON document, rows by id, several questions under one passage."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from metaxcr.data.rows import Defect, Row, Rows, paired, value_of

EACH = "*"  # the step for a document whose fields are the rows
Steps = Sequence[Sequence[str]]
RowTest = Callable[[Row], bool]
_SAMPLE = 50  # rows that are looked at


def unfold_rows(
    rows: Iterable[tuple[int, Row | Defect]],
    steps: Steps,
    part: str | None = None,
    columns: Sequence[str] | None = None,
) -> Rows:
    """Yield the rows that a file's own rows hold, each with its line, or what is wrong with it.

    A step names fields whose lists are as long as each other: the row is repeated with the first item of
    each, the second, and so on. ``*`` alone takes every field as a row; ``head=body`` takes the lists of
    ``body`` as rows whose columns ``head`` names. ``part`` is the field that holds the rows of this split,
    and ``columns`` names the columns where these are lists.
    """
    if part is None and not steps:
        yield from rows
        return
    for line, row in rows:
        for found in _rows_of_part(row, part, columns):
            if isinstance(found, Defect):
                yield line, found
                continue
            try:
                for inner in _unfold(found, steps):
                    yield line, inner
            except Defect as defect:
                yield line, defect
            except RecursionError:
                yield line, Defect("nested too deeply", "mend or remove it")


def _rows_of_part(
    row: Row | Defect, part: str | None, columns: Sequence[str] | None
) -> Iterator[Row | Defect]:
    if part is None or isinstance(row, Defect):
        yield row
        return
    held = row.get(part)
    if isinstance(held, dict):
        yield held
    elif not isinstance(held, list):
        yield Defect(f"'{part}' is no list of rows", "write a list of objects")
    else:
        for item in held:
            if not isinstance(item, list):
                yield item if isinstance(item, dict) else Defect(f"'{part}' holds no objects", "write {...}")
            elif columns is None:
                columns = [str(cell).strip() for cell in item]
            else:
                yield paired(item, columns)


def _unfold(row: Row, steps: Steps) -> Iterator[Row]:
    if not steps:
        yield row
        return
    for inner in _take_step(row, steps[0]):
        yield from _unfold(inner, steps[1:])


def _take_step(row: Row, step: Sequence[str]) -> Iterator[Row]:
    head, equals, body = step[0].partition("=")
    if list(step) == [EACH]:
        for key, value in row.items():
            if not isinstance(value, dict):
                raise Defect(f"'{key[:60]}' is no object", "write {...} with named fields")
            yield {"key": key, **value}
    elif equals and step[0] not in row:
        for record in _list(row, body):
            pair = paired(record if isinstance(record, list) else [record], _list(row, head))
            if isinstance(pair, Defect):
                raise pair
            yield pair
    else:
        lists = [_list(row, name) for name in step]
        if len({len(items) for items in lists}) > 1:
            lengths = ", ".join(f"{name} {len(items)}" for name, items in zip(step, lists, strict=True))
            raise Defect(f"lists of different lengths: {lengths}", "correct the row")
        for items in zip(*lists, strict=True):
            new = row
            for name, item in zip(step, items, strict=True):
                new = _with(new, name, item)
            yield new


def _list(row: Row, name: str) -> list[Any]:
    value = value_of(row, name)
    if isinstance(value, dict):  # pandas writes a column as {"0": ...}
        return list(value.values())
    if not isinstance(value, list):
        raise Defect(f"'{name}' is no list", "write a list")
    return value


def _with(row: Row, name: str, value: object) -> Row:
    """Copy a row with another value in a field, which may be dotted."""
    if name in row:
        return {**row, name: value}
    first, _, rest = name.partition(".")
    return {**row, first: _with(row[first], rest, value)}


# ---- which steps a file needs


def find_steps(
    rows: Sequence[Row], is_question: RowTest, are_questions: Callable[[Sequence[Row]], bool], depth: int = 4
) -> list[list[str]]:
    """Find the steps of :func:`unfold_rows` that lead to the questions of a file, perhaps none.

    Args:
        rows: Some rows of the file.
        is_question: Tells whether an object is a question with its choices.
        are_questions: Tells whether rows are questions already.
        depth: Steps at most.
    """
    if not rows or depth == 0 or are_questions(rows):
        return []
    step = _columns_step(rows) or _each_step(rows, is_question) or _nested_step(rows, is_question, depth)
    if step is None:
        return []
    inner: list[Row] = []
    try:
        for row in rows[:_SAMPLE]:
            inner += list(_take_step(row, step))
    except (Defect, RecursionError):
        pass
    return [step, *find_steps(inner[:200], is_question, are_questions, depth - 1)]


def _columns_step(rows: Sequence[Row]) -> list[str] | None:
    """Find the columns of a document that holds them one by one."""
    if len(rows) != 1:
        return None
    head, body = rows[0].get("columns"), rows[0].get("data")
    if isinstance(head, list) and isinstance(body, list) and body and isinstance(body[0], list):
        return ["columns=data"] if len(body[0]) == len(head) else None  # pandas, orient="split"
    return list(rows[0]) if _holds_columns(rows[0]) else None


def _holds_columns(row: Row) -> bool:
    values = list(row.values())
    if len(values) < 3:
        return False
    if all(isinstance(value, list) for value in values):
        return len({len(value) for value in values}) == 1 and len(values[0]) > 1
    if all(isinstance(value, dict) and value for value in values):  # pandas: {column: {"0": ...}}
        keys = [list(value) for value in values]
        return all(key == keys[0] for key in keys) and all(name.isdecimal() for name in keys[0])
    return False


def _each_step(rows: Sequence[Row], is_question: RowTest) -> list[str] | None:
    if len(rows) != 1 or len(rows[0]) < 2:
        return None
    values = list(rows[0].values())
    objects = all(isinstance(value, dict) for value in values)
    return [EACH] if objects and all(_may_hold(value, is_question, 3) for value in values[:20]) else None


def _nested_step(rows: Sequence[Row], is_question: RowTest, depth: int) -> list[str] | None:
    """Find a list of questions in each row, or lists of questions, choices and labels side by side."""
    sample = rows[:_SAMPLE]
    values = {name: [value_at(row, name) for row in sample] for name in _list_fields(rows[0], "")}
    for name, held in values.items():
        items = [item for value in held if isinstance(value, list) for item in value]
        objects = bool(items) and all(isinstance(item, dict) for item in items)
        if objects and sum(_may_hold(item, is_question, depth) for item in items) >= 0.9 * len(items):
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


def _may_hold(value: object, is_question: RowTest, depth: int) -> bool:
    """Tell whether an object is a question, or holds a list of them."""
    if not isinstance(value, dict):
        return False
    if is_question(value):
        return True
    if depth == 0:
        return False
    held = [inner if isinstance(inner, list) else [inner] for inner in value.values()]
    return any(items and all(_may_hold(item, is_question, depth - 1) for item in items) for items in held)


def _list_fields(row: Row, prefix: str, depth: int = 3) -> list[str]:
    """Name the fields that hold lists, nested ones dotted."""
    found: list[str] = []
    for name, value in row.items():
        if isinstance(value, list):
            found.append(f"{prefix}{name}")
        elif isinstance(value, dict) and depth > 1:
            found += _list_fields(value, f"{prefix}{name}.", depth - 1)
    return found


def value_at(row: Row, name: str) -> Any:
    """Return what a row holds in a field, which may be dotted; None where there is no such field."""
    try:
        return value_of(row, name)
    except Defect:
        return None
