"""``metaxcr adapters align``: how well languages are aligned with English, with and without adapters."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli.console import console, note, print_json, print_table, say
from metaxcr.cli.options import DataOption, DeviceOption, JsonOption, QuietOption, examples
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.adapters.language_adapter import LanguageAdapter
    from metaxcr.adapters.layers import LayerAdapter
    from metaxcr.encoders.encoder import FrozenEncoder

    Loaded = tuple[FrozenEncoder, dict[str, LanguageAdapter], dict[int, LayerAdapter] | None]

TABLE, FIGURE = "alignment.json", "alignment.png"


@examples(
    "metaxcr adapters align --languages sw,qu --adapter sw=adapters/lang.sw",
    "metaxcr adapters align runs/xcopa",
)
def align(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="A trained run: its encoder, language adapters, task adapter."),
    ] = None,
    languages: Annotated[
        str | None,
        typer.Option("--languages", metavar="CODES", help="With commas.", show_default="the 11 of XCOPA"),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option("--adapter", metavar="CODE=DIR", help="A language adapter, such as sw=DIR; repeatable."),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", metavar="NAME", help="Without RUN; default: embedded.")
    ] = None,
    sentences: Annotated[
        int | None, typer.Option("--sentences", metavar="N", help="Only the first N; default: all 1,012.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help=f"Write {TABLE} and {FIGURE} there; default: into RUN."),
    ] = None,
    device: DeviceOption = "auto",
    data: DataOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how well languages are aligned with English, layer by layer.

    For parallel sentences (FLORES-200 devtest): how many find their translation among all, and how much
    closer it is than other sentences. Names the languages that are too weakly aligned for English training
    to transfer. 'metaxcr diagnose RUN' reads the table from the run folder.
    """
    from metaxcr.evaluation.alignment import XCOPA, check_alignment
    from metaxcr.runs.progress import Progress

    if run is not None and (encoder is not None or adapter):
        raise UserError("RUN brings its own encoder and adapters", "--encoder, --adapter", "leave them out")
    loaded = _load_run(run, device) if run else _load_named(encoder or "embedded", adapter or [], device)
    chosen, adapters, task = loaded
    shown = Progress(console(stderr=True), quiet=quiet)
    try:
        rows = check_alignment(
            chosen, languages.replace(",", " ").split() if languages else XCOPA, adapters=adapters,
            task=task, sentences=sentences, root=data, progress=shown.update,
        )  # fmt: skip
    finally:
        shown.finish()
    _report(chosen.name, rows, out or run, as_json=as_json)


def _report(encoder: str, rows: list[dict[str, Any]], folder: Path | None, *, as_json: bool) -> None:
    """Write the table and the figure, if there is a folder for them, and print the table."""
    from metaxcr.evaluation.alignment import WEAK, weak_languages
    from metaxcr.files import write_json
    from metaxcr.reports.run_figures import alignment_png

    weak = weak_languages(rows)
    found = {"encoder": encoder, "limit": WEAK, "rows": rows, "weak": weak}
    if folder is not None:
        write_json(folder / TABLE, found)
        alignment_png(rows, WEAK, folder / FIGURE)
        note(f"{folder / TABLE}, {folder / FIGURE}")
    if as_json:
        print_json(found)
    else:
        _show(rows, weak, WEAK)


def _show(rows: list[dict[str, Any]], weak: list[dict[str, Any]], limit: float) -> None:
    """Print the last layer, and the best layer beside it."""
    last = max(row["layer"] for row in rows)
    cells = []
    for row in rows:
        if row["layer"] == last:
            own = [r for r in rows if (r["language"], r["stack"]) == (row["language"], row["stack"])]
            best = max(own, key=lambda r: r["retrieval"])
            low, high = (100 * x for x in row["ci95"])
            cells.append(
                (
                    row["language"],
                    row["stack"],
                    f"{100 * row['forward']:.1f}",
                    f"{100 * row['backward']:.1f}",
                    f"{100 * row['retrieval']:.1f} [{low:.1f}, {high:.1f}]",
                    f"{row['distance']:.3f}",
                    f"{100 * best['retrieval']:.1f} ({best['layer']})",
                )
            )
    heads = ("language", "stack", ">from English", ">to English", ">both [95 %]", ">distance", ">best layer")
    print_table(heads, cells, title=f"Translations found among {rows[0]['n']} sentences, last layer, %")
    if not weak:
        say(f"No language is surely below {100 * limit:.0f} %.")
    for row in weak:
        say(
            f"{row['language']} ({row['stack']}): too weak to transfer: only {100 * row['retrieval']:.0f} % "
            f"of its sentences find their translation (limit {100 * limit:.0f} %)"
        )


def _load_named(encoder: str, pairs: list[str], device: str) -> "Loaded":
    from metaxcr.adapters.adapter_files import load_language
    from metaxcr.encoders.loading import load_encoder
    from metaxcr.hardware import choose_device

    chosen = load_encoder(encoder).to(choose_device(device))
    adapters = {}
    for pair in pairs:
        code, _, folder = pair.partition("=")
        if not code or not folder:
            raise UserError(f"'{pair}' is no CODE=DIR", "--adapter", "write it as sw=adapters/lang.sw")
        adapters[code] = load_language(Path(folder), chosen).to(chosen.device)
    return chosen, adapters, None


def _load_run(run: Path, device: str) -> "Loaded":
    from metaxcr.adapters.adapter_files import ADAPTERS, load_language, load_task
    from metaxcr.encoders.loading import load_encoder
    from metaxcr.hardware import choose_device
    from metaxcr.saved_model import META, read_settings

    config = read_settings(run)
    settings = config.encoder
    chosen = load_encoder(settings.name, prefix=settings.prefix, revision=settings.revision)
    chosen.to(choose_device(device))
    folders = config.adapters.language
    adapters = {
        code: load_language(Path(folder), chosen).to(chosen.device) for code, folder in folders.items()
    }
    task = load_task(run / ADAPTERS / META, chosen)
    return chosen, adapters, {layer: one.to(chosen.device) for layer, one in task.items()}
