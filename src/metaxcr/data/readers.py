"""From a file to examples: one reader for all formats, driven by what the task declares.

The path of a row: a function of :data:`metaxcr.data.file_formats.FORMATS` parses it, ``unfold_rows`` takes
rows inside rows apart, and ``_RowReader.example`` makes it an :class:`Example`, repairs included.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any

from metaxcr.data.example import Example
from metaxcr.data.file_formats import FORMATS
from metaxcr.data.labels import carries_number, check_length, cut_cell, label_source, without_numbers
from metaxcr.data.languages import language_named
from metaxcr.data.rows import LAYOUT, Defect, Repairs, Row, flaw, shown, unfold_rows, value_of
from metaxcr.data.spec import Fields, TaskSpec
from metaxcr.errors import UserError

UNSPACED = frozenset({"ja", "km", "lo", "my", "th", "zh"})  # scripts without spaces between sentences
MAX_TEXT = 100_000  # characters; the longest context of any known set has a tenth of that
MAX_CHOICES = 100


@dataclass(frozen=True, slots=True)
class LoadedSplit:
    """One split in one language, read and repaired."""

    spec: TaskSpec
    split: str
    language: str
    examples: list[Example]  # in the order of the file
    files: list[Path]  # what was read
    lines: list[int] = field(default_factory=list)  # the line of each example
    repairs: dict[str, int] = field(default_factory=dict)  # step -> how often it changed something
    skipped: list[str] = field(default_factory=list)  # "file:line: reason" of rows that were left out

    @property
    def repaired(self) -> int:
        """Number of repairs that changed an example; the layout of the file does not count."""
        return sum(count for step, count in self.repairs.items() if step not in LAYOUT)


def read_examples(
    spec: TaskSpec,
    split: str,
    language: str,
    data: Path,
    labels: Path | None = None,
    *,
    off: Collection[str] = (),
    parsed: Iterable[tuple[int, Row | Defect]] | None = None,
) -> LoadedSplit:
    """Read one split in one language from its data file, or from the rows of it that were parsed already.

    The label file is None where the rows hold their labels; the repair steps in ``off`` are switched off.

    Raises:
        UserError: A malformed line, a missing field, an empty text, a label out of range, an id twice, or
            files of unequal length; always with file and line.
    """
    declared, repairs = spec.splits[split], Repairs.of([repair.step for repair in spec.repairs], off)
    reader = _RowReader(spec, split, language, labels, repairs)
    columns = declared.columns or spec.columns
    rows = FORMATS[declared.format or spec.format](data, columns, repairs) if parsed is None else parsed
    loaded = LoadedSplit(spec, split, language, [], [data] if labels is None else [data, labels])
    index, previous = -1, 0
    for index, (line, row) in enumerate(unfold_rows(rows, reader.fields.unfold, declared.part, columns)):
        try:
            example = reader.example(row, line, index)
        except (Defect, RecursionError) as error:
            defect = error if isinstance(error, Defect) else Defect("nested too deeply", "mend or remove it")
            place = defect.where or f"{data}:{line}" + (f", row {index + 1}" if line == previous else "")
            if not spec.skip_bad:
                raise UserError(defect.what, place, defect.fix) from None
            loaded.skipped.append(f"{place}: {defect.what}")
        else:
            if example is not None:
                loaded.examples.append(example)
                loaded.lines.append(line)
        previous = line
    if labels is not None:
        check_length(data, labels, index + 1)
    if not loaded.examples:
        reason = _why_none(loaded, reader.where, index + 1)
        raise UserError("the file holds no examples", str(data), reason)
    loaded.repairs.update(repairs.counts)
    return loaded


def _why_none(loaded: LoadedSplit, where: Mapping[str, str], count: int) -> str:
    if loaded.skipped:
        return f"{len(loaded.skipped)} rows were left out, first {loaded.skipped[0]}"
    if not count:
        return "fetch it again"
    belongs = f"has {shown(where)}" if where else f"belongs to the split '{loaded.split}'"
    return f"none of its {count} rows {belongs}"


class _RowReader:
    """Turns the rows of one split in one language into examples."""

    def __init__(
        self, spec: TaskSpec, split: str, language: str, labels: Path | None, repairs: Repairs
    ) -> None:
        self.spec, self.split, self.language, self.repairs = spec, split, language, repairs
        self.fields = fields = spec.split_fields(split)
        self.id_range = spec.splits[split].ids
        self.id_fields = [name for _, name, _, _ in Formatter().parse(fields.id) if name]
        self.label_of = label_source(fields, labels, spec.splits[split].labelled, repairs)
        code = spec.codes.get(language, language)
        self.where = {name: value.format(language=code) for name, value in fields.where.items()}
        # fields that may hold any name of the language, unless the task declares how the file spells it
        of_language = {name for name, value in fields.where.items() if value == "{language}"}
        self.language_fields = set() if language in spec.codes else of_language
        words = fields.question_words
        self.question_kinds = {word.casefold(): kind for kind in words for word in words[kind]}
        self.n_choices = next((step.n for step in spec.repairs if step.step == "choices"), None)
        self.question_repairs = [
            (set(step.ids.get(split, {}).get(language, [])), step.to)
            for step in spec.repairs
            if step.step == "question"
        ]
        self.line_of_id: dict[str, int] = {}
        self.repeats: Counter[str] = Counter()  # id -> further rows with it

    def example(self, row: Row | Defect, line: int, index: int) -> Example | None:
        """Build the example of one row; None where it belongs to another split or is left out.

        A row that cannot be used raises its :class:`Defect`.
        """
        if isinstance(row, Defect):
            raise row
        if not all(self._has(row, name, value) for name, value in self.where.items()):
            return None
        identity = self._identity(row, line, index)
        if self.id_range is not None and _number(identity) not in self.id_range:
            return None
        context, question = self._context(row), self._question(row)
        choices = choices_of(row, self.fields)
        label = self.label_of(row, index, identity, choices)
        if self.n_choices is not None and len(choices) != self.n_choices:
            fitted = self._with_n_choices(choices, label)
            if fitted is None:
                return None
            choices, label = fitted
        texts = self._choice_texts(choices)
        identity = self._unique(identity, line)
        if self.fields.shuffle is not None:
            order = self._order(row, line, index, len(texts))
            texts = [texts[place] for place in order]
            label = None if label is None else order.index(label)
        for ids, to in self.question_repairs:
            if identity in ids and question != to and self.repairs.take("question"):
                question = to
        return Example(identity, context, question, tuple(texts), label, self.language, self.spec.id)

    def _has(self, row: Row, name: str, wanted: str) -> bool:
        """Tell whether a field has the value, or names the language, that is read."""
        value = value_of(row, name)
        if str(value).strip() == wanted:
            return True
        named = language_named(value) if name in self.language_fields else None
        return named is not None and named[0] == self.language

    def _identity(self, row: Row, line: int, index: int, split: str | None = None) -> str:
        words = {"position": index, **row, "split": self.split if split is None else split, "line": line}
        for name in self.id_fields:
            if name not in words:
                raise Defect(f"no field '{name}'", "add it; the id is made from it")
            if type(words[name]) not in (str, int, float):
                what = f"field '{name}' is {type(words[name]).__name__}"
                raise Defect(what, "write text or a number; the id is made from it")
            _checked(str(words[name]), name)
        return self.fields.id.format_map(words)

    def _unique(self, identity: str, line: int) -> str:
        """Return an id that no earlier row has: the second row with the id x becomes ``x#2``."""
        if identity in self.line_of_id:
            if not self.repairs.take("repeated-ids"):
                raise Defect(
                    f"id {shown(identity)} is also on line {self.line_of_id[identity]}",
                    "give every row its own id, or declare the repair 'repeated-ids'",
                )
            self.repeats[identity] += 1
            return self._unique(f"{identity}#{self.repeats[identity] + 1}", line)
        self.line_of_id[identity] = line
        return identity

    def _context(self, row: Row) -> str:
        """Return the context, joined from several fields where the task says so."""
        names = self.fields.context or []
        names = [names] if isinstance(names, str) else names
        if self.fields.blank_context:
            names = [name for name in names if not _is_blank(value_of(row, name))]
        glue = "" if self.language in UNSPACED else " "
        context = glue.join(_text(row, name, glue) for name in names)
        blank = self.spec.phrasing.blank
        if self.fields.context is not None and blank and context.count(blank) != 1:
            what = f"{context.count(blank)} blanks '{blank}' where one belongs"
            raise Defect(what, "mark one place in the sentence")
        return context

    def _question(self, row: Row) -> str:
        """Return the question; the file's own words for them become ``cause`` and ``effect``."""
        if not self.fields.question:
            return ""
        question = _text(row, self.fields.question)
        question = self.question_kinds.get(question.casefold(), question)
        if self.spec.relation == "question" and question not in ("cause", "effect"):
            known = ", ".join(self.question_kinds) or "cause or effect"
            raise Defect(f"'{self.fields.question}' is {shown(question)}", f"write {known}")
        return question

    def _with_n_choices(self, choices: list[Any], label: int | None) -> tuple[list[Any], int | None] | None:
        """Take blank and repeated choices out (repair step ``choices``); None leaves the row out."""
        if not self.repairs.take("choices"):
            raise Defect(f"{len(choices)} choices where {self.n_choices} belong", "correct the row")
        kept: list[Any] = []
        for choice in choices:
            if not _is_blank(choice) and choice not in kept:
                kept.append(choice)
        if len(kept) != self.n_choices or (label is not None and choices[label] not in kept):
            return None
        return kept, None if label is None else kept.index(choices[label])

    def _choice_texts(self, choices: list[Any]) -> list[str]:
        """Check the texts of the choices, without their numbers or letters where the task says so."""
        if self.fields.choice_numbers:
            bare = without_numbers(choices)
            if bare is None and all(map(carries_number, choices)):
                fix = "number them 1, 2, ... or A, B, ..."
                raise Defect("the numbers of the choices are not in order", fix)
            choices = bare or choices
        texts = [_checked(choice, "choices") for choice in choices]
        if self.spec.equal_choices == "refuse" and len(set(texts)) < len(texts):
            twice = next(text for text in texts if texts.count(text) > 1)
            raise Defect(f"two choices are {shown(twice)}", "correct the row")
        return texts

    def _order(self, row: Row, line: int, index: int, count: int) -> list[int]:
        """Draw the order of the choices from the seed and the id; the name of the split plays no part."""
        identity = self._identity(row, line, index, split="any")
        drawn = [f"{self.fields.shuffle} {identity} {place}".encode() for place in range(count)]
        return sorted(range(count), key=lambda place: hashlib.sha256(drawn[place]).digest())


def choices_of(row: Row, fields: Fields) -> list[Any]:
    """Return the choices as the row has them, two or more; their texts are not checked yet."""
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
            raise Defect(f"'{fields.choices}' is not a list of two or more choices", "write a list")
        if fields.choice_text is not None:
            if not all(isinstance(choice, Mapping) for choice in found):
                what = f"'{fields.choices}' holds something that is not an object"
                raise Defect(what, f"write objects with '{fields.choice_text}'")
            found = [value_of(choice, fields.choice_text) for choice in found]
    found = list(found)
    while fields.blank_choices and found and _is_blank(found[-1]):
        found.pop()
    if len(found) < 2:
        raise Defect(f"{len(found)} choices where two or more are needed", "fill them in or remove the row")
    if len(found) > MAX_CHOICES:
        raise Defect(f"{len(found)} choices, more than {MAX_CHOICES}", "check the field")
    return found


def _is_blank(value: object) -> bool:
    return value is None or not str(value).strip()


def _text(row: Row, name: str, glue: str = " ") -> str:
    """Return a field that must hold text, or a list of texts to join: turns of a dialogue, sentences."""
    value = value_of(row, name)
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        value = glue.join(part.strip() for part in value)
    return _checked(value, name)


def _checked(value: object, name: str) -> str:
    """Return a text without outer blanks (official files have stray ones); a blank one is a defect."""
    if not isinstance(value, str):
        kind = type(value).__name__
        raise Defect(f"field '{name}' is not text but {kind}", "put quotation marks around it")
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
    try:
        return int(identity)
    except ValueError:
        fix = "number the items: the split is an id range"
        raise Defect(f"id {shown(identity)} is not a whole number", fix) from None
