"""From rows to examples: one reader for all formats, driven by what the task declares."""

from pathlib import Path

from metaxcr.errors import UserError
from metaxcr.tasks.example import Example
from metaxcr.tasks.labels import check_length, label_source
from metaxcr.tasks.rows import FORMATS, Defect, Row, value_of
from metaxcr.tasks.spec import Fields, TaskSpec

UNSPACED = frozenset({"ja", "km", "lo", "my", "th", "zh"})  # scripts without spaces between sentences


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
        UserError: A malformed line, a missing field, an empty text, a label out of range, an id twice, or
            files of unequal length; always with file and line.
    """
    declared = spec.splits[split]
    fields = declared.fields or spec.fields_
    label_of = label_source(fields, labels, declared.labelled)
    seen: dict[str, int] = {}
    examples = []
    for index, (line, row) in enumerate(FORMATS[spec.format](data, spec.columns)):
        try:
            example = _example(spec, fields, split, language, line, row)
            if declared.ids is not None and _number(example.id) not in declared.ids:
                continue
            if example.id in seen:
                raise Defect(
                    f"id '{example.id}' is also on line {seen[example.id]}", "give every row its own id"
                )
            seen[example.id] = line
            label = label_of(row, index, example)
        except Defect as defect:
            raise UserError(defect.what, f"{data}:{line}", defect.fix) from None
        examples.append(example if label is None else _with_label(example, label))
    if labels is not None and declared.ids is None:
        check_length(data, labels, len(examples))
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
        identity = fields.id.format_map({**row, "split": split, "line": line})
    except KeyError as error:
        raise Defect(f"no field {error}", "add it; the id is made from it") from None
    context = _context(row, fields, language)
    question = _text(row, fields.question) if fields.question else ""
    if spec.relation == "question" and question not in ("cause", "effect"):
        raise Defect(f"'{fields.question}' is '{question}'", "write cause or effect")
    blank = spec.phrasing.blank
    if blank and context.count(blank) != 1:
        raise Defect(
            f"{context.count(blank)} blanks '{blank}' where one belongs", "mark one place in the sentence"
        )
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
    listed = value_of(row, fields.choices)
    if not isinstance(listed, list) or len(listed) < 2:
        raise Defect(f"'{fields.choices}' is no list of two or more choices", "write a list")
    name = fields.choice_text
    if name is not None:
        if not all(isinstance(choice, dict) for choice in listed):
            raise Defect(
                f"'{fields.choices}' holds something that is no object", f"write objects with '{name}'"
            )
        return tuple([_text(choice, name) for choice in listed])
    return tuple([_checked(choice, fields.choices) for choice in listed])


def _text(row: Row, name: str) -> str:
    """Look up a field that must hold text."""
    return _checked(value_of(row, name), name)


def _checked(value: object, name: str) -> str:
    """Insist on text that is not blank; outer blanks are dropped (official files have stray ones)."""
    if not isinstance(value, str):
        raise Defect(f"field '{name}' is no text but {type(value).__name__}", "put quotation marks around it")
    stripped = value.strip()
    if not stripped:
        raise Defect(f"field '{name}' is empty", "fill it in or remove the row")
    return stripped


def _number(identity: str) -> int:
    """Read an id as the number that an id range refers to."""
    try:
        return int(identity)
    except ValueError:
        raise Defect(
            f"id '{identity}' is no whole number", "number the items: the split is an id range"
        ) from None
