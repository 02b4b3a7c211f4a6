"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, such as run.seeds=[0,1]; repeatable."),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder with the official data files.", show_default="$METAXCR_DATA"),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress bars; messages only.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON to standard output, all else to standard error.")]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A run folder.")]
