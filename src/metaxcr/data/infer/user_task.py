"""A user's files declared as a task: guess, read, warn, and write the declaration."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from metaxcr.data.example import Example
from metaxcr.data.infer.guess import Guess, guess
from metaxcr.data.infer.guess_choices import AmbiguousLabels
from metaxcr.data.infer.table import ColumnHints
from metaxcr.data.infer.user_files import DataSource, local_sources
from metaxcr.data.languages import Tag, language_tag, script_warning
from metaxcr.data.readers import LoadedSplit, read_examples
from metaxcr.data.registry import SPECS, load, split_files, user_specs
from metaxcr.data.repairs import LAYOUT
from metaxcr.data.spec import TaskSpec, read_spec
from metaxcr.errors import UserError
from metaxcr.files import write_atomically
from metaxcr.parse import digits_value, dump_yaml

COPA = "copa"
_HEADER = "# Written by 'metaxcr tasks add'; the keys are explained by any task of the package.\n"
_UNKNOWN = "not given"
_MAX_EQUAL = 0.05  # share of rows with two equal choices above which a file is refused
_SAME_LABELS = 0.9  # share of equal labels below which two languages are not translations
_COPA_SPLITS = (("copa", "train"), ("copa", "val"), ("xcopa_en", "val"), ("xcopa_en", "test"))
_MIN_ROWS = 50  # fewer may agree with COPA by chance
_AGREEMENT = 0.95  # share of labels, or of questions, that makes a file a translation of COPA
_SWITCHES = ("blank_choices", "blank_context")  # fields that are on for all splits if one needs them
_LABEL_FIELDS = ("label", "label_kind")
_SAME_IN_ALL = ("relation", "phrasing", "polarity", "origin")  # keys on which all files of a task agree


@dataclass(frozen=True)
class TaskInfo:
    """What no file says about itself; None: as it was, or the default."""

    group: str | None = None
    licence: str | None = None
    citation: str | None = None
    url: str | None = None
    origin: str | None = None


@dataclass(frozen=True)
class UserTask:
    """A task that is about to be declared.

    ``sources``, ``guesses`` and ``readings`` have, for each of the new files, its rows, what they mean, and
    its examples; ``notes`` is what the user should know.
    """

    spec: TaskSpec
    path: Path
    sources: list[DataSource]
    guesses: list[Guess]
    readings: list[LoadedSplit]
    notes: list[str]
    language: str

    def write(self) -> None:
        """Write the declaration."""
        write_atomically(self.path, _HEADER + dump_yaml(body_of(self.spec), width=110))


def user_task(
    name: str,
    language: Tag,
    sources: Sequence[DataSource],
    hints: ColumnHints,
    info: TaskInfo,
    *,
    force: bool = False,
    root: Path | None = None,
) -> UserTask:
    """Declare files as a task, or as more of a task that was declared from files before; write nothing yet.

    ``force`` replaces splits of this language that are already declared; ``root`` is the data root where COPA
    is looked for.
    """
    path = own_path(name)
    guesses = _guess_all(sources, language, hints)
    new = _declare(name, language.code, sources, guesses, hints, vars(info))
    readings = [_read(new, source) for source in sources]
    notes = [*([language.note] if language.note else []), *_guess_warnings(sources, guesses)]
    declared = refuse_equal(new, sources, readings)
    if info.origin in (None, COPA) and new.relation == "question":
        declared, found = number_as_copa(declared, sources, copa_examples(root))
        notes += found
    if declared != new:
        readings = [_read(declared, source) for source in sources]
    notes += remarks(sources, readings, language.code)
    new = _with_counts(declared, sources, readings)
    spec = new
    if path.is_file():
        spec = merged(read_spec(path), new, language.code, force=force, path=path)
    by_split = {source.split: reading for source, reading in zip(sources, readings, strict=True)}
    spec = _with_parallel(spec, language.code, by_split, root)
    return UserTask(spec, path, list(sources), guesses, readings, notes, language.code)


def own_path(name: str) -> Path:
    """Return the file of a task of the user's own; a name of the package is refused."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name):
        what = f"'{name}' cannot name a task"
        raise UserError(what, "--name", "use letters, digits, - and _, as in my_copa")
    if (SPECS / f"{name}.yaml").is_file():
        raise UserError(f"'{name}' is a task of the package", "--name", f"choose another, such as my_{name}")
    return user_specs() / f"{name}.yaml"


def read_user_file(
    file: Path,
    language: str,
    split: str | None = None,
    hints: ColumnHints | None = None,
    part: str | None = None,
    *,
    ordered: bool = False,
) -> tuple[LoadedSplit, list[str]]:
    """Read a file that no task declares, as it would be read once it is added.

    Args:
        file: Any file that :func:`user_task` understands.
        language: Tag of its language.
        split: Name of the result; default: from the file's name.
        hints: What the user said about the columns.
        part: The split to read, of a file that holds several.
        ordered: Keep the choices in the order of the file, where their order would be drawn.

    Returns:
        Its examples, and what the user should look at.
    """
    tag, hints = language_tag(language), hints or ColumnHints()
    sources = local_sources([file], [part] if part else [], hints.columns)
    if len(sources) > 1:
        present = ", ".join(source.split for source in sources)
        raise UserError(f"the file holds the splits {present}", str(file), "say which: --split NAME")
    source = replace(sources[0], split=split or sources[0].split)
    found = guess(source.rows, tag, hints, source.path, source.part)
    if ordered:
        found.fields.pop("shuffle", None)
    spec = _declare("file", tag.code, [source], [found], hints, {})
    reading = _read(spec, source)
    notes = list(found.warnings)
    if found.other_languages and "language" in found.reasons:
        notes.append(f"{found.reasons['language']}; the others are left out")
    if reading.skipped:
        notes.append(f"{len(reading.skipped)} rows left out, first {reading.skipped[0]}")
    return replace(reading, files=[source.path]), notes


def _guess_all(sources: Sequence[DataSource], language: Tag, hints: ColumnHints) -> list[Guess]:
    """Guess all files; where the labels of one are ambiguous, those of the others decide."""
    found: list[Guess | AmbiguousLabels] = []
    for source in sources:
        try:
            found.append(guess(source.rows, language, hints, source.path, source.part))
        except AmbiguousLabels as error:
            found.append(error)
    kinds = {one.fields["label_kind"] for one in found if isinstance(one, Guess) and one.labelled}
    guesses = []
    for source, one in zip(sources, found, strict=True):
        if isinstance(one, AmbiguousLabels):
            if len(kinds) != 1:
                raise one
            kind_known = replace(hints, labels=next(iter(kinds)))
            one = guess(source.rows, language, kind_known, source.path, source.part)
        guesses.append(one)
    return guesses


def _read(spec: TaskSpec, source: DataSource) -> LoadedSplit:
    """Turn the rows of a file into examples."""
    try:
        reading = read_examples(spec, source.split, spec.languages[0], source.path, parsed=source.rows)
    except UserError as error:
        if spec.skip_bad or not error.fix:
            raise
        fix = f"{error.fix}, or leave such rows out with --skip-bad"
        raise UserError(error.what, error.where, fix) from error
    return replace(reading, repairs=dict(Counter(source.repairs) + Counter(reading.repairs)))


# ---- what is odd about the files


def refuse_equal(spec: TaskSpec, sources: Sequence[DataSource], readings: Sequence[LoadedSplit]) -> TaskSpec:
    """Refuse files that offer the same choice twice in more than one row in twenty.

    Where bad rows are skipped, the returned declaration skips these rows, too.
    """
    for source, reading in zip(sources, readings, strict=True):
        rows = _equal_choices(reading.examples)
        if len(rows) <= _MAX_EQUAL * len(reading.examples):
            continue
        if spec.skip_bad:
            return validated({**body_of(spec), "equal_choices": "refuse"})
        raise UserError(
            f"{len(rows)} of {len(reading.examples)} rows offer the same choice twice",
            f"{source.path}:{reading.lines[rows[0]]}",
            "correct them, or leave them out with --skip-bad",
        )
    return spec


def _equal_choices(examples: Sequence[Example]) -> list[int]:
    """List the positions of examples with two equal choices."""
    return [n for n, example in enumerate(examples) if len(set(example.choices)) < len(example.choices)]


def _guess_warnings(sources: Sequence[DataSource], guesses: Sequence[Guess]) -> list[str]:
    """List the warnings about the columns of all files, each once."""
    first_split: dict[str, str] = {}
    for source, one in zip(sources, guesses, strict=True):
        for warning in one.warnings:
            first_split.setdefault(warning, source.split)
    return [f"warning: {split}: {warning}" for warning, split in first_split.items()]


def remarks(sources: Sequence[DataSource], readings: Sequence[LoadedSplit], language: str) -> list[str]:
    """Say what is odd about files that can be used, one line each; a warning begins with that word."""
    lines = []
    for source, reading in zip(sources, readings, strict=True):
        texts = [text for e in reading.examples[:500] for text in (e.context, *e.choices)]
        if wrong_script := script_warning(texts, language):
            lines.append(f"warning: {source.split}: {wrong_script}")
        if equal := [str(reading.lines[n]) for n in _equal_choices(reading.examples)]:
            first = ", ".join(equal[:5]) + (", ..." if len(equal) > 5 else "")
            lines.append(
                f"{source.split}: {len(equal)} rows offer the same choice twice (line {first}); kept"
            )
        if reading.skipped:
            lines.append(f"{source.split}: {len(reading.skipped)} rows left out, first {reading.skipped[0]}")
        steps = sorted((step, n) for step, n in reading.repairs.items() if step not in LAYOUT)
        lines += [f"{source.split}: {n} x repaired: {step}" for step, n in steps]
    return lines


# ---- the declaration


@dataclass
class _Layout:
    """How one split is laid out, with its files and their numbers of rows by language."""

    format: str
    part: str | None
    columns: list[str]
    fields: dict[str, Any]
    labelled: bool
    files: dict[str, str]
    n: dict[str, int]


def _declare(
    name: str,
    language: str,
    sources: Sequence[DataSource],
    guesses: Sequence[Guess],
    hints: ColumnHints,
    info: Mapping[str, str | None],
) -> TaskSpec:
    """Declare files in one language."""
    first, layouts = guesses[0], {}
    for source, one in zip(sources, guesses, strict=True):
        if (one.relation, one.phrasing) != (first.relation, first.phrasing):
            raise UserError(
                f"{sources[0].path.name} and {source.path.name} ask in different ways",
                f"relations '{first.relation}' and '{one.relation}'",
                "add them under two names",
            )
        layouts[source.split] = _Layout(
            source.format,
            source.part,
            list(source.columns),
            one.fields,
            one.labelled,
            {language: source.name},
            {},
        )
    repairs = {step["step"]: step for one in guesses for step in one.repairs}
    if "repeated-ids" in hints.repairs:
        repairs["repeated-ids"] = {"step": "repeated-ids"}
    downloads = [source.download for source in sources if source.download]
    hub = downloads[0].hub if downloads else None
    body: dict[str, Any] = {
        "id": name,
        "version": 1,
        "title": f"{name}, added from {hub or 'own files'}",
        "group": "target",
        "languages": [language],
        "codes": {code: spelt for one in guesses for code, spelt in one.codes.items()},
        **_written(layouts),
        "phrasing": first.phrasing,
        "relation": first.relation,
        "repairs": list(repairs.values()),
        "skip_bad": hints.skip_bad,
        "fetch": [download.model_dump() for download in downloads],
        "licence": _UNKNOWN,
        "citation": _UNKNOWN,
        "url": f"https://huggingface.co/datasets/{hub}" if hub else _UNKNOWN,
    }
    return validated(body | {key: value for key, value in info.items() if value is not None})


def merged(old: TaskSpec, new: TaskSpec, language: str, *, force: bool, path: Path) -> TaskSpec:
    """Add a declaration in one language to what is declared; ``force`` replaces splits that are there."""
    before, after = _layouts(old), _layouts(new)
    again = [split for split in after if split in before and language in before[split].files]
    if again and not force:
        what = f"'{old.id}' already has {' and '.join(again)} in '{language}'"
        raise UserError(what, str(path), "replace it with --force")
    if force and all(split in after and set(one.files) == {language} for split, one in before.items()):
        return validated({**body_of(new), "version": old.version + 1})
    for key in _SAME_IN_ALL:
        if getattr(old, key) != getattr(new, key):
            was, now = (getattr(spec, key) or "none" for spec in (old, new))
            raise UserError(
                f"'{old.id}' has {key} {was}, these files {now}", str(path), "give another --name"
            )
    for split, layout in after.items():
        known = before.setdefault(split, replace(layout, files={}, n={}))
        if known.labelled != layout.labelled:
            what = f"'{old.id}' {split} has labels in one language and none in another"
            raise UserError(what, str(path), "give another --name, or another --split")
        fields, new_fields = _unified([known.fields, layout.fields])
        same = (known.format, known.part, known.columns) == (layout.format, layout.part, layout.columns)
        if not same or fields != new_fields:
            what = f"'{old.id}' {split} has another layout"
            raise UserError(what, str(path), "give another --name, or another --split")
        known.fields = fields
        known.files |= layout.files
        known.n |= layout.n
    return validated(_joined(old, new, before, changed=bool(again)))


def _joined(old: TaskSpec, new: TaskSpec, layouts: dict[str, _Layout], *, changed: bool) -> dict[str, Any]:
    was, now = body_of(old), body_of(new)
    fetch = {load["to"]: load for load in [*was.get("fetch", []), *now.get("fetch", [])]}
    repairs = {step["step"]: step for step in [*was.get("repairs", []), *now.get("repairs", [])]}
    refuse = "refuse" in (old.equal_choices, new.equal_choices)
    return {
        **{key: value for key, value in was.items() if key not in ("fields", "format", "splits")},
        **{key: now[key] for key in ("licence", "citation", "url") if now[key] != _UNKNOWN},
        "version": old.version + changed,
        "languages": list(dict.fromkeys([*old.languages, *new.languages])),
        "codes": {**was.get("codes", {}), **now.get("codes", {})},
        **_written(layouts),
        "fetch": list(fetch.values()),
        "repairs": list(repairs.values()),
        "skip_bad": old.skip_bad or new.skip_bad,
        "equal_choices": "refuse" if refuse else "keep",
    }


def _layouts(spec: TaskSpec) -> dict[str, _Layout]:
    """Return the splits of a declaration that this module wrote."""
    body, layouts = body_of(spec), {}
    for name, split in spec.splits.items():
        if not isinstance(split.files.data, dict) or split.files.labels or split.ids or spec.columns:
            fix = "add the files to it by hand, or give another --name"
            raise UserError(f"'{spec.id}' was written by hand", f"split {name}", fix)
        layouts[name] = _Layout(
            split.format or spec.format,
            split.part,
            split.columns or [],
            body["splits"][name].get("fields") or body["fields"],
            split.labelled,
            dict(split.files.data),
            dict(split.n) if isinstance(split.n, dict) else {},
        )
    return layouts


def _written(layouts: dict[str, _Layout]) -> dict[str, Any]:
    """Write splits; what they share with the first stands once, for the whole task."""
    unified = _unified([layout.fields for layout in layouts.values()])
    first = next(iter(layouts.values()))
    splits: dict[str, Any] = {}
    for (name, layout), fields in zip(layouts.items(), unified, strict=True):
        optional = {"n": layout.n, "columns": layout.columns}
        splits[name] = {"files": {"data": layout.files}, "labelled": layout.labelled}
        splits[name] |= {key: value for key, value in optional.items() if value}
        if layout.part is not None:
            splits[name]["part"] = layout.part
        if layout.format != first.format:
            splits[name]["format"] = layout.format
        if fields != unified[0]:
            splits[name]["fields"] = fields
    return {"format": first.format, "fields": unified[0], "splits": splits}


def _unified(listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make fields equal where they differ only in keys that do no harm in the other files."""
    label = next(({k: one[k] for k in _LABEL_FIELDS if k in one} for one in listed if "label" in one), {})
    switches = {key: True for key in _SWITCHES if any(one.get(key) for one in listed)}
    words: dict[str, list[str]] = {}
    if any("question_words" in one for one in listed):  # the plain words too, for the files that use them
        for kind in ("cause", "effect"):
            spelt = (one.get("question_words", {}).get(kind, []) for one in listed)
            words[kind] = sorted({kind}.union(*spelt))
    unified = []
    for one in listed:
        same = {key: value for key, value in one.items() if key not in ("question_words", *_SWITCHES)}
        question_words = {"question_words": words} if words and "question" in one else {}
        unified.append(same | (label if "label" not in one else {}) | switches | question_words)
    return unified


def _with_counts(spec: TaskSpec, sources: Sequence[DataSource], readings: Sequence[LoadedSplit]) -> TaskSpec:
    """Declare the number of examples, so that ``tasks check`` notices when a file has changed."""
    body = body_of(spec)
    for source, reading in zip(sources, readings, strict=True):
        body["splits"][source.split]["n"] = {spec.languages[0]: len(reading.examples)}
    return validated(body)


def _with_parallel(
    spec: TaskSpec, language: str, new: Mapping[str, LoadedSplit], root: Path | None
) -> TaskSpec:
    """Declare languages as parallel where ids, number of rows and labels agree in every split.

    Ids that are line numbers always agree, so the labels have to. ``new`` has the splits that were just read.
    """
    agree, compared = True, False
    for split in spec.splits:
        languages: list[list[Example]] = []
        for code in spec.split_languages(split):
            if code == language and split in new:
                languages.append(new[split].examples)
            else:
                file = split_files(spec, split, code, root)[0]
                languages.append(read_examples(spec, split, code, file).examples)
        labels = {example.id: example.label for example in languages[0]}
        for other in languages[1:]:
            compared = True
            same = sum(e.id in labels and labels[e.id] == e.label for e in other)
            agree = agree and {e.id for e in other} == set(labels) and same >= _SAME_LABELS * len(other)
    return validated({**body_of(spec), "parallel": agree and compared})


def body_of(spec: TaskSpec) -> dict[str, Any]:
    """Return a declaration as its YAML file has it."""
    return spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def validated(body: dict[str, Any]) -> TaskSpec:
    """Check a declaration; a value that is not allowed is an error of the user."""
    try:
        return TaskSpec.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{key}: {first['msg']}", None, "choose another value") from error


# ---- translations of COPA: the leak guard must know their items by COPA's numbers


def copa_examples(root: Path | None = None) -> dict[str, list[Example]]:
    """Load COPA as far as it is on this machine: split -> examples in COPA's order, with labels."""
    found: dict[str, list[Example]] = {}
    for task, split in _COPA_SPLITS:
        try:
            found.setdefault(split, load(task, split, root=root).examples)
        except UserError:  # the files are missing
            continue
    return found


def copa_match(numbered: Mapping[int, Example], copa: Mapping[str, list[Example]]) -> tuple[str, str] | None:
    """Find the split of COPA that examples translate: 95 % of at least 50 rows have to agree.

    Labels decide where there are any, because translators leave them alone, while whole files have lost their
    questions (XCOPA's Thai one). ``numbered`` has the examples by the number of the item, from 0. Returns the
    split and the finding in words.
    """
    for split, items in copa.items():
        pairs = [(items[number], example) for number, example in numbered.items() if 0 <= number < len(items)]
        if len(pairs) < max(_MIN_ROWS, _AGREEMENT * len(numbered)):
            continue
        agree = {}
        if all(example.label is not None for _, example in pairs):
            agree["labels"] = sum(item.label == example.label for item, example in pairs)
        if all(example.question in ("cause", "effect") for _, example in pairs):
            agree["questions"] = sum(item.question == example.question for item, example in pairs)
        if agree and next(iter(agree.values())) >= _AGREEMENT * len(pairs):
            counts = " and ".join(f"{n} of {len(pairs)} {what}" for what, n in agree.items())
            return split, f"a translation of COPA's {split} ({counts} are COPA's)"
    return None


def number_as_copa(
    spec: TaskSpec, sources: Sequence[DataSource], copa: Mapping[str, list[Example]]
) -> tuple[TaskSpec, list[str]]:
    """Give translations of COPA its numbers as ids; return the declaration and what was found in words."""
    ids, notes = {}, []
    for source in sources:
        for template in _number_templates(spec.split_fields(source.split).id) if copa else ():
            examples = _read(_with_ids(spec, {source.split: template}), source).examples
            numbered = {n: e for e in examples if e.id.isascii() and (n := digits_value(e.id)) is not None}
            match = copa_match(numbered, copa) if len(numbered) == len(examples) else None
            if match is not None:
                prefix = "{split}" if match[0] == source.split else match[0]
                ids[source.split] = f"{prefix}-{template}"
                notes.append(f"{source.split} is {match[1]}: its items count as COPA's in the leak guard")
                break
    if not ids:
        return spec, notes
    for split in spec.splits:  # what is not COPA's must not have the number of one of its items
        ids.setdefault(split, f"own-{spec.split_fields(split).id}")
    return _with_ids(spec, ids, origin=COPA), notes


def _number_templates(declared: str) -> list[str]:
    """List the id templates that may number the rows as COPA does: the column in the id, then the order."""
    column = re.fullmatch(r"(?:\{split\}-)?(\{[^{}]+\})", declared)
    named = column is not None and column[1] not in ("{line}", "{position}")
    return [column[1], "{position}"] if column and named else ["{position}"]


def _with_ids(spec: TaskSpec, ids: Mapping[str, str], **changes: str) -> TaskSpec:
    """Change the ids of splits."""
    layouts = _layouts(spec)
    for split, template in ids.items():
        layouts[split].fields = {**layouts[split].fields, "id": template}
    return validated({**body_of(spec), **changes, **_written(layouts)})
