"""``tasks add``: a user's own data as a task.

Which run a task of the user's own is good for: a command that works as it is printed.
"""

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
    from metaxcr.data.example import Example
    from metaxcr.data.infer.user_files import DataSource
    from metaxcr.data.infer.user_task import UserTask
    from metaxcr.data.languages import Tag
    from metaxcr.data.spec import TaskSpec

SHOWN = 3  # examples
Text = str | None


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
        typer.Argument(metavar="FILE...", help="One file a split, or owner/name[:PART] on the hub."),
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
        _option(
            "--split", "NAME", "Of each file in order, or what is wanted of one file with several splits."
        ),
    ] = None,
    skip_bad: SkipBadOption = False,
    repair: Annotated[
        list[str] | None, _option("--repair", "STEP", "repeated-ids or choices; repeatable.")
    ] = None,
    group: Annotated[Text, _option("--group", "KIND", "target (default) or source.")] = None,
    licence: Annotated[Text, _option("--licence", "TEXT", "For the reader of a result.")] = None,
    citation: Annotated[Text, _option("--citation", "TEXT", "For the reader of a result.")] = None,
    url: Annotated[Text, _option("--url", "URL", "Where the data are from.")] = None,
    origin: Annotated[Text, _option("--origin", "NAME", "Shares its items with this one, id by id.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace splits that are already declared.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is understood, write nothing.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a task of your own files, which then works wherever the name of a task does.

    The format is told from the content and the fields from their names and values. What was understood is
    shown with three examples; what cannot be told is one line that says what to add, and columns with text
    that is not used are named. Nothing is copied: the task refers to the files where they are. Files in
    another language, or of another split, are added to a task that is already there.
    """
    from metaxcr.data.infer.user_task import About, own_path, user_task
    from metaxcr.data.languages import language_tag

    own_path(name)
    asked = column_hints(mapping, labels, relation, columns, where, skip_bad, repair)
    tag = language_tag(language)
    about = About(group, licence, citation, url, origin)
    sources = _sources(files, tag, split or [], asked.columns)
    own = user_task(name, tag, sources, asked, about, force=force, root=data)
    if not dry_run:
        own.write()
    commands = [] if dry_run else _next(own, data)
    if as_json:
        print_json({**_described(own), "written": None if dry_run else str(own.path), "next": commands})
        return
    _print(own)
    say("nothing written (--dry-run)" if dry_run else f"written: {own.path}")
    for number, command in enumerate(commands):
        say(("next: " if number == 0 else "      ") + command)


def _sources(files: list[str], tag: "Tag", splits: list[str], columns: Sequence[str]) -> "list[DataSource]":
    """Open the files, or fetch a data set of the hub."""
    from metaxcr.data.infer.user_files import hub_name, hub_sources, local_sources

    hub = hub_name(files[0])
    if hub is None:
        return local_sources([Path(file) for file in files], splits, columns)
    if len(files) > 1:
        raise UserError("one data set of the hub at a time", files[1], "add the others to the same --name")
    return hub_sources(hub[0], hub[1], tag, splits, columns)


def _described(own: "UserTask") -> dict[str, Any]:
    """Return what was understood."""
    splits = []
    for source, guess, reading in zip(own.sources, own.guesses, own.readings, strict=True):
        balance = Counter(e.label for e in reading.examples if e.label is not None)
        splits.append(
            {
                "split": source.split,
                "file": source.name,
                "format": source.form,
                "rows": max(len(source.rows), len(reading.examples) + len(reading.skipped)),
                "examples": len(reading.examples),
                "labels": {str(label): balance[label] for label in sorted(balance)},
                "fields": guess.why,
                "unused": guess.unused,
                "warnings": guess.warnings,
                "repairs": reading.repairs,
                "left_out": reading.skipped,
            }
        )
    first = own.readings[0].examples[:SHOWN]
    return {
        "id": own.spec.id,
        "language": own.language,
        "languages": own.spec.languages,
        "relation": own.spec.relation,
        "parallel": own.spec.parallel,
        "origin": own.spec.origin,
        "steps": [step.step for step in own.spec.repairs],
        "splits": splits,
        "notes": own.notes,
        "examples": [phrased_entry(example, own.spec) for example in first],
    }


def _print(own: "UserTask") -> None:
    shown = _described(own)
    before: dict[str, str] = {}
    for split in shown["splits"]:
        balance = "/".join(map(str, split["labels"].values())) or "none"
        say(f"{split['split']} ({own.language}): {split['file']}")
        say(f"  {split['format']}, {split['rows']} rows, {split['examples']} examples, labels {balance}")
        if split["fields"] != before:
            for role, found in split["fields"].items():
                say(f"  {role:<9} {found}")
            if split["unused"]:
                say(f"  {'unused':<9} {', '.join(split['unused'])}")
        before = split["fields"]
    say(f"relation: {shown['relation']}" + _declared(shown))
    for line in own.notes:
        note(line if line.startswith("warning") else f"note: {line}")
    say("as the encoder sees it: context | relation | choices, a star marks the label")
    for example in shown["examples"]:
        marks = ["*" if i == example["label"] else "" for i in range(len(example["choices"]))]
        choices = " / ".join(map("".join, zip(marks, example["choices"], strict=True)))
        say(f"  {example['id']}: {example['context'] or '(none)'} | {example['relation']} | {choices}")


def _declared(shown: dict[str, Any]) -> str:
    """Say what else goes into the declaration."""
    parts = [f"repairs: {', '.join(shown['steps'])}"] if shown["steps"] else []
    parts += ["parallel languages"] if shown["parallel"] else []
    parts += [f"origin: {shown['origin']}"] if shown["origin"] else []
    return "".join(f"; {part}" for part in parts)


def _next(own: "UserTask", data: Path | None) -> list[str]:
    """Return the commands that come next."""
    more = f" --data {shlex.quote(str(data))}" if data else ""
    run = run_words(own.spec, own.language, data)
    return [f"metaxcr tasks check {own.spec.id}{more}", *([shlex.join(run)] if run else [])]


CONFIG = "xcopa-embedded"
_DEVELOPMENT = ("val", "valid", "validation", "dev", "train")  # where shots are taken from, the best first
_TESTED = ("test", "eval")
_LEAST = 16  # rows of which some can be shots and the others tested
_SEEDS, _SHOTS = 3, 16  # of the configuration


def run_words(spec: "TaskSpec", language: str, root: Path | None) -> list[str] | None:
    """Return the words of a run on a task.

    Args:
        spec: The task.
        language: The tested language.
        root: Data root given by the user.

    Returns:
        The command; None where no run makes sense: there are no labels, or too few.
    """
    from metaxcr.config.io import load_config

    chosen = _splits(spec, language, root)
    if chosen is None:
        return None
    shots, tested, k = chosen
    settings = {
        "target.task": spec.id,
        "target.languages": f"[{language}]",
        "target.shots_split": shots,
        "evaluate.split": tested,
        "evaluate.raw": "false",
        "evaluate.english": "null",
        **({"target.k": str(k)} if k != _SHOTS else {}),
        **_parallel(language, root),
    }
    auxiliary = load_config(CONFIG).target.auxiliary
    if auxiliary and language in auxiliary.languages:
        others = ", ".join(code for code in auxiliary.languages if code != language)
        settings["target.auxiliary.languages"] = f"[{others}]"
    words = ["metaxcr", "run", CONFIG]
    for key, value in settings.items():
        words += ["--set", f"{key}={value}"]
    words += ["--data", str(root)] if root else []
    return [*words, "--out", f"runs/{spec.id}"]


def _splits(spec: "TaskSpec", language: str, root: Path | None) -> tuple[str, str, int] | None:
    """Choose the split of the shots, the one that is tested, and the number of shots."""
    from metaxcr.data.registry import load

    loaded: dict[str, list[Example]] = {}
    for split, declared in spec.splits.items():
        if declared.labelled and language in spec.split_languages(split):
            loaded[split] = load(spec.id, split, language=language, root=root).examples
    usable = [split for split, examples in loaded.items() if len(examples) >= _LEAST]
    if not usable:
        return None
    tested = next((s for s in (*_TESTED, *_DEVELOPMENT) if s in usable), usable[0])
    shots = next((s for s in _DEVELOPMENT if s in usable and s != tested), tested)
    n = len(loaded[shots])
    # what serves as a shot for some seed is not tested
    k = min(_SHOTS, n) if shots != tested else min(_SHOTS, n // (2 * _SEEDS))
    return shots, tested, max(2, k - k % 2)


def _parallel(language: str, root: Path | None) -> dict[str, str]:
    """Parallel text of the language, where there is any; otherwise none is used."""
    from metaxcr.config.io import load_config
    from metaxcr.data.corpora import load_parallel
    from metaxcr.errors import UserError

    text = load_config(CONFIG).target.parallel
    try:
        if text is None:
            return {}
        load_parallel(text.corpus, text.split, [language], root=root)
    except UserError:
        return {"target.parallel": "null", "ctml.alignment": "0", "clml.alignment": "0"}
    return {"target.parallel.languages": f"[{language}]"}
