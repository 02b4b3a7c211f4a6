"""``configs ls``, ``cp`` and ``check``: configurations, before they cost an hour."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metaxcr.cli.console import print_json, print_table, say
from metaxcr.cli.options import JsonOption, SetOption, examples
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.config import Config

app = typer.Typer(help="List, copy and check configurations ('metaxcr configs ls').")


@app.command()
@examples("metaxcr configs ls")
def ls(as_json: JsonOption = False) -> None:
    """List the configurations that come with the package, with the command that runs each."""
    from metaxcr.config_io import find, shipped

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
    from metaxcr.config_io import find
    from metaxcr.parse import read_text

    source = find(name)
    goal = file or Path(f"{source.stem}.yaml")
    if goal.is_dir():
        goal = goal / f"{source.stem}.yaml"
    if goal.exists() and not force:
        raise UserError("the file exists", str(goal), "choose another name, or add --force")
    first, newline, rest = read_text(source).partition("\n")
    if first.startswith(
        "# metaxcr run"
    ):  # the command that runs a configuration heads it: it names the copy now
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
    from metaxcr.config_io import load_config

    config = load_config(file, overrides or ())
    check_names(config)
    if as_json:
        print_json(config.model_dump(mode="json"))
    else:
        say(f"{file}: correct; 'metaxcr configs check {file} --json' prints all settings")


def check_names(config: "Config") -> None:
    """Refuse tasks, splits and languages that do not exist, naming the setting.

    Args:
        config: Settings that are otherwise valid.

    Raises:
        UserError: The first wrong name, with those that exist.
    """
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
    from metaxcr.tasks.registry import task_ids, task_spec

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
    """The comment that heads a configuration: the command, an empty line, what it does; without the marks."""
    from metaxcr.parse import lines_of_text, read_text

    lines = []
    for line in lines_of_text(read_text(path)):
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return "\n".join(lines)
