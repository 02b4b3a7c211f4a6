"""``metaxcr adapters``: list, import, export and train adapters, and how well they align languages."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli import options
from metaxcr.cli.console import command_line, note, print_json, print_table, progress, say
from metaxcr.cli.options import Place, Places, Text, Texts, argument, examples, option, set_option
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.adapters.adapter_files import AdapterFile
    from metaxcr.adapters.language_adapter import LanguageAdapter
    from metaxcr.adapters.layers import LayerAdapter
    from metaxcr.encoders.encoder import FrozenEncoder
    from metaxcr.mlm.adapter_training import LanguageTraining
    from metaxcr.mlm.corpus import Document

    Loaded = tuple[FrozenEncoder, dict[str, LanguageAdapter], dict[int, LayerAdapter] | None]

app = typer.Typer(help="List, import, export and train adapters ('metaxcr adapters ls').")

NewFolder = Annotated[Path, option("--out", "The new folder.", "DIR")]
Encoder = Annotated[Text, option("--encoder", "An encoder, such as xlm-roberta-base.", "NAME")]
OWN_LICENCE = "the user's own"  # licence of a text that declares none
TABLE, FIGURE = "alignment.json", "alignment.png"


@app.command()
@examples("metaxcr adapters ls --language sw", "metaxcr adapters ls --encoder xlm-roberta-base")
def ls(
    encoder: Encoder = None,
    language: Annotated[Text, option("--language", "ISO 639-1 code.", "CODE")] = None,
    as_json: options.Json = False,
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
    source: Annotated[str, argument("SOURCE", "A folder, a zip file, or owner/name on the hub.")],
    out: NewFolder,
    encoder: Encoder = None,
    revision: options.Revision = None,
    as_json: options.Json = False,
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
    folder: Annotated[Path, argument("DIR", "A folder with an adapter, as in a run's 'adapters'.")],
    out: NewFolder,
    name: Annotated[Text, option("--name", "Of the adapter.", "NAME", "its own")] = None,
    as_json: options.Json = False,
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


@app.command()
@examples(
    "metaxcr adapters train --language sw --text news.txt --text stories.txt",
    "metaxcr adapters train --language sw --corpus flores200 --corpus udhr --set layers=top-third \\\n"
    "    --set invertible=false --out adapters/lang.sw",
)
def train(
    language: Annotated[str, option("--language", "Of the text, such as sw.", "CODE")],
    text: Annotated[
        Places, option("--text", "UTF-8, a sentence or paragraph a line; repeatable.", "FILE")
    ] = None,
    corpus: Annotated[
        Texts, option("--corpus", "A known text, such as flores200 or udhr; repeatable.", "NAME")
    ] = None,
    encoder: Annotated[str, option("--encoder", "'embedded', a folder, or a hub name.", "NAME")] = "embedded",
    out: Annotated[Place, option("--out", "The new folder.", "DIR", "adapters/lang.<language>")] = None,
    resume: Annotated[bool, option("--resume", "Continue a folder that was interrupted.")] = False,
    overrides: Annotated[Texts, set_option("A setting of the training, such as steps=500")] = None,
    device: options.Device = "auto",
    data: options.Data = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Train a language adapter by masked-language modelling, the encoder frozen.

    Two parts of the text are held out: one decides when to stop, on the other the loss is measured before and
    after. The setting adapters.language takes the new folder: {sw: DIR}.
    """
    from metaxcr.data.languages import language_tag, script_warning
    from metaxcr.encoders.loading import load_encoder, load_mlm_head
    from metaxcr.hardware import choose_device
    from metaxcr.mlm.train_adapter import Request, train_language_adapter

    tag = language_tag(language)
    if tag.note:
        note(tag.note)
    settings = parse_settings(overrides or [])
    documents, sources = _read_texts(text or [], corpus or [], tag.code, data)
    warning = script_warning((line for document in documents for line in document.lines), tag.code)
    if warning:
        note(f"note: {warning}")
    request = Request(tag.code, documents, sources, command_line(), settings)
    folder = out or Path("adapters") / f"lang.{tag.code}"
    with progress(quiet) as shown:
        loaded = load_encoder(encoder).to(choose_device(device))
        head = load_mlm_head(encoder, loaded.revision)
        result = train_language_adapter(
            loaded, request, folder, head=head, resume=resume, progress=shown.update
        )
    if as_json:
        print_json(result)
    else:
        _show_losses(result, folder)


def _show_losses(result: dict[str, Any], folder: Path) -> None:
    rows = []
    for row in result["losses"]:
        loss, perplexity = f"{row['loss']:.3f}", f"{row['perplexity']:.1f}"
        rows.append((row["what"], loss, perplexity, row["best_step"], row["steps"]))
    title = (
        f"Loss on {result['sizes']['test']['lines']} held-out lines, {result['targets']:,} masked tokens "
        f"(vocabulary of {result['vocabulary']:,})"
    )
    print_table(("", ">loss", ">perplexity", ">best step", ">steps"), rows, title=title)
    gain = result["gain"]
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
    read = [(read_file(path), path.name, OWN_LICENCE, "") for path in files]
    for name in corpora:
        declared, found = read_corpus(name, language, root)
        read.append((found, declared.title, declared.licence, declared.citation))
    sources = []
    for found, name, licence, citation in read:
        lines = sum(len(document.lines) for document in found)
        sources.append({"name": name, "lines": lines, "licence": licence, "citation": citation})
    return [document for found, *_ in read for document in found], sources


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


@app.command()
@examples(
    "metaxcr adapters align --languages sw,qu --adapter sw=adapters/lang.sw",
    "metaxcr adapters align runs/xcopa",
)
def align(
    run: Annotated[
        Place, argument("[RUN]", "A trained run: its encoder, language adapters, task adapter.")
    ] = None,
    languages: Annotated[Text, option("--languages", "With commas.", "CODES", "the 11 of XCOPA")] = None,
    adapter: Annotated[
        Texts, option("--adapter", "A language adapter, such as sw=DIR; repeatable.", "CODE=DIR")
    ] = None,
    encoder: Annotated[Text, option("--encoder", "Without RUN; default: embedded.", "NAME")] = None,
    sentences: Annotated[
        int | None, option("--sentences", "Only the first N; default: all 1,012.", "N")
    ] = None,
    out: Annotated[
        Place, option("--out", f"Write {TABLE} and {FIGURE} there; default: into RUN.", "DIR")
    ] = None,
    device: options.Device = "auto",
    data: options.Data = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Measure how well languages are aligned with English, layer by layer.

    For parallel sentences (FLORES-200 devtest): how many find their translation among all, and how much
    closer it is than other sentences. Names the languages that are too weakly aligned for English training
    to transfer. 'metaxcr diagnose RUN' reads the table from the run folder.
    """
    from metaxcr.evaluation.alignment import WEAK, XCOPA, check_alignment, weak_languages
    from metaxcr.files import write_json
    from metaxcr.reports.run_figures import alignment_png

    if run is not None and (encoder is not None or adapter):
        raise UserError("RUN brings its own encoder and adapters", "--encoder, --adapter", "leave them out")
    loaded, adapters, task = _load(run, encoder or "embedded", adapter or [], device)
    codes = languages.replace(",", " ").split() if languages else XCOPA
    with progress(quiet) as shown:
        rows = check_alignment(
            loaded, codes, adapters=adapters, task=task, sentences=sentences, root=data, progress=shown.update
        )
    weak = weak_languages(rows)
    found = {"encoder": loaded.name, "limit": WEAK, "rows": rows, "weak": weak}
    folder = out or run
    if folder is not None:
        write_json(folder / TABLE, found)
        alignment_png(rows, WEAK, folder / FIGURE)
        note(f"{folder / TABLE}, {folder / FIGURE}")
    if as_json:
        print_json(found)
    else:
        _show_alignment(rows, weak, WEAK)


def _load(run: Path | None, encoder: str, pairs: list[str], device: str) -> "Loaded":
    """Load what a run used, or an encoder with the language adapters of CODE=DIR pairs."""
    from metaxcr.adapters.adapter_files import ADAPTERS, load_language, load_task
    from metaxcr.encoders.loading import load_encoder
    from metaxcr.hardware import choose_device
    from metaxcr.saved_model import META, read_settings

    place, details = choose_device(device), {}
    folders = {}
    for pair in pairs:
        code, _, folders[code] = pair.partition("=")
        if not code or not folders[code]:
            raise UserError(f"'{pair}' is no CODE=DIR", "--adapter", "write it as sw=adapters/lang.sw")
    if run is not None:
        config = read_settings(run)
        encoder, folders = config.encoder.name, config.adapters.language
        details = {"prefix": config.encoder.prefix, "revision": config.encoder.revision}
    loaded = load_encoder(encoder, **details).to(place)
    adapters = {code: load_language(Path(folder), loaded).to(place) for code, folder in folders.items()}
    if run is None:
        return loaded, adapters, None
    task = load_task(run / ADAPTERS / META, loaded)
    return loaded, adapters, {layer: one.to(place) for layer, one in task.items()}


def _show_alignment(rows: list[dict[str, Any]], weak: list[dict[str, Any]], limit: float) -> None:
    """Print the last layer, and the best layer beside it."""
    last = max(row["layer"] for row in rows)
    cells = []
    for row in (row for row in rows if row["layer"] == last):
        layers = [r for r in rows if (r["language"], r["stack"]) == (row["language"], row["stack"])]
        best = max(layers, key=lambda r: r["retrieval"])
        forward, backward, both, low, high, most = (
            f"{100 * share:.1f}"
            for share in (row["forward"], row["backward"], row["retrieval"], *row["ci95"], best["retrieval"])
        )
        cells.append(
            (
                row["language"], row["stack"], forward, backward, f"{both} [{low}, {high}]",
                f"{row['distance']:.3f}", f"{most} ({best['layer']})",
            )
        )  # fmt: skip
    heads = ("language", "stack", ">from English", ">to English", ">both [95 %]", ">distance", ">best layer")
    print_table(heads, cells, title=f"Translations found among {rows[0]['n']} sentences, last layer, %")
    if not weak:
        say(f"No language is surely below {100 * limit:.0f} %.")
    for row in weak:
        say(
            f"{row['language']} ({row['stack']}): too weak to transfer: only {100 * row['retrieval']:.0f} % "
            f"of its sentences find their translation (limit {100 * limit:.0f} %)"
        )
