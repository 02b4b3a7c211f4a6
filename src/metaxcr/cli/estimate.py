"""``estimate``: what a configuration trains, and what training it takes, before anything is computed."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli.console import note, print_json, print_table, say
from metaxcr.cli.options import DataOption, JsonOption, SetOption, examples

if TYPE_CHECKING:
    from metaxcr.config import Config

UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


@examples(
    "metaxcr estimate starter",
    "metaxcr estimate xcopa-embedded --data DIR --set run.seeds=[0] --seconds 30",
    "metaxcr estimate paper-xlmr --set adapters.bottleneck=96 --no-time --json",
)
def estimate(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="A YAML file, or a shipped name ('metaxcr configs ls').")
    ],
    overrides: SetOption = None,
    timed: Annotated[
        bool, typer.Option("--time/--no-time", help="Try every stage out for its time and memory.")
    ] = True,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.0, metavar="N", help="For trying out, about.")
    ] = 10.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a configuration trains, and the time, memory and disk that every stage takes on this machine.

    A little of every stage is tried out, on texts of the data files where these are there. Nothing is
    downloaded but the configuration of an encoder that is not known by name: where weights are not on this
    machine, random ones of the same shape take as long. With --no-time no weights are loaded, and only
    parameters, token-passes and disk are told.
    """
    from metaxcr.config_io import load_config
    from metaxcr.encoders.shapes import shape
    from metaxcr.experiments.estimate import estimate_run, resolve
    from metaxcr.scoring.account import parameter_account
    from metaxcr.scoring.build import adapter_layers

    settings = load_config(config, overrides or ())
    encoder = shape(settings.encoder.name, settings.encoder.revision)
    layers = adapter_layers(settings, encoder.depth)
    start = layers[0] if layers else encoder.depth
    found = {
        "encoder_name": encoder.name,
        **parameter_account(settings, encoder),
        "layers": {"of": encoder.depth, "with_adapters": layers, "trunk": start},
        "cache_bytes_a_token": encoder.width * resolve(settings).precision.dtype.itemsize,
        "steps": _steps(settings),
    }
    if not as_json:
        show_account(found, encoder.name)
        _show_settings(found, start, encoder.depth)
    if timed:
        note(f"trying every stage out, for about {seconds:g} s after loading the encoder and the data")
    found["run"] = estimate_run(settings, data, timed=timed, seconds=seconds)
    if as_json:
        print_json(found)
    else:
        show_run(found["run"])


def show_account(account: dict[str, Any], encoder: str) -> None:
    """Print the table of what is trained.

    Args:
        account: From :func:`metaxcr.scoring.account.parameter_account`.
        encoder: Its name.
    """
    rows = []
    for stage in account["stages"]:
        parts = [(stage["stage"], part, f"{count:,}", "", "") for part, count in stage["parts"].items()]
        shares = (f"{stage[key]:.2%}" for key in ("share", "share_without_embeddings"))
        rows += [*parts, (stage["stage"], "all", f"{stage['trained']:,}", *shares)]
    rows += [("never", f"{part}, frozen", f"{count:,}", "", "") for part, count in account["frozen"].items()]
    title = f"{encoder}: {account['encoder']:,} parameters, {account['embeddings']:,} of them embeddings"
    columns = ("stage", "part", ">trained", ">share", ">without embeddings")
    print_table(columns, rows, title=title)
    say(account["rule"])


def show_run(found: dict[str, Any]) -> None:
    """Print the table of what a run takes.

    Args:
        found: From :func:`metaxcr.experiments.estimate.estimate_run`.
    """
    machine, total, rows = found["machine"], found["total"], []
    for row in [*found["rows"], {"stage": "all", "regime": "", "steps": 0, **total}]:
        cells = (row["stage"], row["regime"], f"{row['steps']:,}" if row["steps"] else "")
        disk = _size(row["disk_bytes"]) if row["disk_bytes"] else ""
        memory = "" if row["memory_mb"] is None else _size(row["memory_mb"] * 1e6)
        rows.append((*cells, f"{row['token_passes']:,}", _time(row["seconds"]), memory, disk))
    place = f"{machine['processor'] or 'this machine'}, {machine['device']}, {machine['threads']} threads"
    say("")
    print_table(
        ("stage", "regime", ">steps", ">token-passes", ">time", ">memory", ">disk"),
        rows,
        title=f"on {place}, {machine['dtype']}",
    )
    if total["seconds"] is not None:
        say(f"with the drawn texts in the trunk cache already: {_time(total['warm_seconds'])}")
    say(f"texts: {found['data']}; encoder: {found['encoder']}")
    say(found["assumed"])


def _show_settings(found: dict[str, Any], start: int, depth: int) -> None:
    if not found["layers"]["with_adapters"]:
        say("no task adapter: the scorer alone is trained")
    trunk = f"layers 0 to {start - 1}" if start else "nothing but the embeddings"
    say(f"trunk: {trunk} of {depth}, computed once; {found['cache_bytes_a_token']:,} bytes a token")
    for stage, text in found["steps"].items():
        say(f"{stage}: {text}")


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _size(size: float) -> str:
    unit, factor = next((u for u in UNITS if size >= u[1]), UNITS[-1])
    return f"{size / factor:.2g} {unit}" if size < 10 * factor else f"{size / factor:.0f} {unit}"


def _steps(config: "Config") -> dict[str, str]:
    """How much each stage does, in questions."""
    seeds, few = len(config.run.seeds), "few-shot" in config.run.regimes
    meta = {"ctml": config.ctml, "clml": config.clml}
    found = {
        stage: f"{s.steps} episodes of {s.support} + {s.query} questions, {s.learner}, K = {s.inner_steps}; "
        f"{seeds} seeds"
        for stage, s in meta.items()
    }
    if few:
        tune = config.finetune
        languages = f"{len(config.target.languages)} languages, {seeds} seeds"
        found["finetune"] = f"{tune.steps} steps of {tune.batch} questions; {languages}"
    return found
