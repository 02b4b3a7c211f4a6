"""``metaxcr encoders``: the known encoders, and smaller copies of them."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from metaxcr.cli import options
from metaxcr.cli.console import note, print_json, print_table, say
from metaxcr.cli.options import Places, Text, argument, examples, option
from metaxcr.errors import UserError

app = typer.Typer(
    help="The multilingual encoders: known ones and their sizes, smaller copies for some languages.",
    no_args_is_help=True,
)


@app.command()
@examples("metaxcr encoders ls", "metaxcr encoders ls --json")
def ls(as_json: options.Json = False) -> None:
    """List the known encoders with their sizes; any other of these families works, too.

    Parameters are counted from configurations that come with the package, a pooling layer included if the
    published model has one.
    """
    from metaxcr.encoders.families.family import families
    from metaxcr.encoders.loading import encoder_shape
    from metaxcr.encoders.shapes import known_encoder, known_encoders

    rows: list[dict[str, Any]] = []
    for name in known_encoders():
        encoder, shape = known_encoder(name), encoder_shape(name)
        assert encoder is not None
        rows.append(
            {
                "name": encoder.hub or name,
                "family": encoder.config["model_type"],
                "layers": shape.depth,
                "width": shape.width,
                "parameters": shape.parameters,
                "embedding_share": round(shape.embedding_parameters / shape.parameters, 4),
                "licence": encoder.licence,
                "present": _present(name, encoder.hub),
            }
        )
    if as_json:
        print_json({"encoders": rows, "families": families()})
        return
    cells = [
        (
            row["name"], row["family"], row["layers"], row["width"], f"{row['parameters']:,}",
            f"{row['embedding_share']:.0%}", row["licence"], "yes" if row["present"] else "no",
        )
        for row in rows
    ]  # fmt: skip
    heads = ("encoder", "family", ">layers", ">width", ">parameters", ">embeddings", "licence", "here")
    print_table(heads, cells)
    note(
        f"families: {', '.join(families())}; random:NAME has a known one's shape and random weights; "
        "others are downloaded from the hub on first use"
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


@app.command()
@examples(
    "metaxcr encoders trim embedded --languages sw,qu,en --out encoders/small",
    "metaxcr encoders trim bert-base-multilingual-cased --tasks xcopa,ecare --out encoders/mbert-xcopa",
    "metaxcr run starter --set encoder.name=encoders/small",
)
def trim(
    encoder: Annotated[str, argument("ENCODER", "'embedded', a folder, or a hub name.")],
    out: Annotated[Path, option("--out", "The new folder.", "DIR")],
    languages: Annotated[
        Text, option("--languages", "Keep every task and corpus in these: sw,qu.", "CODES")
    ] = None,
    tasks: Annotated[Text, option("--tasks", "Keep these tasks only: xcopa,ecare.", "IDS")] = None,
    text: Annotated[
        Places, option("--text", "Keep a UTF-8 text, a sentence a line; repeatable.", "FILE")
    ] = None,
    revision: options.Revision = None,
    data: options.Data = None,
    as_json: options.Json = False,
) -> None:
    """Write a smaller copy of an encoder that has only the vocabulary of some text.

    On that text its outputs are bit-identical, which is checked before the folder appears. Any other text
    still has tokens, more and shorter ones. Use the folder in place of an encoder's name; adapters that were
    trained on the whole encoder fit.
    """
    from metaxcr.encoders.prune_vocab import collect_texts, trim_encoder

    if not (languages or tasks or text):
        raise UserError("no text is named", "encoders trim", "add --languages, --tasks or --text")
    begun = time.perf_counter()
    found = collect_texts(_names(tasks), _names(languages), text or [], root=data)
    note(f"{sum(len(source.texts) for source in found):,} texts from {len(found)} places; trimming {encoder}")
    trimmed = trim_encoder(encoder, (t for source in found for t in source.texts), out, revision=revision)
    if as_json:
        print_json({**vars(trimmed), "out": str(out), "seconds": round(time.perf_counter() - begun, 1)})
        return
    sizes = (("vocabulary", trimmed.rows), ("parameters", trimmed.parameters))
    print_table(("", ">before", ">after"), [(name, *(f"{n:,}" for n in pair)) for name, pair in sizes])
    say(f"{out}: {trimmed.bytes / 1e6:.1f} MB; the same outputs on {trimmed.texts:,} different texts")


def _names(listed: str | None) -> list[str]:
    return [name.strip() for name in (listed or "").split(",") if name.strip()]
