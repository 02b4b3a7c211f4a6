"""Labels: where a data set keeps them and how it spells them; inside they are 0-based."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from metaxcr.errors import UserError
from metaxcr.tasks.example import Example
from metaxcr.tasks.rows import Defect, Row, lines_of, read_csv, value_of
from metaxcr.tasks.spec import Fields

LabelSource = Callable[[Row, int, Example], int | None]


def label_source(fields: Fields, labels: Path | None, labelled: bool) -> LabelSource:
    """Choose where labels come from: nowhere, the row, a file in step with the rows, or a file keyed by id.

    Args:
        fields: What the task declares about its rows.
        labels: File with the labels, where the task keeps them apart (see :class:`metaxcr.tasks.spec.Files`).
        labelled: Whether the split has labels at all.

    Returns:
        A function (row, 0-based position of the row, example) -> label. It raises :class:`Defect` for a fault
        of the row and UserError for a fault of the label file.
    """
    if not labelled:
        return lambda row, index, example: None
    if labels is None:
        return partial(_in_row, fields)
    if labels.suffix == ".csv":
        pairs = {row["id"]: (line, row["label"]) for line, row in read_csv(labels, ("id", "label"))}
        return partial(_by_id, fields, labels, pairs)
    return partial(_in_step, fields, labels, list(lines_of(labels)))


def check_length(data: Path, labels: Path, rows: int) -> None:
    """Refuse a label file that is not as long as its data file: the two would be out of step.

    Args:
        data: The data file.
        labels: Its label file.
        rows: Number of rows read from the data file.

    Raises:
        UserError: The numbers differ.
    """
    count = sum(1 for _ in lines_of(labels))
    if count != rows:
        raise UserError(
            f"{count} labels for {rows} rows", str(labels), f"fetch {labels.name} and {data.name} again"
        )


def decode_label(raw: object, fields: Fields, n: int, keys: Sequence[object] = ()) -> int:
    """Turn a label as the file spells it into an index.

    Args:
        raw: The label in the file.
        fields: Tells how labels are spelt.
        n: Number of choices.
        keys: The choices' own keys, for ``label_kind: key``.

    Returns:
        The index of the choice, 0 to n - 1.

    Raises:
        Defect: The label is not of the declared kind or out of range.
    """
    if fields.label_kind == "key":
        if raw not in keys:
            raise Defect(f"label {raw!r} is none of the choices' keys", "correct the label")
        return list(keys).index(raw)
    if fields.label_kind == "letter":
        index = ord(raw) - ord("A") if isinstance(raw, str) and len(raw) == 1 else -1
    else:
        index = _whole(raw) - (1 if fields.label_kind == "one" else 0)
    if not 0 <= index < n:
        raise Defect(f"label {raw!r} is out of range for {n} choices", "correct the label")
    return index


def _whole(raw: object) -> int:
    """Read a whole number, written as a number or as text; True and 1.0 are neither."""
    if type(raw) is int:
        return raw
    try:
        return int(raw) if isinstance(raw, str) else int("")
    except ValueError:
        raise Defect(f"label {raw!r} is no whole number", "correct the label") from None


def _in_row(fields: Fields, row: Row, index: int, example: Example) -> int:
    """Decode the label that the row itself holds."""
    if fields.label is None:
        raise Defect("the task declares no label field", "add fields.label to the task")
    keys: list[object] = []
    if fields.choice_key is not None and isinstance(fields.choices, str):
        keys = [choice.get(fields.choice_key) for choice in value_of(row, fields.choices)]
    return decode_label(value_of(row, fields.label), fields, len(example.choices), keys)


def _in_step(
    fields: Fields, file: Path, lines: Sequence[tuple[int, str]], row: Row, index: int, example: Example
) -> int:
    """Decode the label on the same line of a label file."""
    if index >= len(lines):
        raise Defect(f"no label for this row: {file} has {len(lines)} labels", "fetch both files again")
    return _decode_line(fields, file, *lines[index], len(example.choices))


def _by_id(
    fields: Fields, file: Path, pairs: Mapping[str, tuple[int, str]], row: Row, index: int, example: Example
) -> int:
    """Decode the label that a label file gives for the example's id."""
    if example.id not in pairs:
        raise Defect(f"no label for id '{example.id}' in {file}", "fetch both files again")
    return _decode_line(fields, file, *pairs[example.id], len(example.choices))


def _decode_line(fields: Fields, file: Path, line: int, raw: str, n: int) -> int:
    """Decode a label of a label file; a fault is reported there and not at the row."""
    try:
        return decode_label(raw.strip(), fields, n)
    except Defect as defect:
        raise UserError(defect.what, f"{file}:{line}", defect.fix) from None
