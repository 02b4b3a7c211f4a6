"""Labels: where a data set keeps them and how it spells them; the package counts choices from 0."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metaxcr.data.cell_values import choice_index, cut_cell, marked_index, plain_text, without_numbers
from metaxcr.data.file_formats import read_csv
from metaxcr.data.repairs import Repairs
from metaxcr.data.rows import Defect, Row, lines_of, shown, strict, value_of
from metaxcr.data.spec import Fields
from metaxcr.errors import UserError

# (row, 0-based position of the row, id, choices as the row has them) -> label
LabelSource = Callable[[Row, int, str, Sequence[Any]], int | None]


def label_source(fields: Fields, labels: Path | None, labelled: bool, repairs: Repairs) -> LabelSource:
    """Return a function that gives the label of a row, from the row or from a file of labels.

    The function raises :class:`Defect` where the row or its label cannot be used. ``labels`` is the file,
    where the task keeps labels apart (see :class:`metaxcr.data.spec.Files`).
    """
    if not labelled:
        return lambda row, position, identity, choices: None
    if labels is None:
        return lambda row, position, identity, choices: _label_in_row(row, fields, choices, repairs)
    by_id, entries = _is_keyed(labels), _read_label_file(labels, repairs)

    def from_file(row: Row, position: int, identity: str, choices: Sequence[Any]) -> int:
        key = identity if by_id else position
        if key not in entries:
            what = (
                f"id {shown(identity)} in {labels}" if by_id else f"row: {labels} has {len(entries)} labels"
            )
            raise Defect(f"no label for {'' if by_id else 'this '}{what}", "fetch both files again")
        line, raw = entries[key]
        try:
            return decode_label(raw.strip(), fields.label_kind, choices, repairs)
        except Defect as defect:  # the fault is in the label file, not in the row
            raise Defect(defect.what, defect.fix, f"{labels}:{line}") from None

    return from_file


def check_length(data: Path, labels: Path, rows: int) -> None:
    """Refuse a label file with another number of labels than the data file has rows."""
    count = len(_read_label_file(labels, Repairs()))
    if count != rows:
        raise UserError(
            f"{count} labels for {rows} rows", str(labels), f"fetch {labels.name} and {data.name} again"
        )


def decode_label(
    raw: object, kind: str, choices: Sequence[Any], repairs: Repairs, keys: Sequence[object] = ()
) -> int:
    """Turn a label as the file spells it into the index of a choice; a label that names none is a Defect.

    ``kind`` is a ``label_kind`` of :class:`metaxcr.data.spec.Fields`; ``keys`` are the choices' own keys, for
    the kind ``key``.
    """
    if kind == "flag" and isinstance(raw, Mapping):  # from choice to mark
        raw = list(raw.values())
    if kind == "flag" and isinstance(raw, list):
        if len(raw) != len(choices):
            raise Defect(f"{len(raw)} marks for {len(choices)} choices", "correct the row")
        return _marked(raw)
    try:
        return _decode_strictly(raw, kind, choices, repairs, keys)
    except Defect:
        index = _decode_loosely(raw, kind, choices)
        if index is None or not repairs.take("label-spelling"):
            raise
        return index


def keys_of_choices(row: Row, fields: Fields, n_choices: int) -> Sequence[object]:
    """Return the keys of the choices, without those of choices that were left blank."""
    if isinstance(fields.choices, list) and fields.choice_keys is None:
        return fields.choices[:n_choices]
    name = fields.choice_keys or fields.choices
    keys = _list_in(row, fields, name)
    if not isinstance(keys, list):
        raise Defect(f"'{name}' is no list of keys", "write a list")
    if fields.choice_keys is None:
        keys = [choice.get(fields.choice_key) if isinstance(choice, Mapping) else None for choice in keys]
    if len(keys) < n_choices or (len(keys) > n_choices and not fields.blank_choices):
        raise Defect(f"{len(keys)} keys for {n_choices} choices", "correct the row")
    return keys[:n_choices]


def _list_in(row: Row, fields: Fields, name: str | list[str]) -> Any:
    """Return what should be a list: of choices that are objects, or of keys."""
    found = value_of(row, name) if isinstance(name, str) else None
    if fields.choice_cell is not None and isinstance(found, str):
        return cut_cell(found, fields.choice_cell)
    return found


def _label_in_row(row: Row, fields: Fields, choices: Sequence[Any], repairs: Repairs) -> int:
    if fields.label_kind == "first":
        return 0
    if fields.choice_flag is not None:
        return _marked(_flags(row, fields, fields.choice_flag)[: len(choices)])
    if fields.label is None:
        raise Defect("the task declares no label field", "add fields.label to the task")
    keys = keys_of_choices(row, fields, len(choices)) if fields.label_kind == "key" else ()
    return decode_label(value_of(row, fields.label), fields.label_kind, choices, repairs, keys)


def _flags(row: Row, fields: Fields, key: str) -> list[object]:
    """Return what each of the choices, which are objects, holds under a key."""
    objects = _list_in(row, fields, fields.choices)
    if not isinstance(objects, list) or not all(isinstance(choice, Mapping) for choice in objects):
        raise Defect(f"'{fields.choices}' is no list of objects", f"write objects with '{key}'")
    return [choice.get(key) for choice in objects]


def _marked(flags: Sequence[object]) -> int:
    index = marked_index(flags)
    if index is None:
        raise Defect("no choice is marked as right", "mark one of them")
    return index


def _decode_strictly(
    raw: object, kind: str, choices: Sequence[Any], repairs: Repairs, keys: Sequence[object]
) -> int:
    """Read a label that is spelt exactly as declared."""
    if kind == "key":
        places = [place for place, key in enumerate(keys) if type(key) is type(raw) and key == raw]
        if not places:
            raise Defect(f"label {shown(raw)} is none of the choices' keys", "correct the label")
        if len(places) > 1:
            raise Defect(f"label {shown(raw)} is the key of two choices", "correct the keys")
        return places[0]
    if kind == "text":
        texts = [choice.strip() if isinstance(choice, str) else choice for choice in choices]
        wanted = raw.strip() if isinstance(raw, str) else raw
        if wanted not in texts:
            raise Defect(f"label {shown(raw)} is the text of no choice", "correct the label")
        return texts.index(wanted)
    if kind == "letter":
        letter = raw.strip().upper() if isinstance(raw, str) else ""
        index = ord(letter) - ord("A") if len(letter) == 1 else -1
    else:
        index = _whole_number(raw, repairs) - (kind == "one")
    if not 0 <= index < len(choices):
        raise Defect(f"label {shown(raw)} is out of range for {len(choices)} choices", "correct the label")
    return index


def _decode_loosely(raw: object, kind: str, choices: Sequence[Any]) -> int | None:
    """Read a label that is spelt freely; None: it is out of range, or cannot be read."""
    if kind != "text":
        return choice_index(raw, kind, len(choices))
    wanted = plain_text(raw[0] if isinstance(raw, list) and len(raw) == 1 else raw)
    for texts in (choices, without_numbers(choices) or ()):
        plain = [plain_text(text) for text in texts]
        if plain.count(wanted) == 1:
            return plain.index(wanted)
    return None


def _whole_number(raw: object, repairs: Repairs) -> int:
    """Read a whole number, written as a number or as text; True and 1.0 are neither."""
    if type(raw) is int:
        return raw
    digits = raw.strip() if isinstance(raw, str) else ""
    try:
        number = int(digits.replace("_", "x"))  # int() would read 1_000
    except ValueError:
        raise Defect(f"label {shown(raw)} is no whole number", "correct the label") from None
    if not digits.isascii() and not repairs.take("digits"):
        raise Defect(f"label {shown(raw)} is not in the digits 0 to 9", "correct the label")
    return number


def _is_keyed(labels: Path) -> bool:
    return labels.suffix == ".csv"


def _read_label_file(file: Path, repairs: Repairs) -> dict[str | int, tuple[int, str]]:
    """Read a label file: id, or position of the row where it holds one label a line -> line and label."""
    entries: dict[str | int, tuple[int, str]] = {}
    if not _is_keyed(file):
        for line, text in lines_of(file, repairs):
            if isinstance(text, Defect):
                raise UserError(text.what, f"{file}:{line}", text.fix)
            entries[len(entries)] = (line, text)
        return entries
    for line, row in strict(file, read_csv(file, ("id", "label"), repairs)):
        identity = row["id"]
        if identity in entries:
            what = f"id {shown(identity)} is also on line {entries[identity][0]}"
            raise UserError(what, f"{file}:{line}", "remove one of them")
        entries[identity] = (line, row["label"])
    return entries
