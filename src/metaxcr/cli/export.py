"""``export``: a trained model as a folder of its own, or on the hub."""

from pathlib import Path
from typing import Annotated

import typer

from metaxcr.cli.console import note, say, warnings_as_notes
from metaxcr.cli.options import FolderArgument, examples
from metaxcr.errors import UserError


@examples("metaxcr export runs/xcopa --out model", "metaxcr export models/mine --push owner/name --private")
def export(
    folder: FolderArgument,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="A new folder.")] = None,
    push: Annotated[
        str | None, typer.Option("--push", metavar="OWNER/NAME", help="A repository on the hub.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="With --push: a new one is private.")] = False,
) -> None:
    """Write a trained model, without the run around it: a few MB that load on top of the encoder.

    The folder has the settings, the adapters and a model card; 'metaxcr predict' and MetaXCR.from_pretrained
    take it as they take the run itself.
    """
    if (out is None) == (push is None):
        raise UserError("pass exactly one of --out and --push", None)
    if private and push is None:
        raise UserError("--private belongs to --push", None)
    if out is not None and out.exists():
        raise UserError("the folder exists", str(out), "choose another --out")

    from metaxcr.api import MetaXCR

    with warnings_as_notes():
        model = MetaXCR.from_pretrained(folder)
        if out is not None:
            written = model.save_pretrained(out)
            size = sum(file.stat().st_size for file in written.rglob("*") if file.is_file())
            note(f"{size / 1e6:.1f} MB; the encoder, {model.config.encoder.name}, is not in it")
            say(f"model: {written}")
        else:
            say(f"model: {model.push_to_hub(str(push), private=private or None)}")
