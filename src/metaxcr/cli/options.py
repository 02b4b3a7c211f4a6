"""Arguments and options that several commands share."""

import inspect
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from metaxcr.errors import UserError
from metaxcr.parse import read_text

if TYPE_CHECKING:
    from metaxcr.data.infer.table import ColumnHints


def set_option(what: str) -> Any:
    """The ``--set`` option of a command; ``what`` is the beginning of its help."""
    return typer.Option("--set", metavar="KEY=VALUE", help=f"{what}; repeatable.")


def out_option(what: str, usual: str) -> Any:
    """The ``--out`` option; ``usual`` is the folder without it."""
    return typer.Option("--out", metavar="DIR", help=what, show_default=usual)


SetOption = Annotated[list[str] | None, set_option("Override a setting, such as run.seeds=[0,1]")]
ShotsOption = Annotated[
    Path | None,
    typer.Option(
        "--shots",
        metavar="FILE",
        help="Use these shots: a run folder, its shots/*.json, a JSON list of ids, or one id a line.",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Folder with the official data files.", show_default="$METAXCR_DATA"
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress bars; messages only.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON to standard output, all else to standard error.")
]
DeviceOption = Annotated[
    str,
    typer.Option("--device", metavar="NAME", help="cpu, cuda, cuda:N or mps; auto: the fastest available."),
]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A run folder.")]

# Hints on the columns of a user's file.
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="ROLE=COLUMN",
        help="premise, question, choices (a,b,...), label, id, language, ignore; cause=WORD; effect=WORD.",
    ),
]
LabelsOption = Annotated[
    str | None, typer.Option("--labels", metavar="KIND", help="zero, one, letter, key, text, flag or none.")
]
RelationOption = Annotated[
    str | None, typer.Option("--relation", metavar="KIND", help="question, effect, cause, answer or none.")
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns", metavar="NAME,...", help="Of a file without a head line: premise,choice1,choice2,label."
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="COLUMN=VALUE", help="Read only the rows with this value; repeatable."),
]
PartOption = Annotated[
    str | None, typer.Option("--split", metavar="NAME", help="Of a file that holds several splits.")
]
SkipBadOption = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out rows that cannot be used, and count them.")
]
RELATIONS = ("question", "effect", "cause", "answer", "none")


def column_hints(
    mapping: Sequence[str] | None = None,
    labels: str | None = None,
    relation: str | None = None,
    columns: str | None = None,
    where: Sequence[str] | None = None,
    skip_bad: bool = False,
    repairs: Sequence[str] | None = None,
) -> "ColumnHints":
    """Read the options on the columns of a file."""
    from metaxcr.data.infer.table import LABEL_KINDS, ROLES, ColumnHints

    roles: dict[str, list[str]] = {}
    for pair in mapping or ():
        role, equals, value = pair.partition("=")
        role = {"context": "premise"}.get(role, role)
        if not equals or not value or role not in ROLES:
            raise UserError(
                f"cannot read '{pair}'", "--map", f"write ROLE=FIELD, ROLE one of {', '.join(ROLES)}"
            )
        several = value.split(",") if role not in ("question", "label", "id", "language") else [value]
        roles.setdefault(role, []).extend(word.strip() for word in several)
    for flag, given, known in (
        ("--labels", labels, LABEL_KINDS),
        ("--relation", relation, RELATIONS),
        *(("--repair", step, ("repeated-ids", "choices")) for step in repairs or ()),
    ):
        if given is not None and given not in known:
            raise UserError(f"'{given}' is unknown", flag, f"give one of {', '.join(known)}")
    names = tuple(name.strip() for name in columns.split(",")) if columns is not None else ()
    if columns is not None and (not all(names) or len(set(names)) < max(3, len(names))):
        raise UserError(
            f"cannot read '{columns}'",
            "--columns",
            "give one name a column, all different, as in premise,choice1,choice2,label",
        )
    wanted: dict[str, str] = {}
    for pair in where or ():
        name, equals, value = pair.partition("=")
        if not equals or not name or not value or set(value) & set("{}"):
            raise UserError(f"cannot read '{pair}'", "--where", "write COLUMN=VALUE")
        wanted[name] = value.strip()
    return ColumnHints(roles, labels, relation, names, wanted, skip_bad, tuple(repairs or ()))


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
