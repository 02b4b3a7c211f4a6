"""``metaxcr adapters``: list, import, export and train language and task adapters."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli.console import console, note, print_json, print_table, say
from metaxcr.cli.options import (
    DataOption,
    DeviceOption,
    JsonOption,
    QuietOption,
    examples,
    out_option,
    set_option,
)
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.adapters.adapter_files import AdapterFile
    from metaxcr.mlm.adapter_training import LanguageTraining
    from metaxcr.mlm.corpus import Document

app = typer.Typer(help="List, import, export and train adapters ('metaxcr adapters ls').")

OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="The new folder.")]
EncoderOption = Annotated[
    str | None, typer.Option("--encoder", metavar="NAME", help="An encoder, such as xlm-roberta-base.")
]
OWN_LICENCE = "the user's own"  # licence of a text that declares none


@app.command()
@examples("metaxcr adapters ls --language sw", "metaxcr adapters ls --encoder xlm-roberta-base")
def ls(
    encoder: EncoderOption = None,
    language: Annotated[
        str | None, typer.Option("--language", metavar="CODE", help="ISO 639-1 code.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the public language adapters (MAD-X) that 'metaxcr adapters import' can download."""
    from metaxcr.adapters.import_export import provenance, public_adapters

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
    """Import an adapter that was made with AdapterHub's libraries since 2020.

    It is checked first: it must be of a known kind, complete, and made for the encoder that it names (or that
    --encoder names). No code in it is run.
    """
    from metaxcr.adapters.import_export import import_adapter

    _show_adapter(import_adapter(source, out, encoder=encoder, revision=revision), out, as_json=as_json)


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
    """Write an adapter as AdapterHub's library 'adapters' loads it: model.load_adapter("DIR").

    The scorer of a task adapter is left out: the library has no counterpart.
    """
    from metaxcr.adapters.import_export import export_adapter

    _show_adapter(export_adapter(folder, out, name=name), out, as_json=as_json)


def _show_adapter(file: "AdapterFile", out: Path, *, as_json: bool) -> None:
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


@examples(
    "metaxcr adapters train --language sw --text news.txt --text stories.txt",
    "metaxcr adapters train --language sw --corpus flores200 --corpus udhr --set layers=top-third \\\n"
    "    --set invertible=false --out adapters/lang.sw",
)
def train(
    language: Annotated[str, typer.Option("--language", metavar="CODE", help="Of the text, such as sw.")],
    text: Annotated[
        list[Path] | None,
        typer.Option("--text", metavar="FILE", help="UTF-8, a sentence or paragraph a line; repeatable."),
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option("--corpus", metavar="NAME", help="A known text, such as flores200 or udhr; repeatable."),
    ] = None,
    encoder: Annotated[
        str, typer.Option("--encoder", metavar="NAME", help="'embedded', a folder, or a hub name.")
    ] = "embedded",
    out: Annotated[Path | None, out_option("The new folder.", "adapters/lang.<language>")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a folder that was interrupted.")] = False,
    overrides: Annotated[list[str] | None, set_option("A setting of the training, such as steps=500")] = None,
    device: DeviceOption = "auto",
    data: DataOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a language adapter by masked-language modelling, the encoder frozen.

    Two parts of the text are held out: one decides when to stop, on the other the loss is measured before and
    after. The setting adapters.language takes the new folder: {sw: DIR}.
    """
    from metaxcr.data.languages import language_tag, script_warning
    from metaxcr.encoders.loading import load_encoder, load_mlm_head
    from metaxcr.hardware import choose_device
    from metaxcr.mlm.train_adapter import Request, train_language_adapter
    from metaxcr.runs.progress import Progress

    tag = language_tag(language)
    if tag.note:
        note(tag.note)
    settings = parse_settings(overrides or [])
    documents, sources = _read_texts(text or [], corpus or [], tag.code, data)
    warning = script_warning((line for document in documents for line in document.lines), tag.code)
    if warning:
        note(f"note: {warning}")
    request = Request(tag.code, documents, sources, shlex.join(["metaxcr", *sys.argv[1:]]), settings)
    folder = out or Path("adapters") / f"lang.{tag.code}"
    shown = Progress(console(stderr=True), quiet=quiet)
    try:
        loaded = load_encoder(encoder).to(choose_device(device))
        result = train_language_adapter(
            loaded,
            request,
            folder,
            head=load_mlm_head(encoder, loaded.revision),
            resume=resume,
            progress=shown.update,
        )
    finally:
        shown.finish()
    if as_json:
        print_json(result)
    else:
        _show_losses(result, folder)


def _show_losses(result: dict[str, Any], folder: Path) -> None:
    rows = [
        (r["what"], f"{r['loss']:.3f}", f"{r['perplexity']:.1f}", r["best_step"], r["steps"])
        for r in result["losses"]
    ]
    sizes, gain = result["sizes"], result["gain"]
    title = (
        f"Loss on {sizes['test']['lines']} held-out lines, {result['targets']:,} masked tokens "
        f"(vocabulary of {result['vocabulary']:,})"
    )
    print_table(("", ">loss", ">perplexity", ">best step", ">steps"), rows, title=title)
    say(f"gain of the adapter: {gain['mean']:.3f} nats [{gain['low']:.3f}, {gain['high']:.3f}]")
    say(f"{folder}: use it with --set 'adapters.language={{{result['language']}: {folder}}}'")


def _read_texts(
    files: list[Path], corpora: list[str], language: str, root: Path | None
) -> tuple[list["Document"], list[dict[str, Any]]]:
    """Read all texts, and what the card says about each."""
    from metaxcr.mlm.corpus import read_corpus, read_file

    named = [*map(str, files), *corpora]
    if not named:
        raise UserError("no text to train on", "--text, --corpus", "name a file or a corpus")
    repeated = next((name for name in named if named.count(name) > 1), None)
    if repeated is not None:
        raise UserError(f"'{repeated}' is named twice", "--text, --corpus", "keep one of them")
    documents, sources = [], []

    def add(found: list["Document"], name: str, licence: str, citation: str) -> None:
        documents.extend(found)
        lines = sum(len(document.lines) for document in found)
        sources.append({"name": name, "lines": lines, "licence": licence, "citation": citation})

    for path in files:
        add(read_file(path), path.name, OWN_LICENCE, "")
    for name in corpora:
        declared, found = read_corpus(name, language, root)
        add(found, declared.title, declared.licence, declared.citation)
    return documents, sources


def parse_settings(overrides: list[str]) -> "LanguageTraining":
    """Parse ``--set`` settings of a training."""
    from pydantic import ValidationError

    from metaxcr.config.io import override_value
    from metaxcr.mlm.adapter_training import LanguageTraining

    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or key not in {*LanguageTraining.model_fields, *LanguageTraining.renamed}:
            known = ", ".join(LanguageTraining.model_fields)
            raise UserError(f"unknown setting '{override}'", "--set", f"KEY=VALUE with one of {known}")
        values[key] = override_value(key, value)
    try:
        return LanguageTraining.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(first["msg"], f"--set {first['loc'][0]}", f"it was {first['input']!r}") from error
