"""``metaxcr encoders``: the encoders that are known, and smaller copies of them."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from metaxcr.cli.console import note, print_json, print_table, say
from metaxcr.cli.options import DataOption, JsonOption, examples
from metaxcr.errors import UserError

app = typer.Typer(
    help="The multilingual encoders: known ones and their sizes, smaller copies for some languages.",
    no_args_is_help=True,
)


@app.command("ls")
@examples("metaxcr encoders ls", "metaxcr encoders ls --json")
def list_encoders(as_json: JsonOption = False) -> None:
    """List the known encoders with their sizes; any other of these families works, too.

    Parameters are counted from configurations that come with the package, a pooling layer included where the
    published model has one.
    """
    from metaxcr.encoders.families.family import families
    from metaxcr.encoders.shapes import known, published, shape

    rows: list[dict[str, Any]] = []
    for name in known():
        encoder, counted = published(name), shape(name)
        assert encoder is not None
        rows.append(
            {
                "name": encoder.hub or name,
                "family": counted.family,
                "layers": counted.depth,
                "width": counted.width,
                "parameters": counted.parameters,
                "embedding_share": round(counted.embedding_share, 4),
                "licence": encoder.licence,
                "present": _present(name, encoder.hub),
            }
        )
    if as_json:
        print_json({"encoders": rows, "families": families()})
        return
    print_table(
        ("encoder", "family", ">layers", ">width", ">parameters", ">embeddings", "licence", "here"),
        [
            (
                row["name"],
                row["family"],
                row["layers"],
                row["width"],
                f"{row['parameters']:,}",
                f"{row['embedding_share']:.0%}",
                row["licence"],
                "yes" if row["present"] else "no",
            )
            for row in rows
        ],
    )
    note(
        f"families: {', '.join(families())}; random:NAME has a known one's shape and random weights; "
        "what is not here is fetched from the hub on first use"
    )


def _present(name: str, hub: str | None) -> bool:
    """Whether an encoder can be loaded without a network, under its hub name or its short one."""
    if hub is None:
        from metaxcr.encoders.embedded import locate

        try:
            return locate().is_file()
        except UserError:
            return False
    from huggingface_hub import try_to_load_from_cache

    files = ("model.safetensors", "model.safetensors.index.json")
    return any(isinstance(try_to_load_from_cache(n, file), str) for n in (hub, name) for file in files)


@app.command("trim")
@examples(
    "metaxcr encoders trim embedded --languages sw,qu,en --out encoders/small",
    "metaxcr encoders trim bert-base-multilingual-cased --tasks xcopa,ecare --out encoders/mbert-xcopa",
    "metaxcr run starter --set encoder.name=encoders/small",
)
def trim(
    encoder: Annotated[str, typer.Argument(metavar="ENCODER", help="'embedded', a folder, or a hub name.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The new folder.")],
    languages: Annotated[
        str | None,
        typer.Option("--languages", metavar="CODES", help="Of every task and corpus that is there: sw,qu."),
    ] = None,
    tasks: Annotated[
        str | None, typer.Option("--tasks", metavar="IDS", help="Of these tasks alone: xcopa,ecare.")
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option("--text", metavar="FILE", help="Of a UTF-8 text, a sentence a line; repeatable."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="REV", help="Commit, tag or branch on the hub.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a smaller copy of an encoder that has only the vocabulary of some text.

    On that text it gives the same outputs, bit by bit, which is checked before the folder appears. Any other
    text still has tokens, more and shorter ones. Use the folder wherever an encoder's name goes; adapters
    that were trained on the whole encoder fit.
    """
    from metaxcr.encoders.prune_vocab import gather, trim_encoder

    if not (languages or tasks or text):
        raise UserError("nothing says which text", "encoders trim", "add --languages, --tasks or --text")
    begun = time.perf_counter()
    gathered = gather(_list(tasks), _list(languages), text or [], root=data)
    note(f"{sum(len(g.texts) for g in gathered):,} texts from {len(gathered)} places; trimming {encoder}")
    trimmed = trim_encoder(encoder, (t for g in gathered for t in g.texts), out, revision=revision)
    if as_json:
        print_json({**vars(trimmed), "out": str(out), "seconds": round(time.perf_counter() - begun, 1)})
        return
    print_table(
        ("", ">before", ">after"),
        [
            ("vocabulary", *(f"{n:,}" for n in trimmed.rows)),
            ("parameters", *(f"{n:,}" for n in trimmed.parameters)),
        ],
    )
    say(f"{out}: {trimmed.bytes / 1e6:.1f} MB; the same outputs on {trimmed.texts:,} different texts")


def _list(names: str | None) -> list[str]:
    return [name.strip() for name in (names or "").split(",") if name.strip()]
