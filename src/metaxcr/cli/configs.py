"""``configs`` and ``estimate``: list, copy and check configurations, and what they train and cost."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli.console import note, print_json, print_table, say
from metaxcr.cli.options import DataOption, JsonOption, SetOption, examples
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.config.schema import Config, Meta

app = typer.Typer(help="List, copy and check configurations ('metaxcr configs ls').")


@app.command()
@examples("metaxcr configs ls")
def ls(as_json: JsonOption = False) -> None:
    """List the configurations that come with the package, with the command that runs each."""
    from metaxcr.config.io import find, shipped

    rows = []
    for name in shipped():
        command, _, about = _comment(find(name)).partition("\n")
        first = about.strip().split("\n\n")[0]
        rows.append({"name": name, "command": command, "about": " ".join(first.split())})
    if as_json:
        print_json(rows)
        return
    print_table(("name", "what it does", "command"), [(r["name"], r["about"], r["command"]) for r in rows])


@app.command()
@examples("metaxcr configs cp starter mine.yaml")
def cp(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A shipped configuration ('metaxcr configs ls').")
    ],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to; default: NAME.yaml here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Copy a configuration, to edit it."""
    from metaxcr.config.io import find
    from metaxcr.parse import read_text

    source = find(name)
    goal = file or Path(f"{source.stem}.yaml")
    if goal.is_dir():
        goal = goal / f"{source.stem}.yaml"
    if goal.exists() and not force:
        raise UserError("the file exists", str(goal), "choose another name, or add --force")
    first, newline, rest = read_text(source).partition("\n")
    if first.startswith("# metaxcr run"):  # the command that runs the configuration: it names the copy now
        first = f"# metaxcr run {goal} --out runs/{goal.stem}" + (" --data DIR" if "--data" in first else "")
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal.write_text(first + newline + rest, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write: {error.strerror}", str(goal), "choose another place") from error
    say(f"{goal}: run it with 'metaxcr run {goal}'")


@app.command()
@examples("metaxcr configs check mine.yaml --set ctml.steps=10")
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file, or a shipped name.")],
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a configuration without running it: keys, values, tasks, splits and languages.

    No data are read. --json prints all settings, defaults included.
    """
    from metaxcr.config.io import load_config

    config = load_config(file, overrides or ())
    check_names(config)
    if as_json:
        print_json(config.model_dump(mode="json"))
    else:
        say(f"{file}: correct; 'metaxcr configs check {file} --json' prints all settings")


def check_names(config: "Config") -> None:
    """Refuse tasks, splits and languages that do not exist, naming the setting and those that exist."""
    target, auxiliary = config.target, config.target.auxiliary
    for i, source in enumerate(config.sources):
        _task(f"sources.{i}", source.task, [source.split], ["en"])
    _task("target.english", target.english.task, [target.english.split], ["en"])
    _task("target", target.task, config.target_splits, target.languages)
    if auxiliary:
        _task("target.auxiliary", auxiliary.task, [auxiliary.split], auxiliary.languages)
    if config.evaluate.english:
        _task("evaluate.english", config.evaluate.english, [config.evaluate.split], ["en"])


def _task(where: str, task: str, splits: Sequence[str], languages: Sequence[str]) -> None:
    from metaxcr.data.registry import task_ids, task_spec

    _known("task", task, task_ids(), where)
    spec = task_spec(task)
    for split in splits:
        _known(f"split of {task}", split, list(spec.splits), where)
        for language in languages:
            _known(f"language of {task} {split}", language, spec.split_languages(split), where)


def _known(kind: str, name: str, names: Sequence[str], where: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, 1) if len(name) > 3 else []
        guess = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"unknown {kind} {name!r}", where, f"{guess}There are {', '.join(names)}")


def _comment(path: Path) -> str:
    """The comment at the head of a configuration, without the marks: command, empty line, description."""
    from metaxcr.parse import lines_of_text, read_text

    lines = []
    for line in lines_of_text(read_text(path)):
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return "\n".join(lines)


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
    timed: Annotated[bool, typer.Option("--time/--no-time", help="Time a few steps of every stage.")] = True,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.0, metavar="N", help="About how long the timing may take.")
    ] = 10.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a configuration trains, and the time, memory and disk of every stage on this machine.

    Times a few steps of every stage, on texts of the data files if these are on this machine. Nothing is
    downloaded but the configuration of an encoder that is not known by name: if its weights are not on this
    machine, random weights of the same shape take as long. With --no-time no weights are loaded, and only
    parameters, token-passes and disk are shown.
    """
    from metaxcr.config.io import load_config
    from metaxcr.encoders.loading import encoder_shape
    from metaxcr.hardware import choose_device, choose_dtype
    from metaxcr.model.build import adapter_layers
    from metaxcr.runs.estimate import estimate_run
    from metaxcr.runs.run_summary import parameter_count

    settings = load_config(config, overrides or ())
    encoder = encoder_shape(settings.encoder.name, settings.encoder.revision)
    layers = adapter_layers(settings, encoder.depth)
    start = layers[0] if layers else encoder.depth
    precision = choose_dtype(settings.encoder.dtype, choose_device(settings.run.device))
    found = {
        "encoder_name": encoder.name,
        **parameter_count(settings, encoder),
        "layers": {"of": encoder.depth, "with_adapters": layers, "trunk": start},
        "cache_bytes_a_token": encoder.width * precision.dtype.itemsize,
        "steps": _steps(settings),
    }
    if not as_json:
        show_account(found, encoder.name)
        _show_settings(found, start, encoder.depth)
    if timed:
        note(f"timing every stage, for about {seconds:g} s after loading the encoder and the data")
    found["run"] = estimate_run(settings, data, timed=timed, seconds=seconds)
    if as_json:
        print_json(found)
    else:
        show_run(found["run"])


def show_account(account: dict[str, Any], encoder: str) -> None:
    """Print the table of :func:`metaxcr.runs.run_summary.parameter_count` for an encoder's name."""
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
    """Print the table of :func:`metaxcr.runs.estimate.estimate_run`."""
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
    trunk = f"layers 0 to {start - 1} of {depth}" if start else "only the embeddings"
    say(f"trunk: {trunk}, computed once; {found['cache_bytes_a_token']:,} bytes a token")
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
    """How much each stage does, in questions; CLML by regime."""
    from metaxcr.config.regimes import REGIMES

    seeds, languages = f"{len(config.run.seeds)} seeds", f"{len(config.target.languages)} languages"
    aux, tune, found = config.target.auxiliary, config.finetune, {}

    def episodes(steps: int, stage: "Meta", times: str) -> str:
        return (
            f"{steps} episodes of {stage.support} + {stage.query} questions, {stage.learner}, "
            f"K = {stage.inner_steps}; {times}"
        )

    if config.regimes:
        found["ctml"] = episodes(config.ctml.steps, config.ctml, seeds)
    if "zero-shot-aux" in config.regimes and aux:
        times = f"auxiliary languages {', '.join(aux.languages)}; {seeds}"
        found["clml zero-shot-aux"] = episodes(config.clml.steps, config.clml, times)
    for regime in (name for name in config.regimes if REGIMES[name].shots):
        times = f"in each of {languages}, {seeds}"
        found[f"clml {regime}"] = episodes(config.clml.few_shot_steps, config.clml, times)
        again = "; and again without CLML" if regime == "pooled-shots" else ""
        found[f"finetune {regime}"] = f"{tune.steps} steps of {tune.batch} questions; {times}{again}"
    return found
