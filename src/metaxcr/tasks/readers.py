"""From rows to examples: one reader for all formats, driven by what the task declares."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from metaxcr.errors import UserError
from metaxcr.tasks.example import Example
from metaxcr.tasks.rows import FORMATS, Row, lines_of, read_text
from metaxcr.tasks.spec import Fields, TaskSpec

UNSPACED = frozenset({"ja", "km", "lo", "my", "th", "zh"})  # scripts without spaces between sentences


class _Defect(Exception):
    """Something wrong in a row: what, and how to mend it. The caller adds file and line."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what, self.fix = what, fix


def read_examples(
    spec: TaskSpec, split: str, language: str, data: Path, labels: Path | None = None
) -> list[Example]:
    """Read one split in one language, exactly as the file has it (no repair).

    Args:
        spec: The task.
        split: Name of one of its splits.
        language: One of its languages.
        data: File with the rows.
        labels: File with the labels, where the task keeps them apart.

    Returns:
        The examples in the order of the file.

    Raises:
        UserError: A malformed line, a missing field, an empty text, a label out of range, an id twice, or files of
            unequal length; always with file and line.
    """
    if spec.format not in FORMATS:
        raise UserError(f"unknown format '{spec.format}'", f"task {spec.id}", f"one of {', '.join(FORMATS)}")
    declared = spec.splits[split]
    fields = declared.fields or spec.fields_
    label_of = _label_source(fields, labels, declared.labelled)
    seen: dict[str, int] = {}
    examples = []
    for index, (line, row) in enumerate(FORMATS[spec.format](data, spec.columns)):
        try:
            example = _example(spec, fields, split, language, line, row)
            if declared.ids is not None and _number(example.id) not in declared.ids:
                continue
            if example.id in seen:
                raise _Defect(f"id '{example.id}' is also on line {seen[example.id]}", "give every row its own id")
            seen[example.id] = line
            label = label_of(row, index, example)
        except _Defect as defect:
            raise UserError(defect.what, f"{data}:{line}", defect.fix) from None
        examples.append(example if label is None else _with_label(example, label))
    if labels is not None and declared.ids is None:
        _same_length(data, labels, len(examples))
    if not examples:
        raise UserError("the file holds no examples", str(data), "fetch it again")
    return examples


def _with_label(example: Example, label: int) -> Example:
    """Copy with the label; plain construction is three times as fast as dataclasses.replace."""
    return Example(
        example.id, example.context, example.question, example.choices, label, example.language, example.task
    )


def _example(spec: TaskSpec, fields: Fields, split: str, language: str, line: int, row: Row) -> Example:
    """Build the example of one row, without its label."""
    try:
        identity = fields.id.format_map({"split": split, "line": line, **row})
    except KeyError as error:
        raise _Defect(f"no field {error}", "add it; the id is made from it") from None
    context = _context(row, fields, language)
    question = _text(row, fields.question) if fields.question else ""
    if spec.relation == "question" and question not in ("cause", "effect"):
        raise _Defect(f"'{fields.question}' is '{question}'", "write cause or effect")
    blank = spec.phrasing.blank
    if blank and context.count(blank) != 1:
        raise _Defect(f"{context.count(blank)} blanks '{blank}' where one belongs", "mark one place in the sentence")
    return Example(identity, context, question, _choices(row, fields), None, language, spec.id)


def _context(row: Row, fields: Fields, language: str) -> str:
    """Fetch the context, joined from several fields where the task says so."""
    if fields.context is None:
        return ""
    if isinstance(fields.context, str):
        return _text(row, fields.context)
    return ("" if language in UNSPACED else " ").join(_text(row, name) for name in fields.context)


def _choices(row: Row, fields: Fields) -> tuple[str, ...]:
    """Fetch two or more choices, none of them empty."""
    if isinstance(fields.choices, list):
        return tuple([_text(row, name) for name in fields.choices])
    listed = _value(row, fields.choices)
    if not isinstance(listed, list) or len(listed) < 2:
        raise _Defect(f"'{fields.choices}' is no list of two or more choices", "write a list")
    name = fields.choice_text
    if name is not None:
        if not all(isinstance(choice, dict) for choice in listed):
            raise _Defect(f"'{fields.choices}' holds something that is no object", f"write objects with '{name}'")
        return tuple([_text(choice, name) for choice in listed])
    return tuple([_checked(choice, fields.choices) for choice in listed])


def _value(row: Row, name: str) -> Any:
    """Look a field up; a dotted name reaches into nested objects."""
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise _Defect(f"no field '{name}'", "add it, or compare with the official file")
        value = value[part]
    return value


def _text(row: Row, name: str) -> str:
    """Look up a field that must hold text."""
    return _checked(_value(row, name), name)


def _checked(value: object, name: str) -> str:
    """Insist on text that is not blank; outer blanks are dropped (official files have stray ones)."""
    if not isinstance(value, str):
        raise _Defect(f"field '{name}' is no text but {type(value).__name__}", "put quotation marks around it")
    stripped = value.strip()
    if not stripped:
        raise _Defect(f"field '{name}' is empty", "fill it in or remove the row")
    return stripped


LabelSource = Callable[[Row, int, Example], int | None]


def _label_source(fields: Fields, labels: Path | None, labelled: bool) -> LabelSource:
    """Choose where labels come from: nowhere, the row, a file in step with the rows, or a file keyed by id."""
    if not labelled:
        return lambda row, index, example: None
    if labels is None:
        return partial(_label_in_row, fields)
    if labels.suffix == ".csv":
        return partial(_label_by_id, fields, labels, dict(_read_pairs(labels)))
    return partial(_label_in_step, fields, labels, list(lines_of(labels)))


def _label_in_row(fields: Fields, row: Row, index: int, example: Example) -> int:
    """Decode the label that the row itself holds."""
    if fields.label is None:
        raise _Defect("the task declares no label field", "add fields.label to the task")
    raw = _value(row, fields.label)
    keys = [choice.get(fields.choice_key) for choice in _value(row, str(fields.choices))] if fields.choice_key else None
    return _decode(raw, fields, len(example.choices), keys)


def _label_in_step(
    fields: Fields, file: Path, lines: Sequence[tuple[int, str]], row: Row, index: int, example: Example
) -> int:
    """Decode the label on the same line of a label file."""
    if index >= len(lines):
        raise _Defect(f"no label for this row: {file} has {len(lines)} labels", "fetch both files again")
    number, raw = lines[index]
    try:
        return _decode(raw.strip(), fields, len(example.choices))
    except _Defect as defect:
        raise UserError(defect.what, f"{file}:{number}", defect.fix) from None


def _label_by_id(
    fields: Fields, file: Path, pairs: dict[str, tuple[int, str]], row: Row, index: int, example: Example
) -> int:
    """Decode the label that a label file gives for the example's id."""
    if example.id not in pairs:
        raise _Defect(f"no label for id '{example.id}' in {file}", "fetch both files again")
    number, raw = pairs[example.id]
    try:
        return _decode(raw, fields, len(example.choices))
    except _Defect as defect:
        raise UserError(defect.what, f"{file}:{number}", defect.fix) from None


def _read_pairs(file: Path) -> Iterator[tuple[str, tuple[int, str]]]:
    """Yield id -> (line, label) from a CSV file without header."""
    reader = csv.reader(io.StringIO(read_text(file), newline=""))
    for record in reader:
        if len(record) != 2:
            raise UserError("not two fields", f"{file}:{reader.line_num}", "write id,label")
        yield record[0].strip(), (reader.line_num, record[1].strip())


def _decode(raw: object, fields: Fields, n: int, keys: Sequence[object] | None = None) -> int:
    """Turn a label as the file spells it into a 0-based index below ``n``."""
    kind = fields.label_kind
    fault = _Defect(f"label {raw!r} is out of range for {n} choices", "correct the label")
    if kind == "key":
        if keys is None or raw not in keys:
            raise _Defect(f"label {raw!r} is none of the choices' keys", "correct the label")
        return list(keys).index(raw)
    if kind == "letter":
        if not isinstance(raw, str) or len(raw) != 1 or not "A" <= raw <= "Z":
            raise fault
        value = ord(raw) - ord("A")
    else:
        try:
            if isinstance(raw, bool) or not isinstance(raw, int | str):
                raise ValueError
            value = int(raw) - (kind == "one")
        except ValueError:
            raise _Defect(f"label {raw!r} is no whole number", "correct the label") from None
    if not 0 <= value < n:
        raise fault
    return value


def _number(identity: str) -> int:
    """Read an id as the number that an id range refers to."""
    try:
        return int(identity)
    except ValueError:
        raise _Defect(f"id '{identity}' is no whole number", "number the items; the split is a range of ids") from None


def _same_length(data: Path, labels: Path, rows: int) -> None:
    """Refuse a label file with more labels than there are rows: the two would be out of step."""
    count = sum(1 for _ in lines_of(labels))
    if count != rows:
        raise UserError(f"{count} labels for {rows} rows", str(labels), f"fetch {labels.name} and {data.name} again")
