"""``tasks ls`` and ``show``: the data sets, which of their files are there, and their examples."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli.console import print_json, print_table, say
from metaxcr.cli.options import DataOption, JsonOption, examples
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.data.example import Example
    from metaxcr.data.spec import Corpus, Repair, TaskSpec

app = typer.Typer(help="List, show and check data sets ('metaxcr tasks ls').")

TaskArgument = Annotated[str, typer.Argument(metavar="ID", help="A task ('metaxcr tasks ls').")]
LanguageOption = Annotated[
    str | None, typer.Option("--language", metavar="CODE", help="One language only (ISO 639-1).")
]
SplitOption = Annotated[str | None, typer.Option("--split", metavar="NAME", help="One split only.")]
NoRepairOption = Annotated[
    list[str] | None,
    typer.Option("--no-repair", metavar="STEP", help="Leave a repair step out; repeatable."),
]


@app.command()
@examples("metaxcr tasks ls --data DIR")
def ls(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the tasks and the text corpora, and which of their files are there."""
    from metaxcr.data.corpora import corpus_ids, corpus_spec
    from metaxcr.data.registry import candidate_roots, task_ids, task_spec

    rows = [_task_entry(task_spec(task), data) for task in task_ids()]
    rows += [_corpus_entry(corpus_spec(name), data) for name in corpus_ids()]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("id", "group", "splits: items", "languages", "files", "licence"),
        [
            (
                row["id"],
                row["group"],
                " ".join(f"{name} {n or '?'}" for name, n in row["splits"].items()),
                " ".join(row["languages"]),
                _presence(row),
                row["licence"],
            )
            for row in rows
        ],
    )
    roots = ", ".join(map(str, candidate_roots(data)))
    say(f"data roots: {roots}" if roots else "no data root: give --data DIR or set METAXCR_DATA")
    say("next: metaxcr tasks show ID, metaxcr tasks fetch ID")


@app.command()
@examples(
    "metaxcr tasks show starter_target --language sw",
    "metaxcr tasks show xcopa --language et --split val -n 10",
)
def show(
    task: TaskArgument,
    language: LanguageOption = None,
    split: SplitOption = None,
    number: Annotated[int, typer.Option("--number", "-n", min=0, help="How many examples.")] = 3,
    no_repair: NoRepairOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a task, with examples as the encoder sees them.

    An example reads: context | relation | choices. Relation 'effect': the context leads to the choice;
    'cause': the choice leads to the context; 'answer': no direction; 'none': no context. A star marks the
    labelled choice.
    """
    from metaxcr.data.registry import load, task_spec

    spec = task_spec(task)
    split = split or next(iter(spec.splits))
    language = language or next(iter(spec.split_languages(split) if split in spec.splits else spec.languages))
    entry = _task_entry(spec, data)
    shown: list[dict[str, Any]] = []
    repairs: dict[str, int] = {}
    missing = None
    try:
        loaded = load(task, split, language=language, root=data, off=no_repair or ())
        shown, repairs = [phrased_entry(e, spec) for e in loaded.examples[:number]], loaded.repairs
    except UserError as error:
        if language not in spec.languages or split not in spec.splits or not entry["missing"]:
            raise
        missing = str(error)
    described = {**entry, **_declaration(spec)}
    if as_json:
        print_json(
            {**described, "split": split, "language": language, "repaired": repairs, "examples": shown}
        )
        return
    files = f"{entry['files']}, {len(entry['missing']) or 'none'} missing"
    for key, value in {**described, "files": files, "missing": None}.items():
        if value not in (None, [], {}):
            say(f"{key:<11}{_text(value)}")
    if missing is not None:
        say(f"\nno examples: {missing}")
        return
    done = f" (repaired: {_text(repairs)})" if repairs else ""
    say(f"\n{split}, {language}{done}: context | relation | choices")
    for row in shown:
        choices = " / ".join(f"*{c}" if i == row["label"] else c for i, c in enumerate(row["choices"]))
        say(f"  {row['id']}: {row['context'] or '(none)'} | {row['relation']} | {choices}")


def _task_entry(spec: "TaskSpec", data: Path | None) -> dict[str, Any]:
    """Return what ``ls`` says about a task."""
    from metaxcr.data.registry import load

    splits: dict[str, int | None] = {}  # items in one language
    for name, split in spec.splits.items():
        language = spec.split_languages(name)[0]
        if spec.package:  # they are not declared, and quickly counted
            splits[name] = len(load(spec.id, name, language=language).examples)
        else:
            splits[name] = split.expected(language)
    return _entry(spec, spec.group, splits, data)


def _corpus_entry(corpus: "Corpus", data: Path | None) -> dict[str, Any]:
    """Return what ``ls`` says about a text corpus; its splits have lines, not examples."""
    lines = {name: corpus.lines.get(name) for name in corpus.splits}
    counted = {name: n if isinstance(n, int) else None for name, n in lines.items()}
    return _entry(corpus, corpus.kind, counted, data)


def _entry(
    spec: "TaskSpec | Corpus", group: str, splits: Mapping[str, int | None], data: Path | None
) -> dict[str, Any]:
    from metaxcr.data.registry import files_of, missing_files

    return {
        "id": spec.id,
        "version": spec.version,
        "title": spec.title,
        "group": group,
        "splits": splits,
        "languages": list(spec.languages),
        "files": len(files_of(spec)),
        "missing": missing_files(spec, data),
        "licence": spec.licence,
    }


def _declaration(spec: "TaskSpec") -> dict[str, Any]:
    """Return what ``show`` says beyond ``ls``."""
    keys = ("relation", "polarity", "parallel", "origin", "url", "citation", "defects")
    return {key: getattr(spec, key) for key in keys} | {
        "repairs": {step.step: _repair(step) for step in spec.repairs},
        "left out": "rows that cannot be used" if spec.skip_bad else None,
        "fetch": sorted({str(load.url or f"{load.hub} @ {load.revision}") for load in spec.fetch}),
    }


def _repair(step: "Repair") -> str:
    """Say what a declared repair does."""
    from metaxcr.data.rows import DECLARED

    if step.step != "question":
        return DECLARED[step.step]
    rows = [f"{split} {code} {len(ids)}" for split, codes in step.ids.items() for code, ids in codes.items()]
    return f"to '{step.to}' in {', '.join(rows)}"


def phrased_entry(example: "Example", spec: "TaskSpec") -> dict[str, Any]:
    """Return an example as the encoder sees it."""
    from metaxcr.data.phrasing import phrase

    phrased = phrase(example, spec)
    return {
        "id": example.id,
        "context": phrased.context,
        "relation": phrased.relation,
        "choices": list(phrased.choices),
        "label": example.label,
    }


def _presence(row: dict[str, Any]) -> str:
    """Say how many of a task's files are there."""
    there = row["files"] - len(row["missing"])
    return "all" if not row["missing"] else "none" if not there else f"{there} of {row['files']}"


def _text(value: Any) -> str:
    """Write a declared value for people."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {'?' if inner is None else inner}" for key, inner in value.items())
    if isinstance(value, list):
        glue = "\n" + 11 * " " if any(" " in str(item) for item in value) else " "
        return glue.join(map(str, value))
    return str(value)
