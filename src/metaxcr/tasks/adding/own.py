"""A user's own task: from files to a declaration, merged with what is already declared under its name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from metaxcr.errors import UserError
from metaxcr.files import write_atomically
from metaxcr.parse import dump_yaml
from metaxcr.tasks.adding.declare import body_of, declared, merged, validated
from metaxcr.tasks.adding.guess import Guess, guess
from metaxcr.tasks.adding.label_kinds import Undecided
from metaxcr.tasks.adding.origins import ORIGIN, with_origin
from metaxcr.tasks.adding.own_checks import refuse_equal, remarks, with_parallel
from metaxcr.tasks.adding.own_files import Source, local_sources
from metaxcr.tasks.adding.table import Asked
from metaxcr.tasks.languages import Tag, language_tag
from metaxcr.tasks.readers import Reading, read_examples
from metaxcr.tasks.registry import SPECS, LoadedSplit, own_specs
from metaxcr.tasks.spec import TaskSpec, read_spec

_HEAD = "# Written by 'metaxcr tasks add'; the keys are explained by any task of the package.\n"


@dataclass(frozen=True)
class Own:
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
    sources: list[Source]
    guesses: list[Guess]
    readings: list[Reading]
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


def own_task(
    name: str,
    language: Tag,
    sources: Sequence[Source],
    asked: Asked,
    about: About,
    *,
    force: bool = False,
    root: Path | None = None,
) -> Own:
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
    return Own(spec, path, list(sources), guesses, readings, notes, language.code)


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
    return own_specs() / f"{name}.yaml"


def read_own(file: Path, language: str, split: str | None = None) -> LoadedSplit:
    """Read a file that no task declares, as it would be read once it is added.

    Args:
        file: Any file that :func:`own_task` understands.
        language: Tag of its language.
        split: What it is called; default: by the file's name.

    Returns:
        Its examples.

    Raises:
        UserError: It cannot be understood, or a row cannot be used.
    """
    tag, asked = language_tag(language), Asked()
    sources = local_sources([file], [split] if split else [])
    guesses = guess_all(sources, tag, asked)
    spec = declared("file", tag.code, sources, guesses, asked, {})
    read = _read(spec, sources[0], tag.code, asked)
    path = sources[0].path
    return LoadedSplit(
        spec, sources[0].split, tag.code, read.examples, [path], read.lines, read.repairs, read.skipped
    )


def guess_all(sources: Sequence[Source], language: Tag, asked: Asked) -> list[Guess]:
    """Guess the files of a task; where the labels of one may be two things, those of the others tell.

    Args:
        sources: The files.
        language: Of the texts.
        asked: What the user said.

    Raises:
        UserError: See :func:`metaxcr.tasks.adding.guess.guess`.
    """
    found: list[Guess | Undecided] = []
    for source in sources:
        try:
            found.append(guess(source.rows, language, asked, source.path))
        except Undecided as error:
            found.append(error)
    kinds = {g.fields["label_kind"] for g in found if isinstance(g, Guess) and g.labelled}
    guesses = []
    for source, one in zip(sources, found, strict=True):
        if isinstance(one, Undecided):
            if len(kinds) != 1:
                raise one
            one = guess(source.rows, language, replace(asked, labels=next(iter(kinds))), source.path)
        guesses.append(one)
    return guesses


def _read_all(spec: TaskSpec, sources: Sequence[Source], language: str, asked: Asked) -> list[Reading]:
    return [_read(spec, source, language, asked) for source in sources]


def _read(spec: TaskSpec, source: Source, language: str, asked: Asked) -> Reading:
    try:
        return read_examples(spec, source.split, language, source.path)
    except UserError as error:
        if asked.skip_bad or not error.fix:
            raise
        raise UserError(
            error.what, error.where, f"{error.fix}, or leave such rows out with --skip-bad"
        ) from error


def _counted(
    spec: TaskSpec, sources: Sequence[Source], readings: Sequence[Reading], language: str
) -> TaskSpec:
    """Note the number of examples, so that ``tasks check`` tells when a file has changed."""
    body = body_of(spec)
    for source, reading in zip(sources, readings, strict=True):
        body["splits"][source.split]["n"] = {language: len(reading.examples)}
    return validated(body)
