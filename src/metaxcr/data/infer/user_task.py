"""A user's files declared as a task: guess, read, warn, and write the declaration."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from metaxcr.data.example import Example
from metaxcr.data.infer.declaration import body_of, declare, merged, validated, with_ids, with_parallel
from metaxcr.data.infer.guess import guess
from metaxcr.data.infer.guess_labels import AmbiguousLabels
from metaxcr.data.infer.table import ColumnHints, Table
from metaxcr.data.infer.user_files import DataSource, local_sources
from metaxcr.data.languages import Tag, language_tag, script_warning
from metaxcr.data.readers import LoadedSplit, read_examples
from metaxcr.data.registry import SPECS, load, user_specs
from metaxcr.data.rows import LAYOUT
from metaxcr.data.spec import TaskSpec, read_spec
from metaxcr.errors import UserError
from metaxcr.files import write_atomically
from metaxcr.parse import digits_value, dump_yaml

COPA = "copa"
_HEADER = "# Written by 'metaxcr tasks add'; the keys are explained by any task of the package.\n"
_MAX_EQUAL = 0.05  # share of rows with two equal choices above which a file is refused


@dataclass(frozen=True)
class UserTask:
    """A task that is about to be declared.

    ``sources``, ``guesses`` and ``readings`` have, for each of the new files, its rows, what they mean, and
    its examples; ``notes`` is what the user should know.
    """

    spec: TaskSpec
    path: Path
    sources: list[DataSource]
    guesses: list[Table]
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
    *,
    force: bool = False,
    root: Path | None = None,
    **info: str | None,
) -> UserTask:
    """Declare files as a task, or as more of a task that was declared from files before; write nothing yet.

    ``force`` replaces splits of this language that are already declared; ``root`` is the data root where COPA
    is looked for; ``info`` is what no file says about itself: group, licence, citation, url and origin.
    """
    path = own_path(name)
    guesses = _guess_all(sources, language, hints)
    spec = declare(name, language.code, sources, guesses, hints, info)
    readings = [_read(spec, source) for source in sources]
    notes = [*([language.note] if language.note else []), *_guess_warnings(sources, guesses)]
    declared = refuse_equal(spec, readings)
    if info.get("origin") in (None, COPA) and spec.relation == "question":
        declared, found = number_as_copa(declared, sources, copa_examples(root))
        notes += found
    if declared != spec:
        readings = [_read(declared, source) for source in sources]
    notes += remarks(readings)
    body = body_of(declared)
    for reading in readings:  # so that ``tasks check`` notices when a file has changed
        body["splits"][reading.split]["n"] = {language.code: len(reading.examples)}
    spec = validated(body)
    if path.is_file():
        spec = merged(read_spec(path), spec, language.code, force=force, path=path)
    spec = with_parallel(spec, language.code, {reading.split: reading for reading in readings}, root)
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

    ``split`` names the result (default: from the file's name), ``part`` is the one to read of a file with
    several splits, and ``ordered`` keeps the choices in the order of the file, where it would be drawn.

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
    spec = declare("file", tag.code, [source], [found], hints, {})
    reading = _read(spec, source)
    notes = list(found.warnings)
    if found.other_languages and "language" in found.reasons:
        notes.append(f"{found.reasons['language']}; the others are left out")
    if reading.skipped:
        notes.append(_left_out(reading))
    return replace(reading, files=[source.path]), notes


def _guess_all(sources: Sequence[DataSource], language: Tag, hints: ColumnHints) -> list[Table]:
    """Guess all files; where the labels of one are ambiguous, those of the others decide."""
    found: dict[str, Table] = {}
    ambiguous: dict[str, AmbiguousLabels] = {}
    for source in sources:
        try:
            found[source.split] = guess(source.rows, language, hints, source.path, source.part)
        except AmbiguousLabels as error:
            ambiguous[source.split] = error
    kinds = {table.fields["label_kind"] for table in found.values() if table.labelled}
    for source in sources:
        if source.split in ambiguous:
            if len(kinds) != 1:
                raise ambiguous[source.split]
            known = replace(hints, labels=min(kinds))
            found[source.split] = guess(source.rows, language, known, source.path, source.part)
    return [found[source.split] for source in sources]


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


def refuse_equal(spec: TaskSpec, readings: Sequence[LoadedSplit]) -> TaskSpec:
    """Refuse files that offer the same choice twice in more than one row in twenty.

    Where bad rows are skipped, the returned declaration skips these rows, too.
    """
    for reading in readings:
        lines = _lines_with_equal_choices(reading)
        if len(lines) <= _MAX_EQUAL * len(reading.examples):
            continue
        if spec.skip_bad:
            return validated({**body_of(spec), "equal_choices": "refuse"})
        what = f"{len(lines)} of {len(reading.examples)} rows offer the same choice twice"
        fix = "correct them, or leave them out with --skip-bad"
        raise UserError(what, f"{reading.files[0]}:{lines[0]}", fix)
    return spec


def _lines_with_equal_choices(reading: LoadedSplit) -> list[int]:
    pairs = zip(reading.lines, reading.examples, strict=True)
    return [line for line, example in pairs if len(set(example.choices)) < len(example.choices)]


def _guess_warnings(sources: Sequence[DataSource], guesses: Sequence[Table]) -> list[str]:
    """List the warnings about the columns of all files, each once."""
    first_split: dict[str, str] = {}
    for source, table in zip(sources, guesses, strict=True):
        for warning in table.warnings:
            first_split.setdefault(warning, source.split)
    return [f"warning: {split}: {warning}" for warning, split in first_split.items()]


def remarks(readings: Sequence[LoadedSplit]) -> list[str]:
    """Say what is odd about files that can be used, one line each; a warning begins with that word."""
    lines = []
    for reading in readings:
        texts = [text for e in reading.examples[:500] for text in (e.context, *e.choices)]
        if wrong_script := script_warning(texts, reading.language):
            lines.append(f"warning: {reading.split}: {wrong_script}")
        if equal := _lines_with_equal_choices(reading):
            first = ", ".join(map(str, equal[:5])) + (", ..." if len(equal) > 5 else "")
            what = f"{len(equal)} rows offer the same choice twice (line {first}); kept"
            lines.append(f"{reading.split}: {what}")
        if reading.skipped:
            lines.append(f"{reading.split}: {_left_out(reading)}")
        steps = sorted((step, n) for step, n in reading.repairs.items() if step not in LAYOUT)
        lines += [f"{reading.split}: {n} x repaired: {step}" for step, n in steps]
    return lines


def _left_out(reading: LoadedSplit) -> str:
    return f"{len(reading.skipped)} rows left out, first {reading.skipped[0]}"


# ---- translations of COPA: the leak guard must know their items by COPA's numbers

_COPA_SPLITS = (("copa", "train"), ("copa", "val"), ("xcopa_en", "val"), ("xcopa_en", "test"))
_MIN_ROWS = 50  # fewer may agree with COPA by chance
_AGREEMENT = 0.95  # share of labels, or of questions, that makes a file a translation of COPA


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
        pairs = [(items[n], example) for n, example in numbered.items() if 0 <= n < len(items)]
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
    for source in sources if copa else ():
        # COPA's number may be in the column of the id, or be the position of the row
        columns = re.findall(r"^(?:\{split\}-)?(\{(?!line\})[^{}]+\})$", spec.split_fields(source.split).id)
        for template in dict.fromkeys([*columns, "{position}"]):
            examples = _read(with_ids(spec, {source.split: template}), source).examples
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
    return with_ids(spec, ids, origin=COPA), notes
