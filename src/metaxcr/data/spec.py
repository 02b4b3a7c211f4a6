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


def check_words(template: str, known: set[str] | None) -> str:
    """Return the template; refuse placeholders that are no plain names, or none of ``known`` if given."""
    for _, name, form, conversion in Formatter().parse(template):
        if name is None:
            continue
        if (
            not name
            or set(name) & set(".[]")
            or form
            or conversion
            or (known is not None and name not in known)
        ):
            allowed = "plain field names" if known is None else ", ".join(sorted(known))
            raise ValueError(f"template {template!r} may name only {allowed}")
    return template


class Strict(BaseModel):
    """Base of all parts: frozen, and a key nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _check_format(name: str) -> str:
    """Refuse a format that no reader reads."""
    if name not in FORMATS:
        raise ValueError(f"'{name}' is none of {', '.join(FORMATS)}")
    return name


Format = Annotated[str, AfterValidator(_check_format)]


class Files(Strict):
    """The files of one split: relative to the data root, or absolute (a user's own files).

    ``{language}`` stands for the language's code in file names; files that do not follow a pattern are listed
    language by language. ``labels`` is a file of its own: ``.lst`` holds one label a line, in step with the
    data; ``.csv`` holds ``id,label`` without a header.
    """

    data: str | dict[str, str]
    labels: str | None = None

    @field_validator("data", "labels")
    @classmethod
    def _known_words(cls, template: str | dict[str, str] | None) -> str | dict[str, str] | None:
        """Refuse a file name with a placeholder other than the language."""
        return check_words(template, {"language"}) if isinstance(template, str) else template

    def names(self, language: str, code: str) -> list[str]:
        """Name the files of one language: the data file, then the label file if there is one."""
        if isinstance(self.data, dict):
            data = self.data[language]  # a path as it is: a user's folder may have braces in its name
        else:
            data = self.data.format(language=code)
        return [data, *([self.labels.format(language=code)] if self.labels else [])]


class Fields(Strict):
    """Where a row keeps what. A dotted name reaches into nested objects.

    Attributes:
        id: Template over the row's own fields, ``{split}``, ``{line}`` (1-based line of the file) and
            ``{position}`` (0-based number of the row).
        context: Field, or fields to be joined; None where there is none.
        blank_context: A row may leave the context blank; its question then stands alone.
        question: Field with ``cause``/``effect`` or a question in words.
        choices: One field a choice, or the one field that holds a list.
        choice_text: In a list of objects, the key of the text.
        choice_key: In a list of objects, the key that ``label_kind: key`` refers to.
        choice_keys: The same where texts and keys are two lists: the field that holds the keys.
        choice_flag: In a list of objects, the key that says whether a choice is the right one.
        choice_numbers: Each choice carries its number or letter, which is no part of its text.
        choice_cell: How one cell holds all choices: a text with ``lines``, perhaps numbered; a text with a
            list as ``json`` (or Python) writes it; or a ``mapping`` from choice to mark, which is the label.
        blank_choices: A row with fewer choices leaves the last of its fields, or of its list, blank.
        label: Field of the label, unless a file of its own holds it.
        label_kind: ``zero`` and ``one``: an index that starts there; ``letter``: A, B, ...; ``key``: see
            above, or the name of the right choice's field; ``text``: the text of the right choice; ``flag``:
            ``choice_flag``, or a list in ``label``, marks the right choice; ``first``: the first choice is
            right, to be used with ``shuffle``.
        shuffle: Seed of the order of the choices, drawn for each example from this number and its id; None:
            as in the file.
        question_words: How the file spells ``cause`` and ``effect``, where it does not use these words.
        where: Only rows whose field has this value; ``{language}`` stands for the language, by its code or
            its name.
        unfold: Rows that are held inside the file's rows, see :func:`metaxcr.data.unfold.unfold_rows`.
    """

    id: str = "{split}-{line}"
    context: str | list[str] | None = None
    blank_context: bool = False
    question: str | None = None
    choices: str | list[str]
    choice_text: str | None = None
    choice_key: str | None = None
    choice_keys: str | None = None
    choice_flag: str | None = None
    choice_numbers: bool = False
    choice_cell: Literal["lines", "json", "mapping"] | None = None
    blank_choices: bool = False
    label: str | None = None
    label_kind: Literal["zero", "one", "letter", "key", "text", "flag", "first"] = "zero"
    shuffle: int | None = None
    question_words: dict[Literal["cause", "effect"], list[str]] = {}
    where: dict[str, str] = {}
    unfold: list[list[str]] = []

    @field_validator("id")
    @classmethod
    def _plain_words(cls, template: str) -> str:
        """Refuse an id that reaches into its fields: ids are made of plain fields."""
        return check_words(template, None)

    @field_validator("where")
    @classmethod
    def _known_words(cls, wanted: dict[str, str]) -> dict[str, str]:
        """Refuse a value with a placeholder other than the language."""
        return {name: check_words(value, {"language"}) for name, value in wanted.items()}


class IdRange(Strict):
    """The items of a split where several share a file: numbers from ``first`` to ``last`` inclusive."""

    first: int
    last: int | None = None

    def __contains__(self, number: int) -> bool:
        """Tell whether item ``number`` belongs to the split."""
        return self.first <= number and (self.last is None or number <= self.last)


class Split(Strict):
    """One split: its files and what is special about it.

    Attributes:
        files: Where it lies.
        n: Examples in the official file, for ``tasks check``; by language where they differ.
        labelled: False where the official file hides the labels; they are then None.
        part: The field of the file's one object that holds this split's rows.
        format, columns, fields: Replace the task's where this file is laid out differently.
        ids: Which items of the file belong to the split.
        languages: Those of the task's languages that the split has; None: all.
    """

    files: Files
    n: int | dict[str, int] | None = None
    labelled: bool = True
    part: str | None = None
    format: Format | None = None
    columns: list[str] | None = None
    fields_: Fields | None = Field(default=None, alias="fields")
    ids: IdRange | None = None
    languages: list[str] | None = None

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
    def _known_words(self) -> Self:
        """Refuse a template with a word that no example has."""
        check_words(self.context, {"context", "question", "before"})
        check_words(self.choice, {"choice", "after"})
        return self


class RelationRule(Strict):
    """A question that matches ``pattern`` has this relation; the first rule that matches decides."""

    pattern: str
    relation: Relation

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        """Refuse a pattern that is no regular expression."""
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        return pattern


class QuestionRepair(Strict):
    """Rows of the official files whose ``question`` is wrong, and the right value.

    Attributes:
        to: What the question of these rows is.
        ids: split -> language -> ids of the rows.
    """

    step: Literal["question"]
    to: Literal["cause", "effect"]
    ids: dict[str, dict[str, list[str]]]


class ChoicesRepair(Strict):
    """Rows with another number of choices than the ``n`` of the task.

    A blank choice, and one that repeats another, is taken out of a row with too many; a row that still does
    not fit is left out.
    """

    step: Literal["choices"]
    n: int = Field(ge=2)


class IdsRepair(Strict):
    """Ids that occur more than once: the second row of the id x becomes ``x#2``, the third ``x#3``."""

    step: Literal["repeated-ids"]


class SpellingRepair(Strict):
    """Labels such as ``1.0``, ``(b)`` or ``choice2`` are read as the number or letter in them."""

    step: Literal["label-spelling"]


Repair = Annotated[QuestionRepair | ChoicesRepair | IdsRepair | SpellingRepair, Field(discriminator="step")]


class TaskSpec(Strict):
    """A task as its YAML file declares it.

    Attributes:
        id: Name of the task and of the YAML file.
        version: Raised whenever examples or phrasing may change.
        group: ``source`` is learned from, ``target`` is what counts.
        package: True when the files ship inside the package.
        languages: ISO 639-1 codes; ``codes`` maps those that file names spell differently.
        format: Reader: a name in :data:`metaxcr.data.rows.FORMATS`; ``columns`` names the columns where the
            file has no header.
        fields: Where a row keeps what.
        relation: ``question``: as each example's question says; otherwise the same for all, after
            ``relation_rules``.
        polarity: ``implausible``: the label names the choice that does *not* hold.
        parallel: The same id means the same item in every language.
        origin: Tasks of one origin share items: the same id means the same item (leak guard).
        repairs: Known defects of the files that are put right, beside those of :mod:`metaxcr.data.repairs`.
        equal_choices: ``refuse``: a row that offers the same choice twice cannot be used.
        skip_bad: Rows that cannot be used are left out and counted, where they otherwise are an error.
        fetch: Where the files come from (``metaxcr tasks fetch``).
        licence, citation, url, defects: For the reader of a result; ``defects`` lists known faults of the
            files.
    """

    id: str
    version: int = Field(ge=1)
    title: str
    group: Literal["source", "target"]
    package: bool = False
    languages: list[str] = Field(min_length=1)
    codes: dict[str, str] = {}
    format: Format
    columns: list[str] | None = None
    fields_: Fields = Field(alias="fields")
    splits: dict[str, Split] = Field(min_length=1)
    phrasing: Phrasing = Phrasing()
    relation: Literal["question", "effect", "cause", "answer", "none"]
    relation_rules: list[RelationRule] = []
    polarity: Literal["plausible", "implausible"] = "plausible"
    parallel: bool = False
    origin: str | None = None
    repairs: list[Repair] = []
    equal_choices: Literal["keep", "refuse"] = "keep"
    skip_bad: bool = False
    fetch: list[Download] = []
    licence: str
    citation: str
    url: str
    defects: list[str] = []

    @model_validator(mode="after")
    def _own_languages(self) -> Self:
        """Refuse a split in a language that the task does not have."""
        for name, split in self.splits.items():
            named = [
                *(split.languages or []),
                *(split.files.data if isinstance(split.files.data, dict) else []),
            ]
            unknown = [language for language in named if language not in self.languages]
            if unknown:
                raise ValueError(f"split '{name}' has the language '{unknown[0]}', the task does not")
        return self

    def split_languages(self, split: str) -> list[str]:
        """List the languages that a split has, in the task's order."""
        declared = self.splits[split]
        listed = declared.languages or (
            declared.files.data if isinstance(declared.files.data, dict) else self.languages
        )
        return [language for language in self.languages if language in listed]

    def files_of(self, split: str, language: str) -> list[str]:
        """Name the files of a split relative to a root: the data file, then that of the labels if any."""
        return self.splits[split].files.names(language, self.codes.get(language, language))

    def split_fields(self, split: str) -> Fields:
        """Return where the rows of a split keep what."""
        return self.splits[split].fields_ or self.fields_

    @property
    def repair_steps(self) -> tuple[str, ...]:
        """Names of the repair steps that the task declares."""
        return tuple(repair.step for repair in self.repairs)


def read_spec(path: Path) -> TaskSpec:
    """Read and check one YAML file.

    Args:
        path: The file; its stem must be the task's id, so that a task is found by name.

    Returns:
        The declared task.

    Raises:
        UserError: Not YAML, an unknown or missing key, or a value of the wrong kind.
    """
    try:
        declared = parse_yaml(read_text(path), str(path), what="the task file is not YAML")
        spec = TaskSpec.model_validate(declared)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"task key '{key}': {first['msg']}",
            str(path),
            "correct the key; `metaxcr tasks show copa` is a pattern",
        ) from error
    except (ValueError, RecursionError) as error:  # a date that is none, a number or a list without an end
        raise UserError(f"the task file cannot be read ({error})", str(path), "correct the value") from error
    if spec.id != path.stem:
        raise UserError(
            f"task id '{spec.id}' and file name differ", str(path), f"name the file {spec.id}.yaml"
        )
    return spec
