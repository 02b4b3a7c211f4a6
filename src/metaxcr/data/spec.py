"""What a task declares about itself: one YAML file, strictly checked."""

import re
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from metaxcr.data.download import Download
from metaxcr.data.example import Relation
from metaxcr.data.file_formats import FORMATS
from metaxcr.data.rows import read_text
from metaxcr.errors import UserError
from metaxcr.parse import parse_yaml


def check_placeholders(template: str, known: set[str] | None) -> str:
    """Return the template; raise ValueError where a placeholder is not a plain name, or not ``known``."""
    for _, name, form, conversion in Formatter().parse(template):
        if name is None:
            continue
        plain = name and not set(name) & set(".[]") and not form and not conversion
        if not plain or (known is not None and name not in known):
            allowed = "plain field names" if known is None else ", ".join(sorted(known))
            raise ValueError(f"template {template!r} may name only {allowed}")
    return template


def _check_format(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"'{name}' is none of {', '.join(FORMATS)}")
    return name


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


Format = Annotated[str, AfterValidator(_check_format)]
LanguageTemplate = Annotated[str, AfterValidator(lambda text: check_placeholders(text, {"language"}))]


class Strict(BaseModel):
    """Base of all parts: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Files(Strict):
    """The files of one split: relative to the data root, or absolute (a user's own files)."""

    data: str | dict[str, str]  # name with {language} for its code, or names language by language
    # .lst: one label a line, in step with the data; .csv: id,label without a header
    labels: LanguageTemplate | None = None

    @field_validator("data")
    @classmethod
    def _known_placeholders(cls, data: str | dict[str, str]) -> str | dict[str, str]:
        return check_placeholders(data, {"language"}) if isinstance(data, str) else data


class Fields(Strict):
    """Where a row keeps what. A dotted name reaches into nested objects."""

    # template over the row's own fields, {split}, {line} (from 1) and {position} of the row (from 0)
    id: Annotated[str, AfterValidator(lambda text: check_placeholders(text, None))] = "{split}-{line}"
    context: str | list[str] | None = None  # field, or fields to be joined
    blank_context: bool = False  # a row may leave the context blank; its question then stands alone
    question: str | None = None  # field with cause/effect or a question in words
    choices: str | list[str]  # one field a choice, or the one field that holds a list
    choice_text: str | None = None  # in a list of objects, the key of the text
    choice_key: str | None = None  # in a list of objects, the key that "label_kind: key" refers to
    choice_keys: str | None = None  # the field that holds these keys, where they are a list of their own
    choice_flag: str | None = None  # in a list of objects, the key that says which choice is right
    choice_numbers: bool = False  # each choice begins with its number or letter, which is not its text
    # one cell holds all choices: a text with lines, perhaps numbered; a list in the syntax of JSON or Python;
    # or a mapping from choice to mark, which is the label
    choice_cell: Literal["lines", "json", "mapping"] | None = None
    blank_choices: bool = False  # a row with fewer choices leaves the last fields, or items, blank
    label: str | None = None  # field of the label, unless a file of its own holds it
    # zero, one: an index that starts there; letter: A, B, ...; key: the choice's key, or the name of its
    # field; text: the text of the right choice; flag: choice_flag, or a list in the label, marks the right
    # choice; first: the first choice is right, to be used with shuffle
    label_kind: Literal["zero", "one", "letter", "key", "text", "flag", "first"] = "zero"
    shuffle: int | None = None  # draw the order of the choices from this seed and the example's id
    question_words: dict[Literal["cause", "effect"], list[str]] = {}  # how the file spells them
    where: dict[str, LanguageTemplate] = {}  # only rows whose field has this value, or names the {language}
    unfold: list[list[str]] = []  # steps of metaxcr.data.rows.unfold_rows


class IdRange(Strict):
    """The items of a split where several share a file: numbers from ``first`` to ``last`` inclusive."""

    first: int
    last: int | None = None

    def __contains__(self, number: int) -> bool:
        return self.first <= number and (self.last is None or number <= self.last)


class Split(Strict):
    """One split: its files and what is special about it."""

    files: Files
    n: int | dict[str, int] | None = None  # examples in the official file; by language where they differ
    labelled: bool = True  # False where the official file hides the labels; they are then None
    part: str | None = None  # the field of the file's one object that holds this split's rows
    format: Format | None = None  # format, columns and fields replace the task's
    columns: list[str] | None = None
    fields_: Fields | None = Field(default=None, alias="fields")
    ids: IdRange | None = None  # the items of the file that belong to the split
    languages: list[str] | None = None  # None: all of the task's

    def expected(self, language: str) -> int | None:
        """Return the number of examples of the official file, where it is known."""
        return self.n.get(language) if isinstance(self.n, dict) else self.n


class Phrasing(Strict):
    """Templates for what the encoder reads: ``{context} {question}`` and ``{choice}``.

    With ``blank`` the context is cut there, and ``{before}`` and ``{after}`` name its two parts. Where the
    blank comes first, ``{before}`` is the whole context with its blank.
    """

    context: str = "{context}"
    choice: str = "{choice}"
    blank: str | None = None

    @model_validator(mode="after")
    def _known_placeholders(self) -> Self:
        check_placeholders(self.context, {"context", "question", "before"})
        check_placeholders(self.choice, {"choice", "after"})
        return self


class RelationRule(Strict):
    """A question that matches a regular expression has this relation; the first match decides."""

    pattern: Annotated[str, AfterValidator(_check_pattern)]
    relation: Relation


class QuestionRepair(Strict):
    """Rows of the official files whose ``question`` is wrong, by split, language and id; ``to`` is right.

    XCOPA v1 says "effect" in 250 of 500 Thai test items that ask for the cause, and in fewer items of four
    other languages (the labels are right). The ids ship with the task, so that one language alone can be
    repaired; :func:`metaxcr.data.validation.verify_repair` compares them with the files of all languages.
    """

    step: Literal["question"]
    to: Literal["cause", "effect"]
    ids: dict[str, dict[str, list[str]]]


class ChoicesRepair(Strict):
    """Rows with more choices than ``n``: blank and repeated ones are taken out, or the row is left out."""

    step: Literal["choices"]
    n: int = Field(ge=2)


class OtherRepair(Strict):
    """A repair without settings, see :data:`metaxcr.data.rows.DECLARED`."""

    step: Literal["repeated-ids", "label-spelling"]


Repair = Annotated[QuestionRepair | ChoicesRepair | OtherRepair, Field(discriminator="step")]


class TaskSpec(Strict):
    """A task as its YAML file declares it."""

    id: str  # also the name of the YAML file
    version: int = Field(ge=1)  # raised whenever examples or phrasing may change
    title: str
    group: Literal["source", "target"]  # learned from, or evaluated
    package: bool = False  # the files ship inside the package
    languages: list[str] = Field(min_length=1)  # ISO 639-1
    codes: dict[str, str] = {}  # of languages that file names spell differently
    format: Format  # a name in metaxcr.data.file_formats.FORMATS
    columns: list[str] | None = None  # names of the columns, where the file has no header
    fields_: Fields = Field(alias="fields")
    splits: dict[str, Split] = Field(min_length=1)
    phrasing: Phrasing = Phrasing()
    # question: as each example's question says; otherwise the same for all, after the rules
    relation: Literal["question", "effect", "cause", "answer", "none"]
    relation_rules: list[RelationRule] = []
    # implausible: the label names the choice that does not hold
    polarity: Literal["plausible", "implausible"] = "plausible"
    parallel: bool = False  # the same id means the same item in every language
    origin: str | None = None  # tasks of one origin share items: the same id means the same item
    repairs: list[Repair] = []  # beside the general ones of metaxcr.data.rows
    equal_choices: Literal["keep", "refuse"] = "keep"  # refuse: a row with two equal choices cannot be used
    skip_bad: bool = False  # rows that cannot be used are left out and counted, instead of an error
    fetch: list[Download] = []  # where the files come from (metaxcr tasks fetch)
    licence: str
    citation: str
    url: str
    defects: list[str] = []  # known faults of the files, for the reader of a result

    @model_validator(mode="after")
    def _known_languages(self) -> Self:
        for name, split in self.splits.items():
            listed = split.files.data if isinstance(split.files.data, dict) else []
            unknown = [code for code in (*(split.languages or []), *listed) if code not in self.languages]
            if unknown:
                raise ValueError(f"split '{name}' has the language '{unknown[0]}', the task does not")
        return self

    def split_languages(self, split: str) -> list[str]:
        """List the languages that a split has, in the task's order."""
        declared = self.splits[split]
        files = declared.files.data
        listed = declared.languages or (files if isinstance(files, dict) else self.languages)
        return [language for language in self.languages if language in listed]

    def files_of(self, split: str, language: str) -> list[str]:
        """Name the files of a split relative to a root: the data file, then the label file if any."""
        files, code = self.splits[split].files, self.codes.get(language, language)
        # a listed name is not formatted: a user's folder may have braces in its name
        data = files.data[language] if isinstance(files.data, dict) else files.data.format(language=code)
        return [data, files.labels.format(language=code)] if files.labels else [data]

    def split_fields(self, split: str) -> Fields:
        """Return where the rows of a split keep what."""
        return self.splits[split].fields_ or self.fields_

    @property
    def repair_steps(self) -> tuple[str, ...]:
        """Names of the repair steps that the task declares."""
        return tuple(repair.step for repair in self.repairs)


def read_spec(path: Path) -> TaskSpec:
    """Read and check one YAML file, which is named after the id of its task."""
    try:
        declared = parse_yaml(read_text(path), str(path), what="the task file is not YAML")
        spec = TaskSpec.model_validate(declared)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        fix = "correct the key; see 'metaxcr tasks show copa' for an example"
        raise UserError(f"task key '{key}': {first['msg']}", str(path), fix) from error
    except (ValueError, RecursionError) as error:  # an invalid date, an endless number or list
        raise UserError(f"the task file cannot be read ({error})", str(path), "correct the value") from error
    if spec.id != path.stem:
        what = f"task id '{spec.id}' and file name differ"
        raise UserError(what, str(path), f"name the file {spec.id}.yaml")
    return spec
