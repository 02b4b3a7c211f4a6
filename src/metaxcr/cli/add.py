"""``tasks add``: declare a user's own data as a task, and suggest a run on it."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli.console import note, print_json, say
from metaxcr.cli.options import (
    ColumnsOption,
    DataOption,
    JsonOption,
    LabelsOption,
    MapOption,
    RelationOption,
    SkipBadOption,
    WhereOption,
    column_hints,
    examples,
)
from metaxcr.cli.tasks import phrased_entry
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.data.infer.user_files import DataSource
    from metaxcr.data.infer.user_task import UserTask
    from metaxcr.data.languages import Tag
    from metaxcr.data.spec import TaskSpec

CONFIG = "xcopa-embedded"  # of the run that is suggested
_SHOWN = 3  # examples
_DEVELOPMENT = ("val", "valid", "validation", "dev", "train")  # splits to take shots from, the best first
_TEST = ("test", "eval")
_MIN_EXAMPLES = 16  # fewer are not enough for shots and a test
_SEEDS, _SHOTS = 3, 16  # of the configuration
_Text = str | None


def _option(flag: str, metavar: str, text: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=text)


@examples(
    "metaxcr tasks add mine.csv --name mine --language sw",
    "metaxcr tasks add val.jsonl test.jsonl --name mine --language sw --map premise=text --labels one",
    "metaxcr tasks add table.csv --name mine --language sw --columns premise,choice1,choice2,label",
    "metaxcr tasks add owner/name:PART --name mine --language th --split test",
)
def add(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="One file for each split, or owner/name[:PART] on the hub."),
    ],
    name: Annotated[str, _option("--name", "NAME", "What the task is called from now on.")],
    language: Annotated[str, _option("--language", "CODE", "Of the texts (ISO 639-1).")],
    mapping: MapOption = None,
    labels: LabelsOption = None,
    relation: RelationOption = None,
    columns: ColumnsOption = None,
    where: WhereOption = None,
    split: Annotated[
        list[str] | None,
        _option("--split", "NAME", "Of each file in order; or the splits to read of one file with several."),
    ] = None,
    skip_bad: SkipBadOption = False,
    repair: Annotated[
        list[str] | None, _option("--repair", "STEP", "repeated-ids or choices; repeatable.")
    ] = None,
    group: Annotated[_Text, _option("--group", "KIND", "target (default) or source.")] = None,
    licence: Annotated[_Text, _option("--licence", "TEXT", "For the reader of a result.")] = None,
    citation: Annotated[_Text, _option("--citation", "TEXT", "For the reader of a result.")] = None,
    url: Annotated[_Text, _option("--url", "URL", "Where the data are from.")] = None,
    origin: Annotated[
        _Text, _option("--origin", "NAME", "Task that has the same items under the same ids.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace splits that are already declared.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is understood, write nothing.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a task of your own files; its name then works wherever the name of a task does.

    The format is guessed from the content, and the columns from their names and values. What was understood
    is shown with three examples. If something is not understood, one line names the option to add; columns
    with text that is not used are listed. Nothing is copied: the task refers to the files where they are.
    Files in another language, or of another split, are added to a task that is already declared.
    """
    from metaxcr.data.infer.user_task import own_path, user_task
    from metaxcr.data.languages import language_tag

    own_path(name)
    hints = column_hints(mapping, labels, relation, columns, where, skip_bad, repair)
    tag = language_tag(language)
    info = {"group": group, "licence": licence, "citation": citation, "url": url, "origin": origin}
    sources = _sources(files, tag, split or [], hints.columns)
    task = user_task(name, tag, sources, hints, force=force, root=data, **info)
    if not dry_run:
        task.write()
    commands = [] if dry_run else _next_commands(task, data)
    summary = _summary(task)
    if as_json:
        print_json({**summary, "written": None if dry_run else str(task.path), "next": commands})
        return
    _print(summary)
    say("nothing written (--dry-run)" if dry_run else f"written: {task.path}")
    for number, command in enumerate(commands):
        say(("next: " if number == 0 else "      ") + command)


def _sources(files: list[str], tag: "Tag", splits: list[str], columns: Sequence[str]) -> "list[DataSource]":
    """Parse the files, or fetch a data set of the hub."""
    from metaxcr.data.infer.user_files import hub_name, hub_sources, local_sources

    hub = hub_name(files[0])
    if hub is None:
        return local_sources([Path(file) for file in files], splits, columns)
    if len(files) > 1:
        raise UserError("one data set of the hub at a time", files[1], "add the others to the same --name")
    return hub_sources(*hub, tag, splits, columns)


def _summary(task: "UserTask") -> dict[str, Any]:
    """Return what was understood, as ``--json`` prints it."""
    splits = []
    for source, guess, reading in zip(task.sources, task.guesses, task.readings, strict=True):
        labels = Counter(e.label for e in reading.examples if e.label is not None)
        splits.append(
            {
                "split": source.split,
                "file": source.name,
                "format": source.format,
                "rows": max(len(source.rows), len(reading.examples) + len(reading.skipped)),
                "examples": len(reading.examples),
                "labels": {str(label): labels[label] for label in sorted(labels)},
                "fields": guess.reasons,
                "unused": guess.unused,
                "warnings": guess.warnings,
                "repairs": reading.repairs,
                "left_out": reading.skipped,
            }
        )
    spec, first = task.spec, task.readings[0].examples[:_SHOWN]
    return {
        "id": spec.id,
        "language": task.language,
        "languages": spec.languages,
        "relation": spec.relation,
        "parallel": spec.parallel,
        "origin": spec.origin,
        "steps": [step.step for step in spec.repairs],
        "splits": splits,
        "notes": task.notes,
        "examples": [phrased_entry(example, spec) for example in first],
    }


def _print(summary: dict[str, Any]) -> None:
    before: dict[str, str] = {}
    for split in summary["splits"]:
        labels = "/".join(map(str, split["labels"].values())) or "none"
        say(f"{split['split']} ({summary['language']}): {split['file']}")
        say(f"  {split['format']}, {split['rows']} rows, {split['examples']} examples, labels {labels}")
        if split["fields"] != before:
            for role, reason in split["fields"].items():
                say(f"  {role:<9} {reason}")
            if split["unused"]:
                say(f"  {'unused':<9} {', '.join(split['unused'])}")
        before = split["fields"]
    declared = [f"relation: {summary['relation']}"]
    declared += [f"repairs: {', '.join(summary['steps'])}"] if summary["steps"] else []
    declared += ["parallel languages"] if summary["parallel"] else []
    declared += [f"origin: {summary['origin']}"] if summary["origin"] else []
    say("; ".join(declared))
    for line in summary["notes"]:
        note(line if line.startswith("warning") else f"note: {line}")
    say("as the encoder sees it: context | relation | choices, a star marks the label")
    for example in summary["examples"]:
        choices = [
            f"*{choice}" if n == example["label"] else choice for n, choice in enumerate(example["choices"])
        ]
        context = example["context"] or "(none)"
        say(f"  {example['id']}: {context} | {example['relation']} | {' / '.join(choices)}")


# ---- the commands that come next


def _next_commands(task: "UserTask", root: Path | None) -> list[str]:
    data = f" --data {shlex.quote(str(root))}" if root else ""
    run = suggest_command(task.spec, task.language, root)
    return [f"metaxcr tasks check {task.spec.id}{data}", *([shlex.join(run)] if run else [])]


def suggest_command(spec: "TaskSpec", language: str, root: Path | None) -> list[str] | None:
    """Return the words of a run on a task; None where there are no labels, or too few.

    Args:
        spec: The task.
        language: The tested language.
        root: Data root given by the user.
    """
    from metaxcr.config.io import load_config

    chosen = _choose_splits(spec, language, root)
    if chosen is None:
        return None
    shots, test, k = chosen
    settings = {
        "target.task": spec.id,
        "target.languages": f"[{language}]",
        "target.shots_split": shots,
        "evaluate.split": test,
        "evaluate.raw": "false",
        "evaluate.english": "null",
        **({"target.k": str(k)} if k != _SHOTS else {}),
        **_parallel_settings(language, root),
    }
    auxiliary = load_config(CONFIG).target.auxiliary
    if auxiliary and language in auxiliary.languages:
        others = ", ".join(code for code in auxiliary.languages if code != language)
        settings["target.auxiliary.languages"] = f"[{others}]"
    options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    data = ["--data", str(root)] if root else []
    return ["metaxcr", "run", CONFIG, *options, *data, "--out", f"runs/{spec.id}"]


def _choose_splits(spec: "TaskSpec", language: str, root: Path | None) -> tuple[str, str, int] | None:
    """Choose the split of the shots, the split that is tested, and the number of shots."""
    from metaxcr.data.registry import load

    sizes = {
        split: len(load(spec.id, split, language=language, root=root).examples)
        for split, declared in spec.splits.items()
        if declared.labelled and language in spec.split_languages(split)
    }
    usable = [split for split, size in sizes.items() if size >= _MIN_EXAMPLES]
    if not usable:
        return None
    test = next((s for s in (*_TEST, *_DEVELOPMENT) if s in usable), usable[0])
    shots = next((s for s in _DEVELOPMENT if s in usable and s != test), test)
    # an example that is a shot for some seed is not tested
    k = min(_SHOTS, sizes[shots] if shots != test else sizes[shots] // (2 * _SEEDS))
    return shots, test, max(2, k - k % 2)


def _parallel_settings(language: str, root: Path | None) -> dict[str, str]:
    """Use parallel text of the language where there is any, and otherwise none."""
    from metaxcr.config.io import load_config
    from metaxcr.data.corpora import load_parallel

    text = load_config(CONFIG).target.parallel
    if text is None:
        return {}
    try:
        load_parallel(text.corpus, text.split, [language], root=root)
    except UserError:
        return {"target.parallel": "null", "ctml.alignment": "0", "clml.alignment": "0"}
    return {"target.parallel.languages": f"[{language}]"}
