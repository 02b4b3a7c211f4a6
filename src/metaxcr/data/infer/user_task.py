"""A user's own task: from files to a declaration, merged with what is already declared under its name."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metaxcr.data.data_dirs import split_files
from metaxcr.data.example import Example
from metaxcr.data.infer.guess import Guess, guess
from metaxcr.data.infer.guess_choices import Undecided
from metaxcr.data.infer.layout import body_of, declared, merged, validated
from metaxcr.data.infer.table import ColumnHints
from metaxcr.data.infer.user_files import DataSource, local_sources
from metaxcr.data.languages import Tag, language_tag, script_warning
from metaxcr.data.readers import LoadedSplit, read_examples
from metaxcr.data.registry import SPECS, load, user_specs
from metaxcr.data.repairs import LAYOUT
from metaxcr.data.spec import TaskSpec, read_spec
from metaxcr.errors import UserError
from metaxcr.files import write_atomically
from metaxcr.parse import digits_value, dump_yaml

ORIGIN = "copa"
_HEAD = "# Written by 'metaxcr tasks add'; the keys are explained by any task of the package.\n"
_EQUAL = 0.05  # share of rows with two equal choices above which a file is refused
_SAME = 0.9  # share of equal labels below which two languages are no translations
_REFERENCES = (("copa", "train"), ("copa", "val"), ("xcopa_en", "val"), ("xcopa_en", "test"))
_LEAST = 50  # rows: fewer may agree by chance
_AGREE = 0.95


@dataclass(frozen=True)
class UserTask:
    """A task about to be declared.

    Attributes:
        spec: The declaration.
        path: Where it goes.
        sources: The files.
        guesses: What each holds.
        readings: The same files as examples.
        notes: What the user should know.
        language: ISO 639-1 code.
    """

    spec: TaskSpec
    path: Path
    sources: list[DataSource]
    guesses: list[Guess]
    readings: list[LoadedSplit]
    notes: list[str]
    language: str

    def write(self) -> None:
        """Write the declaration.

        Raises:
            UserError: It cannot be written.
        """
        body = dump_yaml(body_of(self.spec), width=110)
        write_atomically(self.path, _HEAD + body)


@dataclass(frozen=True)
class About:
    """What no file says about itself; None: as it was, or the usual."""

    group: str | None = None
    licence: str | None = None
    citation: str | None = None
    url: str | None = None
    origin: str | None = None


def user_task(
    name: str,
    language: Tag,
    sources: Sequence[DataSource],
    asked: ColumnHints,
    about: About,
    *,
    force: bool = False,
    root: Path | None = None,
) -> UserTask:
    """Declare files as a task, or as more of a task that was declared from files before.

    Args:
        name: Of the task.
        language: Of the texts.
        sources: One a split.
        asked: What the user said about the fields.
        about: What the user said about the whole.
        force: Replace splits of this language that are already declared.
        root: Data root, where COPA is looked for.

    Returns:
        The declaration and what it makes of the files; nothing is written yet.

    Raises:
        UserError: The name is taken, the files cannot be understood or used, or do not go with those that are
            declared.
    """
    path = own_path(name)
    guesses = guess_all(sources, language, asked)
    new = declared(name, language.code, sources, guesses, asked, vars(about))
    readings = _read_all(new, sources, language.code, asked)
    notes = [language.note] if language.note else []
    notes += warned(sources, guesses)
    new = refuse_equal(new, sources, readings)
    if about.origin in (None, ORIGIN):
        new, found = with_origin(new, sources, language.code, root)
        notes += found
    readings = _read_all(new, sources, language.code, asked)
    notes += remarks(sources, readings, language.code)
    old = read_spec(path) if path.is_file() else None
    new = _counted(new, sources, readings, language.code)
    spec = new if old is None else merged(old, new, language.code, force=force, path=path)
    read = dict(zip((source.split for source in sources), readings, strict=True))
    spec = with_parallel(spec, language.code, read, root)
    return UserTask(spec, path, list(sources), guesses, readings, notes, language.code)


def own_path(name: str) -> Path:
    """Return the file of a task of the user's own.

    Raises:
        UserError: The name is no plain id, or a task of the package has it.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name):
        raise UserError(
            f"'{name}' cannot name a task", "--name", "use letters, digits, - and _, as in my_copa"
        )
    if (SPECS / f"{name}.yaml").is_file():
        raise UserError(f"'{name}' is a task of the package", "--name", f"choose another, such as my_{name}")
    return user_specs() / f"{name}.yaml"


def read_user_file(
    file: Path,
    language: str,
    split: str | None = None,
    asked: ColumnHints | None = None,
    part: str | None = None,
    *,
    ordered: bool = False,
) -> tuple[LoadedSplit, list[str]]:
    """Read a file that no task declares, as it would be read once it is added.

    Args:
        file: Any file that :func:`user_task` understands.
        language: Tag of its language.
        split: What it is called; default: by the file's name.
        asked: What the user said about it.
        part: Of a file that holds several splits, the one that is wanted.
        ordered: Keep the choices in the order of the file, where their order would be drawn.

    Returns:
        Its examples, and what the user should look at.

    Raises:
        UserError: It cannot be understood, or a row cannot be used.
    """
    tag, asked = language_tag(language), asked or ColumnHints()
    sources = local_sources([file], [part] if part else [], asked.columns)
    if len(sources) > 1:
        there = ", ".join(source.split for source in sources)
        raise UserError(f"the file holds the splits {there}", str(file), "say which: --split NAME")
    source = replace(sources[0], split=split or sources[0].split)
    guesses = guess_all([source], tag, asked)
    if ordered:
        guesses[0].fields.pop("shuffle", None)
    spec = declared("file", tag.code, [source], guesses, asked, {})
    loaded = _read(spec, source, tag.code, asked)
    chosen = guesses[0].why.get("language")
    told = [f"{chosen}; the others are left out"] if chosen and guesses[0].elsewhere else []
    left_out = f"{len(loaded.skipped)} rows left out, first {loaded.skipped[0]}" if loaded.skipped else ""
    return loaded, [*guesses[0].warnings, *told, *([left_out] if left_out else [])]


def guess_all(sources: Sequence[DataSource], language: Tag, asked: ColumnHints) -> list[Guess]:
    """Guess the files of a task; where the labels of one may be two things, those of the others tell.

    Args:
        sources: The files.
        language: Of the texts.
        asked: What the user said.

    Raises:
        UserError: See :func:`metaxcr.data.infer.guess.guess`.
    """
    found: list[Guess | Undecided] = []
    for source in sources:
        try:
            found.append(guess(source.rows, language, asked, source.path, source.part))
        except Undecided as error:
            found.append(error)
    kinds = {g.fields["label_kind"] for g in found if isinstance(g, Guess) and g.labelled}
    guesses = []
    for source, one in zip(sources, found, strict=True):
        if isinstance(one, Undecided):
            if len(kinds) != 1:
                raise one
            hints = replace(asked, labels=next(iter(kinds)))
            one = guess(source.rows, language, hints, source.path, source.part)
        guesses.append(one)
    return guesses


def _read_all(
    spec: TaskSpec, sources: Sequence[DataSource], language: str, asked: ColumnHints
) -> list[LoadedSplit]:
    return [_read(spec, source, language, asked) for source in sources]


def _read(spec: TaskSpec, source: DataSource, language: str, asked: ColumnHints) -> LoadedSplit:
    try:
        reading = read_examples(spec, source.split, language, source.path, parsed=source.rows)
    except UserError as error:
        if asked.skip_bad or not error.fix:
            raise
        raise UserError(
            error.what, error.where, f"{error.fix}, or leave such rows out with --skip-bad"
        ) from error
    return replace(reading, repairs=dict(Counter(source.repaired) + Counter(reading.repairs)))


def _counted(
    spec: TaskSpec, sources: Sequence[DataSource], readings: Sequence[LoadedSplit], language: str
) -> TaskSpec:
    """Note the number of examples, so that ``tasks check`` tells when a file has changed."""
    body = body_of(spec)
    for source, reading in zip(sources, readings, strict=True):
        body["splits"][source.split]["n"] = {language: len(reading.examples)}
    return validated(body)


# ---- what is odd about the files


def refuse_equal(spec: TaskSpec, sources: Sequence[DataSource], readings: Sequence[LoadedSplit]) -> TaskSpec:
    """Refuse files that offer the same choice twice in more than one row in twenty.

    Args:
        spec: The declaration; where bad rows are skipped, these count as such.
        sources: The files.
        readings: What they hold.

    Returns:
        The declaration, changed where rows must be left out.

    Raises:
        UserError: There are too many such rows, and bad rows are not to be skipped.
    """
    for source, reading in zip(sources, readings, strict=True):
        rows = _equal(reading.examples)
        if len(rows) <= _EQUAL * len(reading.examples):
            continue
        if not spec.skip_bad:
            raise UserError(
                f"{len(rows)} of {len(reading.examples)} rows offer the same choice twice",
                f"{source.path}:{reading.lines[rows[0]]}",
                "correct them, or leave them out with --skip-bad",
            )
        return validated({**body_of(spec), "equal_choices": "refuse"})
    return spec


def warned(sources: Sequence[DataSource], guesses: Sequence[Guess]) -> list[str]:
    """List what the user should look at in each file; what is said of one is not repeated for the next."""
    told: dict[str, str] = {}
    for source, one in zip(sources, guesses, strict=True):
        for warning in one.warnings:
            told.setdefault(warning, source.split)
    return [f"warning: {split}: {warning}" for warning, split in told.items()]


def remarks(sources: Sequence[DataSource], readings: Sequence[LoadedSplit], language: str) -> list[str]:
    """Say what is odd about files and still usable.

    Args:
        sources: The files.
        readings: What they hold.
        language: ISO 639-1 code.

    Returns:
        One line each; a warning begins with that word.
    """
    found = []
    for source, reading in zip(sources, readings, strict=True):
        texts = [text for e in reading.examples[:500] for text in (e.context, *e.choices)]
        warned = script_warning(texts, language)
        if warned:
            found.append(f"warning: {source.split}: {warned}")
        equal = [reading.lines[n] for n in _equal(reading.examples)]
        if equal:
            lines = ", ".join(map(str, equal[:5])) + (", ..." if len(equal) > 5 else "")
            found.append(
                f"{source.split}: {len(equal)} rows offer the same choice twice (line {lines}); kept"
            )
        if reading.skipped:
            found.append(f"{source.split}: {len(reading.skipped)} rows left out, first {reading.skipped[0]}")
        steps = sorted((step, n) for step, n in reading.repairs.items() if step not in LAYOUT)
        found += [f"{source.split}: {n} x repaired: {step}" for step, n in steps]
    return found


def with_parallel(
    spec: TaskSpec, language: str, new: Mapping[str, LoadedSplit], root: Path | None = None
) -> TaskSpec:
    """Declare languages as parallel where ids, number of rows and labels agree in every split.

    Numbers of lines always agree, so the labels have to.

    Args:
        spec: The declaration with all its languages.
        language: The one whose files were read just now.
        new: Split -> what they hold.
        root: Data root.

    Returns:
        The declaration with ``parallel`` set.
    """
    agree, compared = True, False
    for split in spec.splits:
        listed: list[list[Example]] = []
        for code in spec.split_languages(split):
            if code == language and split in new:
                listed.append(new[split].examples)
            else:
                file = split_files(spec, split, code, root).data
                listed.append(read_examples(spec, split, code, file).examples)
        first = {example.id: example.label for example in listed[0]}
        for other in listed[1:]:
            compared = True
            same = sum(e.id in first and first[e.id] == e.label for e in other)
            agree = agree and {e.id for e in other} == set(first) and same >= _SAME * len(other)
    return validated({**body_of(spec), "parallel": agree and compared})


def _equal(examples: Sequence[Example]) -> list[int]:
    """List the positions of examples with two equal choices."""
    return [n for n, example in enumerate(examples) if len(set(example.choices)) < len(example.choices)]


# ---- translations of COPA: the leak guard must know their items under COPA's numbers


@dataclass(frozen=True, slots=True)
class Translation:
    """What a split was found to be.

    Attributes:
        split: COPA's split.
        compared: Rows that COPA's items were held against.
        labels: Rows with COPA's label; None where the split has none.
        questions: Rows with COPA's question; None where it asks neither for cause nor effect.
    """

    split: str
    compared: int
    labels: int | None
    questions: int | None

    def __str__(self) -> str:
        """Say it in one line."""
        parts = [
            f"{count} of {self.compared} {what}"
            for count, what in ((self.labels, "labels"), (self.questions, "questions"))
            if count is not None
        ]
        return f"a translation of COPA's {self.split} ({' and '.join(parts)} are COPA's)"


def references(root: Path | None = None) -> dict[str, list[Example]]:
    """Load COPA as far as it is there: split -> examples in COPA's order, with labels.

    Args:
        root: Data root, see :func:`metaxcr.data.data_dirs.candidate_roots`.
    """
    found: dict[str, list[Example]] = {}
    for task, split in _REFERENCES:
        try:
            found.setdefault(split, load(task, split, root=root).examples)
        except UserError:  # not there
            continue
    return found


def translation_of(numbered: Mapping[int, Example], copa: Mapping[str, list[Example]]) -> Translation | None:
    """Find the split of COPA that examples are a translation of.

    Labels decide where there are any: translators leave them alone, while whole files are known to have lost
    their questions (XCOPA's Thai one).

    Args:
        numbered: Number of the item, from 0 -> example.
        copa: From :func:`references`.

    Returns:
        The split with which at least 95 % of at least 50 rows agree, or None.
    """
    for split, items in copa.items():
        pairs = [(items[number], example) for number, example in numbered.items() if 0 <= number < len(items)]
        if len(pairs) < max(_LEAST, _AGREE * len(numbered)):
            continue
        labelled = all(example.label is not None for _, example in pairs)
        causal = all(example.question in ("cause", "effect") for _, example in pairs)
        labels = sum(item.label == example.label for item, example in pairs) if labelled else None
        questions = sum(item.question == example.question for item, example in pairs) if causal else None
        deciding = labels if labels is not None else questions
        if deciding is not None and deciding >= _AGREE * len(pairs):
            return Translation(split, len(pairs), labels, questions)
    return None


def with_origin(
    spec: TaskSpec,
    sources: Sequence[DataSource],
    language: str,
    root: Path | None = None,
) -> tuple[TaskSpec, list[str]]:
    """Give translations of COPA its numbers as ids.

    Args:
        spec: A declaration in one language.
        sources: Its files.
        language: ISO 639-1 code.
        root: Data root, where COPA is looked for.

    Returns:
        The declaration, and what was found in words.
    """
    copa = references(root) if spec.relation == "question" else {}
    ids, notes = {}, []
    for source in sources:
        found = _numbering(spec, source, language, copa)
        if found is None:
            continue
        translation, template = found
        ids[source.split] = f"{translation.split}-{template}"
        notes.append(f"{source.split} is {translation}: its items count as COPA's in the leak guard")
    if not ids:
        return spec, notes
    body = body_of(spec)
    body["origin"] = ORIGIN
    for split, layout in body["splits"].items():
        own = layout.get("fields") or body["fields"]
        # what is none of COPA's items must not bear one's number
        layout["fields"] = {**own, "id": ids.get(split, f"own-{spec.split_fields(split).id}")}
    return validated(_hoisted(body)), notes


def _numbering(
    spec: TaskSpec, source: DataSource, language: str, copa: dict[str, list[Example]]
) -> tuple[Translation, str] | None:
    """Find the field, or else the order, that numbers the rows as COPA does."""
    own = re.fullmatch(r"(?:\{split\}-)?(\{[^{}]+\})", spec.split_fields(source.split).id)
    named = [own[1]] if own and own[1] not in ("{line}", "{position}") else []
    for template in [*named, "{position}"]:
        body = body_of(spec)
        layout = body["splits"][source.split]
        layout["fields"] = {**(layout.get("fields") or body["fields"]), "id": template}
        read = read_examples(validated(body), source.split, language, source.path, parsed=source.rows)
        examples = read.examples
        numbered = {n: e for e in examples if e.id.isascii() and (n := digits_value(e.id)) is not None}
        translation = translation_of(numbered, copa) if len(numbered) == len(examples) else None
        if translation is not None:
            return translation, template
    return None


def _hoisted(body: dict[str, Any]) -> dict[str, Any]:
    """Write fields that all splits share once."""
    splits = body["splits"]
    named = [{**layout["fields"]} for layout in splits.values()]
    for split, fields in zip(splits, named, strict=True):
        if fields["id"].startswith(f"{split}-{{"):
            fields["id"] = "{split}" + fields["id"].removeprefix(split)
    if all(fields == named[0] for fields in named):
        body["fields"] = named[0]
        for layout in splits.values():
            del layout["fields"]
    return body
