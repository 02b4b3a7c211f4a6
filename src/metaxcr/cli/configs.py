"""``configs`` and ``estimate``: list, copy and check configurations, and what they train and cost."""

import difflib
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli import options
from metaxcr.cli.console import note, print_json, print_table, say
from metaxcr.cli.options import Place, argument, examples, option
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.config.schema import Config, Meta

app = typer.Typer(help="List, copy and check configurations ('metaxcr configs ls').")


@app.command()
@examples("metaxcr configs ls")
def ls(as_json: options.Json = False) -> None:
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


def _comment(path: Path) -> str:
    """The comment at the head of a configuration, without the marks: command, empty line, description."""
    from metaxcr.parse import lines_of_text, read_text

    lines = takewhile(lambda line: line.startswith("#"), lines_of_text(read_text(path)))
    return "\n".join(line.lstrip("# ") for line in lines)


@app.command()
@examples("metaxcr configs cp starter mine.yaml")
def cp(
    name: Annotated[str, argument("NAME", "A shipped configuration ('metaxcr configs ls').")],
    file: Annotated[Place, argument("[FILE]", "Where to; default: NAME.yaml here.")] = None,
    force: Annotated[bool, option("--force", "Overwrite a file that is there.")] = False,
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
    file: Annotated[str, argument("FILE", "A YAML file, or a shipped name.")],
    overrides: options.Set = None,
    as_json: options.Json = False,
) -> None:
    """Check a configuration without running it: keys, values, tasks, splits and languages.

    No data are read. --json prints all settings, defaults included.
    """
    from metaxcr.config.io import load_config

    config = load_config(file, overrides or ())
    _check_names(config)
    if as_json:
        print_json(config.model_dump(mode="json"))
    else:
        say(f"{file}: correct; 'metaxcr configs check {file} --json' prints all settings")


def _check_names(config: "Config") -> None:
    """Refuse tasks, splits and languages that do not exist, naming the setting and those that exist."""
    from metaxcr.data.registry import task_ids, task_spec

    target, tested = config.target, config.evaluate
    uses = [(f"sources.{i}", source.task, [source.split], ["en"]) for i, source in enumerate(config.sources)]
    uses.append(("target.english", target.english.task, [target.english.split], ["en"]))
    uses.append(("target", target.task, config.target_splits, target.languages))
    if aux := target.auxiliary:
        uses.append(("target.auxiliary", aux.task, [aux.split], aux.languages))
    if tested.english:
        uses.append(("evaluate.english", tested.english, [tested.split], ["en"]))
    for where, task, splits, languages in uses:
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


@examples(
    "metaxcr estimate starter",
    "metaxcr estimate xcopa-embedded --data DIR --set run.seeds=[0] --seconds 30",
    "metaxcr estimate paper-xlmr --set adapters.bottleneck=96 --no-time --json",
)
def estimate(
    config: options.ConfigName,
    overrides: options.Set = None,
    timed: Annotated[bool, option("--time/--no-time", "Time a few steps of every stage.")] = True,
    seconds: Annotated[
        float, option("--seconds", "About how long the timing may take.", "N", min=0.0)
    ] = 10.0,
    data: options.Data = None,
    as_json: options.Json = False,
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
        _show_parameters(found)
        if not layers:
            say("no task adapter: the scorer alone is trained")
        trunk = f"layers 0 to {start - 1} of {encoder.depth}" if start else "only the embeddings"
        say(f"trunk: {trunk}, computed once; {found['cache_bytes_a_token']:,} bytes a token")
        for stage, text in found["steps"].items():
            say(f"{stage}: {text}")
    if timed:
        note(f"timing every stage, for about {seconds:g} s after loading the encoder and the data")
    found["run"] = estimate_run(settings, data, timed=timed, seconds=seconds)
    if as_json:
        print_json(found)
    else:
        _show_costs(found["run"])


def _show_parameters(found: dict[str, Any]) -> None:
    """Print how many parameters each stage trains."""
    rows = []
    for stage in found["stages"]:
        rows += [(stage["stage"], part, f"{count:,}", "", "") for part, count in stage["parts"].items()]
        shares = (f"{stage[key]:.2%}" for key in ("share", "share_without_embeddings"))
        rows.append((stage["stage"], "all", f"{stage['trained']:,}", *shares))
    rows += [("never", f"{part}, frozen", f"{count:,}", "", "") for part, count in found["frozen"].items()]
    sizes = f"{found['encoder']:,} parameters, {found['embeddings']:,} of them embeddings"
    columns = ("stage", "part", ">trained", ">share", ">without embeddings")
    print_table(columns, rows, title=f"{found['encoder_name']}: {sizes}")
    say(found["rule"])


def _show_costs(found: dict[str, Any]) -> None:
    """Print what each stage costs, from :func:`metaxcr.runs.estimate.estimate_run`."""
    machine, total, rows = found["machine"], found["total"], []
    for row in [*found["rows"], {"stage": "all", "regime": "", "steps": 0, **total}]:
        steps = f"{row['steps']:,}" if row["steps"] else ""
        disk = _size(row["disk_bytes"]) if row["disk_bytes"] else ""
        memory = "" if row["memory_mb"] is None else _size(row["memory_mb"] * 1e6)
        passes, seconds = f"{row['token_passes']:,}", _time(row["seconds"])
        rows.append((row["stage"], row["regime"], steps, passes, seconds, memory, disk))
    place = f"{machine['processor'] or 'this machine'}, {machine['device']}, {machine['threads']} threads"
    heads = ("stage", "regime", ">steps", ">token-passes", ">time", ">memory", ">disk")
    say("")
    print_table(heads, rows, title=f"on {place}, {machine['dtype']}")
    if total["seconds"] is not None:
        say(f"with the drawn texts in the trunk cache already: {_time(total['warm_seconds'])}")
    say(f"texts: {found['data']}; encoder: {found['encoder']}")
    say(found["assumed"])


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _size(size: float) -> str:
    unit, factor = ("GB", 1e9) if size >= 1e9 else ("MB", 1e6) if size >= 1e6 else ("kB", 1e3)
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
