"""``adapters ls``, ``import`` and ``export``: language and task adapters, to and from AdapterHub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli.console import note, print_json, print_table, say
from metaxcr.cli.options import JsonOption, examples

if TYPE_CHECKING:
    from metaxcr.adapters.store import AdapterFile

app = typer.Typer(help="List, import, export and train adapters ('metaxcr adapters ls').")

OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="The new folder.")]
EncoderOption = Annotated[
    str | None, typer.Option("--encoder", metavar="NAME", help="An encoder, such as xlm-roberta-base.")
]


@app.command()
@examples("metaxcr adapters ls --language sw", "metaxcr adapters ls --encoder xlm-roberta-base")
def ls(
    encoder: EncoderOption = None,
    language: Annotated[
        str | None, typer.Option("--language", metavar="CODE", help="ISO 639-1 code.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the public language adapters (MAD-X) that 'metaxcr adapters import' can fetch."""
    from metaxcr.adapters.public import provenance, public_adapters

    rows = public_adapters(encoder, language)
    if as_json:
        print_json(rows)
        return
    cells = [(row["language"], row["encoder"], row["hub"]) for row in rows]
    print_table(("language", "encoder", "on the Hugging Face hub"), cells)
    note(provenance())


@app.command("import")
@examples(
    "metaxcr adapters import AdapterHub/xlm-roberta-base-sw-wiki_pfeiffer --out lang/sw",
    "metaxcr run mine.yaml --set 'adapters.language={sw: lang/sw}'",
)
def import_(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A folder, a zip file, or owner/name on the hub.")
    ],
    out: OutOption,
    encoder: EncoderOption = None,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="REV", help="Commit, tag or branch on the hub.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring in an adapter that was made with AdapterHub's libraries since 2020.

    All of it is checked first: that it is of a known kind, complete, and made for the encoder that it names
    (or that --encoder names). Nothing in it is run.
    """
    from metaxcr.adapters.exchange import import_adapter

    _show(import_adapter(source, out, encoder=encoder, revision=revision), out, as_json=as_json)


@app.command()
@examples("metaxcr adapters export runs/starter/adapters/meta --out copa --name copa")
def export(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder with an adapter, as in a run's 'adapters'.")
    ],
    out: OutOption,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Of the adapter.", show_default="its own")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write an adapter as AdapterHub's library 'adapters' loads it.

    There: model.load_adapter("DIR"). The scorer of a task adapter is no part of it: it has no counterpart.
    """
    from metaxcr.adapters.exchange import export_adapter

    _show(export_adapter(folder, out, name=name), out, as_json=as_json)


def _show(file: "AdapterFile", out: Path, *, as_json: bool) -> None:
    config, tensors = file.config, [t for parts in file.layers.values() for t in parts.values()]
    tensors += list((file.invertible or {}).values())
    found: dict[str, Any] = {
        "name": config.name.replace(".", "_"),
        "role": config.role or "not said",
        "encoder": config.encoder or "not said",
        "kind": config.shape.kind,
        "bottleneck": config.shape.bottleneck,
        "layers": sorted(file.layers),
        "invertible": config.invertible is not None,
        "parameters": sum(t.numel() for t in tensors),
        "folder": str(out),
    }
    if as_json:
        print_json(found)
        return
    for key, value in found.items():
        say(f"{key}: {f'{value:,}' if key == 'parameters' else value}")
