"""What a task or a text corpus declares about itself: one YAML file, strictly checked."""

import re
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from metaxcr.data.example import Relation
from metaxcr.data.file_formats import FORMATS
from metaxcr.data.rows import read_text
from metaxcr.errors import UserError
from metaxcr.parse import parse_yaml

LANGUAGE = "{language}"
RECORD_FILE = "fetched.json"  # in a data root: what was fetched into it


def _check_placeholders(template: str, known: set[str] | None = None) -> str:
    """Return the template; raise ValueError where a placeholder is not a plain name, or not ``known``."""
    for _, name, form, conversion in Formatter().parse(template):
        if name is None:
            continue
        plain = name and not set(name) & set(".[]") and not form and not conversion
        if not plain or (known is not None and name not in known):
            allowed = "plain field names" if known is None else ", ".join(sorted(known))
            raise ValueError(f"template {template!r} may name only {allowed}")
    return template


def _template(*names: str) -> AfterValidator:
    return AfterValidator(lambda text: _check_placeholders(text, set(names)))


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
LanguageTemplate = Annotated[str, _template("language")]


class _Strict(BaseModel):
    """Base of all parts: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Download(_Strict):
    """Where one file of a data set, or one file a language, is published.

    ``{language}`` in ``to``, ``url``, ``path`` and ``member`` stands for the language's code in file names;
    such a download is repeated for every language of the data set.
    """

    to: str  # name under the data root, as a split's files name it
    url: str | None = None  # of the file, or of the archive that holds it; exclusive with hub
    member: str | None = None  # path inside the archive (zip, tar, tar.gz)
    hub: str | None = None  # a data set on the Hugging Face hub, owner/name
    revision: str = "main"  # on the hub; a branch is resolved at the first fetch and pinned from then on
    path: str | None = None  # inside the hub repository; default: the last part of 'to'

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.url is None) == (self.hub is None):
            raise ValueError("a download has either 'url' or 'hub'")
        if self.url is not None and not re.match(r"https?://[^/\s]", self.url):
            raise ValueError(f"'{self.url}' does not begin with https:// or http://")
        if self.hub is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.hub):
            raise ValueError(f"'{self.hub}' is no data set on the hub: it has the form owner/name")
        if self.path is not None and self.hub is None:
            raise ValueError("'path' goes with 'hub'; the path inside an archive is 'member'")
        if self.member is not None and self.hub is not None and self.path is None:
            raise ValueError("'member' on the hub needs 'path', the archive that holds it")
        hidden = any(part.startswith(".") or not part for part in self.to.split("/"))
        if hidden or "\\" in self.to or self.to == RECORD_FILE:
            raise ValueError(f"'to' is '{self.to}', but must be a plain path below the data root")
        sources = [text for text in (self.url, self.hub and self.hub_path, self.member) if text]
        for text in (self.to, *sources):
            unknown = set(re.findall(r"\{[^{}]*\}", text)) - {LANGUAGE}
            if unknown:
                raise ValueError(f"template '{text}' may name only {LANGUAGE}, not {unknown.pop()}")
        if self.per_language != any(LANGUAGE in text for text in sources):
            raise ValueError(f"{LANGUAGE} stands in 'to' and in where the file comes from, or in neither")
        return self

    @property
    def per_language(self) -> bool:
        """Whether every language has a file of its own."""
        return LANGUAGE in self.to

    @property
    def hub_path(self) -> str:
        """The path inside the hub repository."""
        return self.path or PurePosixPath(self.to).name

    def for_language(self, code: str) -> Self:
        """Put a language's code, as file names spell it, into all templates."""
        templates = self.model_dump(include={"to", "url", "member", "path"}, exclude_none=True)
        return self.model_copy(update={key: text.replace(LANGUAGE, code) for key, text in templates.items()})


class Files(_Strict):
    """The files of one split: relative to the data root, or absolute (a user's own files)."""

    data: str | dict[str, str]  # name with {language} for its code, or names language by language
    # .lst: one label a line, in step with the data; .csv: id,label without a header
    labels: LanguageTemplate | None = None

    @field_validator("data")
    @classmethod
    def _known_placeholders(cls, data: str | dict[str, str]) -> str | dict[str, str]:
        return _check_placeholders(data, {"language"}) if isinstance(data, str) else data


class Fields(_Strict):
    """Where a row keeps what. A dotted name reaches into nested objects."""

    # template over the row's own fields, {split}, {line} (from 1) and {position} of the row (from 0)
    id: Annotated[str, AfterValidator(_check_placeholders)] = "{split}-{line}"
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


class IdRange(_Strict):
    """The items of a split where several share a file: numbers from ``first`` to ``last`` inclusive."""

    first: int
    last: int | None = None

    def __contains__(self, number: int) -> bool:
        return self.first <= number and (self.last is None or number <= self.last)


class Split(_Strict):
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


class Phrasing(_Strict):
    """Templates for what the encoder reads: ``{context} {question}`` and ``{choice}``.

    With ``blank`` the context is cut there, and ``{before}`` and ``{after}`` name its two parts. Where the
    blank comes first, ``{before}`` is the whole context with its blank.
    """

    context: Annotated[str, _template("context", "question", "before")] = "{context}"
    choice: Annotated[str, _template("choice", "after")] = "{choice}"
    blank: str | None = None


class RelationRule(_Strict):
    """A question that matches a regular expression has this relation; the first match decides."""

    pattern: Annotated[str, AfterValidator(_check_pattern)]
    relation: Relation


class QuestionRepair(_Strict):
    """Rows of the official files whose ``question`` is wrong, by split, language and id; ``to`` is right.

    XCOPA v1 says "effect" in 250 of 500 Thai test items that ask for the cause, and in fewer items of four
    other languages (the labels are right). The ids ship with the task, so that one language alone can be
    repaired; :func:`metaxcr.data.validation.verify_repair` compares them with the files of all languages.
    """

    step: Literal["question"]
    to: Literal["cause", "effect"]
    ids: dict[str, dict[str, list[str]]]


class ChoicesRepair(_Strict):
    """Rows with more choices than ``n``: blank and repeated ones are taken out, or the row is left out."""

    step: Literal["choices"]
    n: int = Field(ge=2)


class OtherRepair(_Strict):
    """A repair without settings, see :data:`metaxcr.data.rows.DECLARED`."""

    step: Literal["repeated-ids", "label-spelling"]


Repair = Annotated[QuestionRepair | ChoicesRepair | OtherRepair, Field(discriminator="step")]


class TaskSpec(_Strict):
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


class Corpus(_Strict):
    """A text without questions as its YAML file declares it."""

    id: str  # also the name of the YAML file
    version: int = Field(ge=1)  # raised whenever its texts may change
    title: str
    # parallel: line n says the same in every language; text: lines of one language, not aligned;
    # lexicon: an English word and its translation a line
    kind: Literal["parallel", "text", "lexicon"]
    # ISO 639-1 code -> the code in file names; of a lexicon, the languages that are translated into
    languages: dict[str, str] = Field(min_length=1)
    splits: dict[str, LanguageTemplate] = Field(min_length=1)  # name -> file relative to the data root
    lines: dict[str, int | dict[str, int]] = {}  # of a split, or by language
    fetch: list[Download] = []  # where the files come from
    licence: str
    citation: str
    url: str
    defects: list[str] = []
    package: ClassVar[bool] = False  # no corpus ships inside the package

    @field_validator("languages", mode="before")
    @classmethod
    def _same_codes(cls, languages: Any) -> Any:
        return {code: code for code in languages} if isinstance(languages, list) else languages

    @property
    def codes(self) -> dict[str, str]:
        """How file names spell the languages."""
        return self.languages

    def split_languages(self, split: str) -> list[str]:
        """List the languages that a split has: all."""
        return list(self.languages)

    def files_of(self, split: str, language: str) -> list[str]:
        """Name the file of one split in one language, relative to a data root."""
        return [self.splits[split].format(language=self.languages[language])]


Declaration = TaskSpec | Corpus


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
        fix = f"name the file {spec.id}.yaml"
        raise UserError(f"task id '{spec.id}' and file name differ", str(path), fix)
    return spec
