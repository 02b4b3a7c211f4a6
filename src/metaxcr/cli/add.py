"""``tasks fetch`` and ``add``: data sets from where they were published, and a user's own files as a task."""

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.filesize import decimal

from metaxcr.cli import options
from metaxcr.cli.console import download_progress, note, print_json, say
from metaxcr.cli.options import Place, Text, Texts, argument, examples, option
from metaxcr.cli.tasks import Language, Split, example_line, phrased_entry
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.data.fetcher import FetchedFile, Fetcher, FetchPlan
    from metaxcr.data.infer.user_files import DataSource
    from metaxcr.data.infer.user_task import UserTask
    from metaxcr.data.languages import Tag
    from metaxcr.data.spec import Declaration, TaskSpec


CONFIG = "xcopa-embedded"  # of the run that is suggested
_SHOWN = 3  # examples
_DEVELOPMENT = ("val", "valid", "validation", "dev", "train")  # splits to take shots from, the best first
_TEST = ("test", "eval")
_MIN_EXAMPLES = 16  # fewer are not enough for shots and a test
_SEEDS, _SHOTS = 3, 16  # of the configuration


@examples(
    "metaxcr tasks fetch xcopa copa",
    "metaxcr tasks fetch xcopa --language th --split test --to DIR",
)
def fetch(
    tasks: Annotated[Texts, argument("ID", "Tasks or texts ('metaxcr tasks ls').")] = None,
    everything: Annotated[bool, option("--all", "All tasks that can be fetched.")] = False,
    split: Split = None,
    language: Language = None,
    to: Annotated[Place, option("--to", "Folder to fill.", "DIR", "the user's cache")] = None,
    force: Annotated[
        bool, option("--force", "Fetch again what is there; follow what moved on the hub.")
    ] = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Fetch the files of tasks from where they were published.

    They are stored under their official names in the user's cache, where all commands find them, or in a
    folder that can be copied to a machine without a network and given there as --data. Files that are there
    and right are not fetched again, so an interrupted fetch continues with the next file. The licence is
    shown first: fetching means to agree to it.
    """
    from metaxcr.data.fetcher import open_fetcher
    from metaxcr.data.registry import cache_root

    specs = _specs(tasks or [], everything, split, language)
    root = Path(os.path.expanduser(to or cache_root()))
    rows: list[dict[str, Any]] = []
    failed: dict[str, UserError] = {}
    tell = note if as_json else say
    with download_progress(quiet) as report, open_fetcher(root, force=force, report=report) as fetcher:
        for spec in specs:
            try:
                plan = fetcher.plan(spec, split, language)
                for file in chain(plan.present, _fetch(fetcher, plan, everything, tell)):
                    rows.append(asdict(file) | {"error": None})
            except UserError as error:
                failed[spec.id] = error
                empty = dict.fromkeys(("file", "bytes", "sha256", "source", "commit"))
                rows.append({"task": spec.id, **empty, "status": "failed", "error": str(error)})
    if as_json:
        print_json(rows)
    # Failures come last, where they are seen.
    if failed and len(specs) == 1:
        raise failed[specs[0].id]
    for task, why in failed.items():
        note(f"{task}: {why}")
    if failed:
        what = f"{len(failed)} of {len(specs)} tasks were not fetched: {', '.join(failed)}"
        raise UserError(what, None, "see above")
    fetched = sum(row["status"] == "fetched" for row in rows)
    note(f"{_files(fetched)} fetched, {len(rows) - fetched} already there; folder: {root}")
    if fetched:
        note("next: metaxcr tasks check ID")


def _specs(
    tasks: list[str], everything: bool, split: str | None, language: str | None
) -> list["Declaration"]:
    """Return the tasks; with ``--all`` those that have the split and the language."""
    from metaxcr.data.corpora import corpus_ids, corpus_spec
    from metaxcr.data.registry import task_ids, task_spec

    def declaration(name: str) -> "Declaration":
        return corpus_spec(name) if name in corpus_ids() else task_spec(name)

    if everything == bool(tasks):
        what = "--all and names of tasks" if tasks else "nothing to fetch is named"
        raise UserError(what, None, "give either tasks ('metaxcr tasks ls') or --all")
    if tasks:
        return [declaration(name) for name in dict.fromkeys(tasks)]
    return [
        spec
        for spec in map(declaration, [*task_ids(), *corpus_ids()])
        if not spec.package
        and (split is None or split in spec.splits)
        and (language is None or language in spec.languages)
    ]


def _fetch(
    fetcher: "Fetcher", plan: "FetchPlan", everything: bool, tell: Callable[[str], None]
) -> Iterator["FetchedFile"]:
    """Show what is known of a task, and fetch what is missing.

    Files that only a person can get are an error if the task was named, and a note with ``--all``.
    """
    spec = plan.spec
    if spec.package:
        tell(f"{spec.id}: ships with the package, nothing to fetch")
        return
    if plan.present:
        tell(f"{spec.id}: {_files(len(plan.present))} already there")
    if plan.missing:
        tell(f"{spec.id}: {_files(len(plan.missing))} to fetch; licence: {spec.licence}")
        tell(f"  to be cited: {' '.join(spec.citation.split())}")
        for file in fetcher.fetch(spec.id, plan.missing, spec.url):
            tell(f"  {file.file}  {decimal(file.bytes)}")
            yield file
    if plan.manual:
        more = f" and {len(plan.manual) - 1} more" if len(plan.manual) > 1 else ""
        what = f"'{plan.manual[0]}'{more} of task '{spec.id}' cannot be fetched"
        fix = f"get it from {spec.url} and put it under this name into a folder that you give as --data"
        if not everything:
            raise UserError(what, None, fix)
        note(f"note: {UserError(what, None, fix)}")


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"


@examples(
    "metaxcr tasks add mine.csv --name mine --language sw",
    "metaxcr tasks add val.jsonl test.jsonl --name mine --language sw --map premise=text --labels one",
    "metaxcr tasks add table.csv --name mine --language sw --columns premise,choice1,choice2,label",
    "metaxcr tasks add owner/name:PART --name mine --language th --split test",
)
def add(
    files: Annotated[
        list[str], argument("FILE...", "One file for each split, or owner/name[:PART] on the hub.")
    ],
    name: Annotated[str, option("--name", "What the task is called from now on.", "NAME")],
    language: Annotated[str, option("--language", "Of the texts (ISO 639-1).", "CODE")],
    mapping: options.Map = None,
    labels: options.Labels = None,
    relation: options.Relation = None,
    columns: options.Columns = None,
    where: options.Where = None,
    split: Annotated[
        Texts,
        option("--split", "Of each file in order; or the splits to read of one file with several.", "NAME"),
    ] = None,
    skip_bad: options.SkipBad = False,
    repair: Annotated[Texts, option("--repair", "repeated-ids or choices; repeatable.", "STEP")] = None,
    group: Annotated[Text, option("--group", "target (default) or source.", "KIND")] = None,
    licence: Annotated[Text, option("--licence", "For the reader of a result.", "TEXT")] = None,
    citation: Annotated[Text, option("--citation", "For the reader of a result.", "TEXT")] = None,
    url: Annotated[Text, option("--url", "Where the data are from.", "URL")] = None,
    origin: Annotated[
        Text, option("--origin", "Task that has the same items under the same ids.", "NAME")
    ] = None,
    force: Annotated[bool, option("--force", "Replace splits that are already declared.")] = False,
    dry_run: Annotated[bool, option("--dry-run", "Show what is understood, write nothing.")] = False,
    data: options.Data = None,
    as_json: options.Json = False,
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
    hints = options.column_hints(mapping, labels, relation, columns, where, skip_bad, repair)
    tag = language_tag(language)
    info = {"group": group, "licence": licence, "citation": citation, "url": url, "origin": origin}
    sources = _sources(files, tag, split or [], hints.columns)
    task = user_task(name, tag, sources, hints, force=force, root=data, **info)
    if not dry_run:
        task.write()
    check = ["metaxcr", "tasks", "check", name, *(["--data", str(data)] if data else [])]
    run = None if dry_run else _run_command(task.spec, task.language, data)
    commands = [] if dry_run else [shlex.join(words) for words in (check, run) if words]
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
            unused = {"unused": ", ".join(split["unused"])} if split["unused"] else {}
            for role, reason in {**split["fields"], **unused}.items():
                say(f"  {role:<9} {reason}")
        before = split["fields"]
    declared = [
        f"relation: {summary['relation']}",
        f"repairs: {', '.join(summary['steps'])}" if summary["steps"] else "",
        "parallel languages" if summary["parallel"] else "",
        f"origin: {summary['origin']}" if summary["origin"] else "",
    ]
    say("; ".join(filter(None, declared)))
    for line in summary["notes"]:
        note(line if line.startswith("warning") else f"note: {line}")
    say("as the encoder sees it: context | relation | choices, a star marks the label")
    for example in summary["examples"]:
        say(example_line(example))


def _run_command(spec: "TaskSpec", language: str, root: Path | None) -> list[str] | None:
    """The words of a run on a task; None where there are no labels, or too few."""
    from metaxcr.config.io import load_config

    chosen, target = _choose_splits(spec, language, root), load_config(CONFIG).target
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
    }
    if target.auxiliary is not None and language in target.auxiliary.languages:
        others = ", ".join(code for code in target.auxiliary.languages if code != language)
        settings["target.auxiliary.languages"] = f"[{others}]"
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    data = ["--data", str(root)] if root else []
    return ["metaxcr", "run", CONFIG, *words, *data, "--out", f"runs/{spec.id}"]


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
