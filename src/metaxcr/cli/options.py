"""Arguments and options that several commands share."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer


def set_option(what: str) -> Any:
    """The option of a command that overrides settings.

    Args:
        what: The help, without the end.
    """
    return typer.Option("--set", metavar="KEY=VALUE", help=f"{what}; repeatable.")


def out_option(what: str, usual: str) -> Any:
    """The option that names a folder to write.

    Args:
        what: The help.
        usual: The folder without it.
    """
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
    typer.Option(
        "--device", metavar="NAME", help="cpu, cuda, cuda:N or mps; auto: the fastest that is there."
    ),
]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A run folder.")]

Command = TypeVar("Command", bound=Callable[..., Any])


def examples(*commands: str) -> Callable[[Command], Command]:
    """Show commands as examples at the end of a command's help, each on a line of its own.

    Args:
        commands: What to type; a line break continues the command.
    """
    shown = [line for command in commands for line in command.split("\n")]

    def add(command: Command) -> Command:
        # A line with \b alone keeps the lines of its paragraph apart.
        paragraph = "\n".join(["\b", "For example:", *(f"  {line}" for line in shown)])
        command.__doc__ = f"{inspect.cleandoc(command.__doc__ or '')}\n\n{paragraph}"
        return command

    return add
