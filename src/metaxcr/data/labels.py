"""Labels: where a data set keeps them and how it spells them; inside they are 0-based."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from metaxcr.data.cell_values import cut_cell, flagged, plain_text, spelt_index, without_numbers
from metaxcr.data.file_formats import read_csv
from metaxcr.data.repairs import Repairs
from metaxcr.data.rows import Defect, Row, lines_of, shown, strict, value_of
from metaxcr.data.spec import Fields
from metaxcr.errors import UserError

# (row, 0-based position of the row, id, choices as the row has them) -> label
LabelSource = Callable[[Row, int, str, Sequence[Any]], int | None]


def label_source(fields: Fields, labels: Path | None, labelled: bool, repairs: Repairs) -> LabelSource:
    """Choose where labels come from: nowhere, the row, a file in step with the rows, or a file keyed by id.

    Args:
        fields: What the task declares about its rows.
        labels: File with the labels, where the task keeps them apart (see :class:`metaxcr.data.spec.Files`).
        labelled: Whether the split has labels at all.
        repairs: The steps that are on.

    Returns:
        A function that gives the label of a row. It raises :class:`Defect` for a fault of the row or of its
        label.

    Raises:
        UserError: The label file cannot be read.
    """
    if not labelled:
        return lambda row, index, identity, choices: None
    if labels is None:
        return partial(_in_row, fields, repairs)
    if labels.suffix == ".csv":
        return partial(_by_id, fields, labels, _label_pairs(labels, repairs), repairs)
    return partial(_in_step, fields, labels, _label_lines(labels, repairs), repairs)


def check_length(data: Path, labels: Path, rows: int) -> None:
    """Refuse a label file that is not as long as its data file: the two would be out of step.

    Args:
        data: The data file.
        labels: Its label file.
        rows: Number of rows read from the data file.

    Raises:
        UserError: The numbers differ.
    """
    read = _label_pairs if labels.suffix == ".csv" else _label_lines
    count = len(read(labels, Repairs()))
    if count != rows:
        raise UserError(
            f"{count} labels for {rows} rows", str(labels), f"fetch {labels.name} and {data.name} again"
        )


def decode_label(
    raw: object, fields: Fields, choices: Sequence[Any], repairs: Repairs, keys: Sequence[object] = ()
) -> int:
    """Turn a label as the file spells it into an index.

    Args:
        raw: The label in the file.
        fields: Tells how labels are spelt.
        choices: The choices.
        repairs: The steps that are on.
        keys: The choices' own keys, for ``label_kind: key``.

    Returns:
        The index of the choice, 0 to n - 1.

    Raises:
        Defect: The label is not of the declared kind or out of range.
    """
    if isinstance(raw, list) and fields.label_kind == "flag":
        if len(raw) != len(choices):
            raise Defect(f"{len(raw)} marks for {len(choices)} choices", "correct the row")
        return _marked(raw)
    try:
        return _decode(raw, fields, choices, repairs, keys)
    except Defect:
        index = _loosely(raw, fields, choices)
        if index is None or not repairs.take("label-spelling"):
            raise
        return index


def _loosely(raw: object, fields: Fields, choices: Sequence[Any]) -> int | None:
    """Read a label that is spelt as people do; None: it is out of range, or cannot be read."""
    if fields.label_kind == "text":
        texts = [plain_text(choice) for choice in choices]
        bare = [plain_text(text) for text in without_numbers(choices) or choices]
        wanted = plain_text(raw[0] if isinstance(raw, list) and len(raw) == 1 else raw)
        return next((listed.index(wanted) for listed in (texts, bare) if listed.count(wanted) == 1), None)
    found = spelt_index(raw)
    if found is None or fields.label_kind not in ("zero", "one", "letter"):
        return None
    kind, index = found
    if (kind == "letter") != (fields.label_kind == "letter"):
        return None
    if kind == "truth" and (fields.label_kind != "zero" or len(choices) != 2):
        return None
    index -= fields.label_kind == "one"
    return index if 0 <= index < len(choices) else None


def _marked(flags: Sequence[object]) -> int:
    """Return the place of the one choice that is marked."""
    index = flagged(flags)
    if index is None:
        raise Defect("no choice is marked as right", "mark one of them")
    return index


def _decode(
    raw: object, fields: Fields, choices: Sequence[Any], repairs: Repairs, keys: Sequence[object]
) -> int:
    """Read a label that is spelt exactly as declared."""
    if fields.label_kind == "key":
        places = [place for place, key in enumerate(keys) if type(key) is type(raw) and key == raw]
        if not places:
            raise Defect(f"label {shown(raw)} is none of the choices' keys", "correct the label")
        if len(places) > 1:
            raise Defect(f"label {shown(raw)} is the key of two choices", "correct the keys")
        return places[0]
    if fields.label_kind == "text":
        texts = [choice.strip() if isinstance(choice, str) else choice for choice in choices]
        wanted = raw.strip() if isinstance(raw, str) else raw
        if wanted not in texts:
            raise Defect(f"label {shown(raw)} is the text of no choice", "correct the label")
        return texts.index(wanted)
    if fields.label_kind == "letter":
        letter = raw.strip().upper() if isinstance(raw, str) else ""
        index = ord(letter) - ord("A") if len(letter) == 1 else -1
    else:
        index = _whole(raw, repairs) - (1 if fields.label_kind == "one" else 0)
    if not 0 <= index < len(choices):
        raise Defect(f"label {shown(raw)} is out of range for {len(choices)} choices", "correct the label")
    return index


def _whole(raw: object, repairs: Repairs) -> int:
    """Read a whole number, written as a number or as text; True and 1.0 are neither."""
    if type(raw) is int:
        return raw
    digits = raw.strip() if isinstance(raw, str) else ""
    try:
        number = int(digits.replace("_", "x"))  # what int() reads beside digits is a spelling of Python's
    except ValueError:
        raise Defect(f"label {shown(raw)} is no whole number", "correct the label") from None
    if not digits.isascii() and not repairs.take("digits"):
        raise Defect(f"label {shown(raw)} is not in the digits 0 to 9", "correct the label")
    return number


def _in_row(
    fields: Fields, repairs: Repairs, row: Row, index: int, identity: str, choices: Sequence[Any]
) -> int:
    """Decode the label that the row itself holds."""
    if fields.label_kind == "first":
        return 0
    if fields.choice_flag is not None:
        return _marked(objects_of(row, fields, fields.choice_flag)[: len(choices)])
    if fields.label is None:
        raise Defect("the task declares no label field", "add fields.label to the task")
    keys = _keys(fields, row, len(choices)) if fields.label_kind == "key" else ()
    return decode_label(value_of(row, fields.label), fields, choices, repairs, keys)


def _keys(fields: Fields, row: Row, number: int) -> Sequence[object]:
    """Look up the keys of the choices, without those of choices that were left blank."""
    if isinstance(fields.choices, list) and fields.choice_keys is None:
        return fields.choices[:number]
    name = fields.choice_keys or fields.choices
    found = value_of(row, name) if isinstance(name, str) else []
    if fields.choice_cell is not None and isinstance(found, str):
        found = cut_cell(found, fields.choice_cell)
    if not isinstance(found, list):
        raise Defect(f"'{name}' is no list of keys", "write a list")
    if fields.choice_keys is None:
        key = fields.choice_key
        found = [choice.get(key) if isinstance(choice, Mapping) else None for choice in found]
    if len(found) < number or (len(found) > number and not fields.blank_choices):
        raise Defect(f"{len(found)} keys for {number} choices", "correct the row")
    return found[:number]


def objects_of(row: Row, fields: Fields, key: str) -> list[object]:
    """List what the objects of the choices hold under a key.

    Args:
        row: A row.
        fields: Where it keeps the choices.
        key: The key.

    Raises:
        Defect: The choices are no list of objects.
    """
    name = fields.choices
    found = value_of(row, name) if isinstance(name, str) else None
    if fields.choice_cell is not None and isinstance(found, str):
        found = cut_cell(found, fields.choice_cell)
    if not isinstance(found, list) or not all(isinstance(choice, Mapping) for choice in found):
        raise Defect(f"'{name}' is no list of objects", f"write objects with '{key}'")
    return [choice.get(key) for choice in found]


def _in_step(
    fields: Fields,
    file: Path,
    lines: Sequence[tuple[int, str]],
    repairs: Repairs,
    row: Row,
    index: int,
    identity: str,
    choices: Sequence[Any],
) -> int:
    """Decode the label on the same line of a label file."""
    if index >= len(lines):
        raise Defect(f"no label for this row: {file} has {len(lines)} labels", "fetch both files again")
    return _decode_line(fields, file, lines[index], choices, repairs)


def _by_id(
    fields: Fields,
    file: Path,
    pairs: Mapping[str, tuple[int, str]],
    repairs: Repairs,
    row: Row,
    index: int,
    identity: str,
    choices: Sequence[Any],
) -> int:
    """Decode the label that a label file gives for the example's id."""
    if identity not in pairs:
        raise Defect(f"no label for id {shown(identity)} in {file}", "fetch both files again")
    return _decode_line(fields, file, pairs[identity], choices, repairs)


def _decode_line(
    fields: Fields, file: Path, entry: tuple[int, str], choices: Sequence[Any], repairs: Repairs
) -> int:
    """Decode a label of a label file; a fault is reported there and not at the row."""
    line, raw = entry
    try:
        return decode_label(raw.strip(), fields, choices, repairs)
    except Defect as defect:
        raise Defect(defect.what, defect.fix, f"{file}:{line}") from None


def _label_pairs(file: Path, repairs: Repairs) -> dict[str, tuple[int, str]]:
    """Return the records ``id,label`` of a label file: id -> line and label."""
    pairs: dict[str, tuple[int, str]] = {}
    for line, row in strict(file, read_csv(file, ("id", "label"), repairs)):
        if row["id"] in pairs:
            before = pairs[row["id"]][0]
            raise UserError(
                f"id {shown(row['id'])} is also on line {before}", f"{file}:{line}", "remove one of them"
            )
        pairs[row["id"]] = (line, row["label"])
    return pairs


def _label_lines(file: Path, repairs: Repairs) -> list[tuple[int, str]]:
    """List the lines of a label file."""
    lines = []
    for number, line in lines_of(file, repairs):
        if isinstance(line, Defect):
            raise UserError(line.what, f"{file}:{number}", line.fix)
        lines.append((number, line))
    return lines
