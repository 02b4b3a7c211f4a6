"""From rows to examples: one reader for all formats, driven by what the task declares."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any

from metaxcr.data.cell_values import carries_number, cut_cell, without_numbers
from metaxcr.data.example import Example
from metaxcr.data.file_formats import FORMATS
from metaxcr.data.labels import LabelSource, check_length, label_source
from metaxcr.data.languages import language_named
from metaxcr.data.phrasing import repair_questions
from metaxcr.data.repairs import Repairs
from metaxcr.data.rows import Defect, Row, flaw, shown, value_of
from metaxcr.data.spec import Fields, TaskSpec
from metaxcr.data.unfold import unfold_rows
from metaxcr.errors import UserError

UNSPACED = frozenset({"ja", "km", "lo", "my", "th", "zh"})  # scripts without spaces between sentences
MAX_TEXT = 100_000  # characters; the longest context of any known set has a tenth of that
MAX_CHOICES = 100


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file held.

    Attributes:
        examples: In the order of the file.
        lines: The line of each.
        repairs: Step of :mod:`metaxcr.data.repairs` -> how often it changed something.
        skipped: ``file:line: reason`` of the rows that were left out (``skip_bad``).
    """

    examples: list[Example]
    lines: list[int]
    repairs: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def read_examples(
    spec: TaskSpec,
    split: str,
    language: str,
    data: Path,
    labels: Path | None = None,
    *,
    off: Collection[str] = (),
    parsed: Iterable[tuple[int, Row | Defect]] | None = None,
) -> Reading:
    """Read one split in one language.

    Args:
        spec: The task.
        split: Name of one of its splits.
        language: One of its languages.
        data: File with the rows.
        labels: File with the labels, where the task keeps them apart.
        off: Repair steps that are switched off (:data:`metaxcr.data.repairs.STEPS`).
        parsed: The rows of the data file, where it was parsed already.

    Returns:
        The examples, what was repaired and what was left out.

    Raises:
        UserError: A malformed line, a missing field, an empty text, a label out of range, an id twice, or
            files of unequal length; always with file and line.
    """
    declared, repairs = spec.splits[split], Repairs.of(spec.repair_steps, off)
    label_of = label_source(spec.split_fields(split), labels, declared.labelled, repairs)
    rows = _RowReader(spec, split, language, label_of, repairs)
    found = Reading([], [])
    index, before = -1, 0
    columns = declared.columns or spec.columns
    held = FORMATS[declared.format or spec.format](data, columns, repairs) if parsed is None else parsed
    unfolded = unfold_rows(held, rows.fields.unfold, declared.part, columns)
    for index, (line, row) in enumerate(unfolded):
        try:
            example = rows.example(row, line, index)
        except (Defect, RecursionError) as error:
            defect = error if isinstance(error, Defect) else Defect("nested too deeply", "mend or remove it")
            place = f"{data}:{line}" + (f", row {index + 1}" if line == before else "")
            if not spec.skip_bad:
                raise UserError(defect.what, defect.where or place, defect.fix) from None
            found.skipped.append(f"{defect.where or place}: {defect.what}")
            example = None
        before = line
        if example is not None:
            found.examples.append(example)
            found.lines.append(line)
    if labels is not None:
        check_length(data, labels, index + 1)
    if not found.examples:
        raise UserError("the file holds no examples", str(data), _why_none(rows, index + 1, found.skipped))
    examples = repair_questions(found.examples, spec, split, language, repairs)
    return Reading(examples, found.lines, dict(repairs.counts), found.skipped)


def _why_none(rows: "_RowReader", count: int, skipped: list[str]) -> str:
    """Say why a file holds no examples, as far as it is known."""
    if skipped:
        return f"{len(skipped)} rows were left out, first {skipped[0]}"
    if count and rows.where:
        return f"none of its {count} rows has {shown(rows.where)}"
    if count:
        return f"none of its {count} rows belongs to the split '{rows.split}'"
    return "fetch it again"


class _RowReader:
    """Turns the rows of one split in one language into examples."""

    def __init__(
        self, spec: TaskSpec, split: str, language: str, label_of: LabelSource, repairs: Repairs
    ) -> None:
        self.spec, self.split, self.language, self.label_of, self.repairs = (
            spec,
            split,
            language,
            label_of,
            repairs,
        )
        self.fields = spec.split_fields(split)
        self.ids = spec.splits[split].ids
        code = spec.codes.get(language, language)
        self.where = {name: value.format(language=code) for name, value in self.fields.where.items()}
        # of a language without a spelling of its own, every name counts
        self.named = {name for name, value in self.fields.where.items() if value == "{language}"}
        self.named -= self.where.keys() if language in spec.codes else set()
        self.words = {
            word.casefold(): kind for kind, words in self.fields.question_words.items() for word in words
        }
        self.n = next((step.n for step in spec.repairs if step.step == "choices"), None)
        self.id_fields = [name for _, name, _, _ in Formatter().parse(self.fields.id) if name]
        self.seen: dict[str, int] = {}  # id -> line
        self.again: Counter[str] = Counter()  # id -> further rows with it

    def example(self, row: Row | Defect, line: int, index: int) -> Example | None:
        """Build the example of one row; None where the row belongs to another split or is left out.

        Raises:
            Defect: The row cannot be used.
        """
        if isinstance(row, Defect):
            raise row
        if not all(self._belongs(row, name, value) for name, value in self.where.items()):
            return None
        identity = self._identity(row, line, index)
        if self.ids is not None and _number(identity) not in self.ids:
            return None
        context, question = self._context(row), self._question(row)
        choices = choices_of(row, self.fields)
        label = self.label_of(row, index, identity, choices)
        if self.n is not None and len(choices) != self.n:
            fitted = self._fit(choices, label)
            if fitted is None:
                return None
            choices, label = fitted
        if self.fields.choice_numbers:
            choices = self._without_numbers(choices)
        texts = tuple([_checked(choice, "choices") for choice in choices])
        if self.spec.equal_choices == "refuse" and len(set(texts)) < len(texts):
            twice = next(text for text in texts if texts.count(text) > 1)
            raise Defect(f"two choices are {shown(twice)}", "correct the row")
        identity = self._unique(identity, line)
        if self.fields.shuffle is not None:
            order = self._order(row, line, index, len(texts))
            texts = tuple([texts[place] for place in order])
            label = None if label is None else order.index(label)
        return Example(identity, context, question, texts, label, self.language, self.spec.id)

    def _belongs(self, row: Row, name: str, wanted: str) -> bool:
        """Tell whether a row is of the part or the language that is read."""
        value = value_of(row, name)
        if str(value).strip() == wanted:
            return True
        named = language_named(value) if name in self.named else None
        return named is not None and named[0] == self.language

    def _order(self, row: Row, line: int, index: int, count: int) -> list[int]:
        """Draw the order of the choices from the seed and the id; the name of the split plays no part."""
        identity = self._identity(row, line, index, split="any")
        drawn = [f"{self.fields.shuffle} {identity} {place}".encode() for place in range(count)]
        return sorted(range(count), key=lambda place: hashlib.sha256(drawn[place]).digest())

    def _without_numbers(self, choices: list[Any]) -> list[Any]:
        """Take the number or letter off each choice; a row without any is taken as it is."""
        bare = without_numbers(choices)
        if bare is None and all(map(carries_number, choices)):
            raise Defect("the numbers of the choices are not in order", "number them 1, 2, ... or A, B, ...")
        return bare or choices

    def _identity(self, row: Row, line: int, index: int, split: str | None = None) -> str:
        words = {"position": index, **row, "split": self.split if split is None else split, "line": line}
        for name in self.id_fields:
            if name not in words:
                raise Defect(f"no field '{name}'", "add it; the id is made from it")
            if type(words[name]) not in (str, int, float):
                kind = type(words[name]).__name__
                raise Defect(f"field '{name}' is {kind}", "write text or a number; the id is made from it")
            _checked(str(words[name]), name)
        return self.fields.id.format_map(words)

    def _unique(self, identity: str, line: int) -> str:
        """Insist on an id that was not there before."""
        if identity in self.seen:
            if not self.repairs.take("repeated-ids"):
                raise Defect(
                    f"id {shown(identity)} is also on line {self.seen[identity]}",
                    "give every row its own id, or declare the repair 'repeated-ids'",
                )
            self.again[identity] += 1
            return self._unique(f"{identity}#{self.again[identity] + 1}", line)
        self.seen[identity] = line
        return identity

    def _context(self, row: Row) -> str:
        """Fetch the context, joined from several fields where the task says so."""
        names = self.fields.context
        if names is None:
            return ""
        listed = [names] if isinstance(names, str) else names
        if self.fields.blank_context:
            listed = [name for name in listed if value_of(row, name) is not None]
            listed = [name for name in listed if str(value_of(row, name)).strip()]
        glue = "" if self.language in UNSPACED else " "
        context = glue.join(_text(row, name, glue) for name in listed)
        blank = self.spec.phrasing.blank
        if blank and context.count(blank) != 1:
            raise Defect(
                f"{context.count(blank)} blanks '{blank}' where one belongs", "mark one place in the sentence"
            )
        return context

    def _question(self, row: Row) -> str:
        """Fetch the question; one that the task's own words name becomes ``cause`` or ``effect``."""
        if not self.fields.question:
            return ""
        question = _text(row, self.fields.question)
        question = self.words.get(question.casefold(), question)
        if self.spec.relation == "question" and question not in ("cause", "effect"):
            known = ", ".join(self.words) or "cause or effect"
            raise Defect(f"'{self.fields.question}' is {shown(question)}", f"write {known}")
        return question

    def _fit(self, choices: list[Any], label: int | None) -> tuple[list[Any], int | None] | None:
        """Bring a row to the task's number of choices (repair step ``choices``); None leaves it out.

        Raises:
            Defect: The step is switched off.
        """
        if not self.repairs.take("choices"):
            raise Defect(f"{len(choices)} choices where {self.n} belong", "correct the row")
        kept: list[int] = []
        for position, choice in enumerate(choices):
            blank = not str(choice if choice is not None else "").strip()
            if not blank and choice not in [choices[k] for k in kept]:
                kept.append(position)
        if len(kept) != self.n:
            return None
        if label is None:
            return [choices[k] for k in kept], None
        right = next((n for n, k in enumerate(kept) if choices[k] == choices[label]), None)
        return None if right is None else ([choices[k] for k in kept], right)


def choices_of(row: Row, fields: Fields) -> list[Any]:
    """Fetch the choices as the row has them; their texts are checked later.

    Args:
        row: A row.
        fields: Where it keeps what.

    Raises:
        Defect: There are fewer than two, or far too many.
    """
    if isinstance(fields.choices, list):
        found = []
        for name in fields.choices:  # right answer and list of wrong ones
            value = value_of(row, name)
            found += value if isinstance(value, list) and fields.label_kind == "first" else [value]
    else:
        found = value_of(row, fields.choices)
        if fields.choice_cell == "mapping":
            found = [*found] if isinstance(found, Mapping) else []
        elif fields.choice_cell is not None and isinstance(found, str):
            _checked(found, fields.choices)
            found = cut_cell(found, fields.choice_cell)
        if not isinstance(found, list) or len(found) < 2:
            raise Defect(f"'{fields.choices}' is no list of two or more choices", "write a list")
        if fields.choice_text is not None:
            found = [_inside(choice, fields.choice_text, fields.choices) for choice in found]
    found = list(found)
    while fields.blank_choices and found and (found[-1] is None or not str(found[-1]).strip()):
        found.pop()
    if len(found) < 2:
        raise Defect(f"{len(found)} choices where two or more are needed", "fill them in or remove the row")
    if len(found) > MAX_CHOICES:
        raise Defect(f"{len(found)} choices, more than {MAX_CHOICES}", "check the field")
    return found


def _inside(choice: object, name: str, field: str) -> Any:
    if not isinstance(choice, Mapping):
        raise Defect(f"'{field}' holds something that is no object", f"write objects with '{name}'")
    return value_of(choice, name)


def _text(row: Row, name: str, glue: str = " ") -> str:
    """Look up a field that must hold text, or its parts in a list: turns of a dialogue, sentences."""
    value = value_of(row, name)
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        value = glue.join(part.strip() for part in value)
    return _checked(value, name)


def _checked(value: object, name: str) -> str:
    """Insist on text that is not blank; outer blanks are dropped (official files have stray ones)."""
    if not isinstance(value, str):
        raise Defect(f"field '{name}' is no text but {type(value).__name__}", "put quotation marks around it")
    stripped = value.strip()
    if not stripped:
        raise Defect(f"field '{name}' is empty", "fill it in or remove the row")
    if len(stripped) > MAX_TEXT:
        raise Defect(f"field '{name}' has {len(stripped):,} characters", f"at most {MAX_TEXT:,} make sense")
    if "\0" in stripped:
        raise Defect(f"field '{name}' holds a NUL character", "remove it")
    if flaw(stripped):
        raise Defect(f"field '{name}' holds half a surrogate pair (\\ud...)", "mend or remove the character")
    return stripped


def _number(identity: str) -> int:
    """Read an id as the number that an id range refers to."""
    try:
        return int(identity)
    except ValueError:
        raise Defect(
            f"id {shown(identity)} is no whole number", "number the items: the split is an id range"
        ) from None
