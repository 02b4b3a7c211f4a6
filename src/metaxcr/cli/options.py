"""Arguments and options that several commands share, and the project's own settings."""

import inspect
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from metaxcr.errors import UserError
from metaxcr.parse import read_text

if TYPE_CHECKING:
    from metaxcr.data.infer.table import ColumnHints

Text = str | None
Texts = list[str] | None
Place = Path | None
Places = list[Path] | None


def option(flag: str, text: str, metavar: str | None = None, usual: bool | str = True, **limits: Any) -> Any:
    """An option; ``usual`` is shown as its default."""
    return typer.Option(flag, metavar=metavar, help=text, show_default=usual, **limits)


def argument(metavar: str, text: str) -> Any:
    """An argument."""
    return typer.Argument(metavar=metavar, help=text)


def set_option(what: str) -> Any:
    """The ``--set`` option of a command; ``what`` is the beginning of its help."""
    return option("--set", f"{what}; repeatable.", "KEY=VALUE")


Set = Annotated[Texts, set_option("Override a setting, such as run.seeds=[0,1]")]
Shots = Annotated[
    Place,
    option(
        "--shots",
        "Use these shots: a run folder, its shots/*.json, a JSON list of ids, or one id a line.",
        "FILE",
    ),
]
Data = Annotated[Place, option("--data", "Folder with the official data files.", "DIR", "$METAXCR_DATA")]
Quiet = Annotated[bool, option("--quiet", "No progress bars; messages only.")]
Json = Annotated[bool, option("--json", "Print JSON to standard output, all else to standard error.")]
Device = Annotated[str, option("--device", "cpu, cuda, cuda:N or mps; auto: the fastest available.", "NAME")]
RunFolder = Annotated[Path, argument("DIR", "A run folder.")]
ConfigName = Annotated[str, argument("CONFIG", "A YAML file, or a shipped name ('metaxcr configs ls').")]
Revision = Annotated[Text, option("--revision", "Commit, tag or branch on the hub.", "REV")]
LanguageAdapter = Annotated[
    str,
    option(
        "--language-adapter",
        "Language of the active language adapter: own (the texts'), none, or any that the model has.",
        "CODE",
    ),
]

# Hints on the columns of a user's file.
Map = Annotated[
    Texts,
    option(
        "--map",
        "premise, question, choices (a,b,...), label, id, language, ignore; cause=WORD; effect=WORD.",
        "ROLE=COLUMN",
    ),
]
Labels = Annotated[Text, option("--labels", "zero, one, letter, key, text, flag or none.", "KIND")]
Relation = Annotated[Text, option("--relation", "question, effect, cause, answer or none.", "KIND")]
Columns = Annotated[
    Text, option("--columns", "Of a file without a head line: premise,choice1,choice2,label.", "NAME,...")
]
Where = Annotated[Texts, option("--where", "Read only the rows with this value; repeatable.", "COLUMN=VALUE")]
Part = Annotated[Text, option("--split", "Of a file that holds several splits.", "NAME")]
SkipBad = Annotated[bool, option("--skip-bad", "Leave out rows that cannot be used, and count them.")]
RELATIONS = ("question", "effect", "cause", "answer", "none")


def column_hints(
    mapping: Texts = None,
    labels: Text = None,
    relation: Text = None,
    columns: Text = None,
    where: Texts = None,
    skip_bad: bool = False,
    repairs: Texts = None,
) -> "ColumnHints":
    """Read the options on the columns of a file."""
    from metaxcr.data.infer.table import LABEL_KINDS, ROLES, ColumnHints

    roles: dict[str, list[str]] = {}
    for pair in mapping or ():
        role, _, value = pair.partition("=")
        role = {"context": "premise"}.get(role, role)
        if not value or role not in ROLES:
            fix = f"write ROLE=FIELD, ROLE one of {', '.join(ROLES)}"
            raise UserError(f"cannot read '{pair}'", "--map", fix)
        several = value.split(",") if role not in ("question", "label", "id", "language") else [value]
        roles.setdefault(role, []).extend(word.strip() for word in several)
    _check_words("--labels", [labels], LABEL_KINDS)
    _check_words("--relation", [relation], RELATIONS)
    _check_words("--repair", repairs or (), ("repeated-ids", "choices"))
    names = tuple(name.strip() for name in columns.split(",")) if columns is not None else ()
    if columns is not None and (not all(names) or len(set(names)) < max(3, len(names))):
        fix = "give one name a column, all different, as in premise,choice1,choice2,label"
        raise UserError(f"cannot read '{columns}'", "--columns", fix)
    wanted: dict[str, str] = {}
    for pair in where or ():
        name, _, value = pair.partition("=")
        if not name or not value or set(value) & set("{}"):
            raise UserError(f"cannot read '{pair}'", "--where", "write COLUMN=VALUE")
        wanted[name] = value.strip()
    return ColumnHints(roles, labels, relation, names, wanted, skip_bad, tuple(repairs or ()))


def _check_words(flag: str, given: Iterable[Text], known: tuple[str, ...]) -> None:
    for word in given:
        if word is not None and word not in known:
            raise UserError(f"'{word}' is unknown", flag, f"give one of {', '.join(known)}")


Command = TypeVar("Command", bound=Callable[..., Any])


def examples(*commands: str) -> Callable[[Command], Command]:
    """Append example commands to a command's help, one a line; a line break continues the command."""
    shown = [line for command in commands for line in command.split("\n")]

    def add(command: Command) -> Command:
        # A line with \b alone keeps the line breaks of its paragraph.
        paragraph = "\n".join(["\b", "For example:", *(f"  {line}" for line in shown)])
        command.__doc__ = f"{inspect.cleandoc(command.__doc__ or '')}\n\n{paragraph}"
        return command

    return add


PROJECT_FILE = "metaxcr.toml"


@dataclass(frozen=True)
class ProjectSettings:
    """Where a project keeps its records; None: nowhere. Only commands read it, never the library."""

    cells: Path | None = None  # folder of finished cells
    ledger: Path | None = None  # list of the evaluations on test splits


def project_settings(start: Path | None = None) -> ProjectSettings:
    """Read ``metaxcr.toml`` from a folder or the nearest one above it; paths in it are seen from its folder.

    Args:
        start: The folder; None: the working directory.

    Raises:
        UserError: The file is no TOML, or has an unknown key or a value that is no path.
    """
    start = Path.cwd() if start is None else start.absolute()
    path = next((p for folder in (start, *start.parents) if (p := folder / PROJECT_FILE).is_file()), None)
    if path is None:
        return ProjectSettings()
    known = tuple(ProjectSettings.__dataclass_fields__)
    try:
        settings = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"not valid TOML: {error}", str(path)) from error
    for key, value in settings.items():
        if key not in known:
            raise UserError(f"unknown setting {key!r}", str(path), f"use {' or '.join(known)}")
        if not isinstance(value, str) or not value:
            raise UserError(f"setting {key!r} is no path", str(path), f'write {key} = "PATH"')
    return ProjectSettings(**{key: path.parent / value for key, value in settings.items()})
