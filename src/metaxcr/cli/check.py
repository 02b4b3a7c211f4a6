"""``tasks check``: what is wrong with a data set, before a number depends on it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli.console import note, print_json, print_table
from metaxcr.cli.options import DataOption, JsonOption, examples
from metaxcr.cli.tasks import LanguageOption, NoRepairOption, SplitOption
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.data.registry import LoadedSplit
    from metaxcr.data.spec import TaskSpec
    from metaxcr.data.validation import Lengths
    from metaxcr.encoders.tokens import TokenCounter

Record = dict[str, Any]  # what is found in one split, see metaxcr.data.validation.check_split


@dataclass(frozen=True)
class _Options:
    """What is checked, and how closely."""

    language: str | None
    split: str | None
    data: Path | None
    repairs_off: tuple[str, ...]
    tokens: "TokenCounter | None"  # None: lengths are not counted
    max_tokens: int
    leaks: bool


@examples(
    "metaxcr tasks check",
    "metaxcr tasks check xcopa --language th --split test",
    "metaxcr tasks check mine.csv --language sw",
)
def check(
    task: Annotated[
        str | None,
        typer.Argument(metavar="[ID|FILE]", help="A task, or a file of your own; default: all tasks."),
    ] = None,
    language: LanguageOption = None,
    split: SplitOption = None,
    encoder: Annotated[
        str, typer.Option("--encoder", metavar="NAME", help="Whose tokens are counted.")
    ] = "embedded",
    limit: Annotated[
        int, typer.Option("--max-tokens", metavar="N", min=8, help="Length limit of a text, in tokens.")
    ] = 128,
    no_repair: NoRepairOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read the files that are there and report what is wrong with them.

    The exit status is 2 if something is. Counts rows, labels, repeated examples and choices, and compares the
    shipped repairs with the majority over the languages. With an ID or a FILE also: choices that are too
    long, contexts that are cut, training examples that are held out elsewhere. Notes are imperfections that
    official files have, too; problems mean that your files differ, or that a run would stop.
    """
    tokens = _token_store(encoder) if task else None
    options = _Options(language, split, data, tuple(no_repair or ()), tokens, limit, leaks=task is not None)
    if task and _is_file(task):
        records, problems = _check_file(Path(task), options)
    else:
        records, problems = _check_tasks(task, options)
    if as_json:
        print_json({"splits": records, "problems": problems})
    else:
        _print(records)
    for problem in problems:
        note(f"problem: {problem}")
    if problems:
        raise UserError(f"{len(problems)} problems in the data", None, "compare with the official files")
    hint = "" if task else "; name a task to check its lengths and leaks"
    note(f"{len(records)} splits read, no problems{hint}")


def _is_file(name: str) -> bool:
    """Tell a file from a task: by its path or suffix, or because it is there."""
    from metaxcr.data.registry import task_ids

    return name not in task_ids() and ("/" in name or "." in name or os.path.exists(name))


def _check_tasks(task: str | None, options: _Options) -> tuple[list[Record], list[str]]:
    """Check one task or all; return what was found and the problems in words."""
    from metaxcr.data.registry import task_ids, task_spec
    from metaxcr.data.validation import verify_repair

    specs = [task_spec(name) for name in ([task] if task else task_ids())]
    records = [record for spec in specs for record in _check_task(spec, options, required=task is not None)]
    if not records and (options.language or options.split):
        named = [("language", options.language), ("split", options.split)]
        wanted = " and ".join(f"{kind} {name!r}" for kind, name in named if name)
        raise UserError(f"no task that is there has {wanted}", None, "see 'metaxcr tasks ls'")
    problems = [f"{r['task']} {r['split']} {r['language']}: {p}" for r in records for p in r["problems"]]
    if not problems and "question" not in options.repairs_off:  # it reads files, which must be readable
        problems = verify_repair(options.data, task)
    return records, problems


def _check_file(file: Path, options: _Options) -> tuple[list[Record], list[str]]:
    """Check a file that no task declares, as ``tasks add`` would read it."""
    from metaxcr.data.infer.user_task import read_user_file

    if options.language is None:
        raise UserError("the language of a file has to be named", str(file), "add --language CODE")
    loaded, notes = read_user_file(file, options.language, part=options.split)
    for line in notes:
        note(f"warning: {line}")
    record = _check_split(loaded, options)
    return [record], [f"{file}: {problem}" for problem in record["problems"]]


def _check_task(spec: "TaskSpec", options: _Options, *, required: bool) -> Iterator[Record]:
    """Check the splits of a task that are there.

    A file that cannot be read is a problem of its split. A missing file, split or language is an error where
    the task is ``required``, that is, named by the user.
    """
    from metaxcr.data.registry import load, missing_files

    missing = set(missing_files(spec, options.data))
    read = 0
    for name in [options.split] if options.split else list(spec.splits):
        there = spec.split_languages(name) if name in spec.splits else spec.languages
        for code in [options.language] if options.language else there:
            known = name in spec.splits and code in there
            absent = known and bool(missing.intersection(spec.files_of(name, code)))
            if absent and not (required and options.split and options.language):
                continue
            if not known and not required:
                continue
            read += 1
            try:
                loaded = load(spec.id, name, language=code, root=options.data, off=options.repairs_off)
                yield _check_split(loaded, options)
            except UserError as error:
                if not known or absent:
                    raise
                place = {"task": spec.id, "split": name, "language": code}
                yield {**place, "n": 0, "problems": [str(error)], "notes": []}
    if required and not read:  # raises an error that names the missing file
        first = next(iter(spec.splits))
        load(spec.id, first, language=spec.split_languages(first)[0], root=options.data)


def _check_split(loaded: "LoadedSplit", options: _Options) -> Record:
    from metaxcr.data.validation import check_split, held_out_elsewhere

    lengths = None if options.tokens is None else _lengths(loaded, options.tokens, options.max_tokens)
    return check_split(loaded, lengths, held_out_elsewhere(loaded, options.data) if options.leaks else ())


def _token_store(encoder: str) -> "TokenCounter | None":
    """Open the tokenizer with its cache; None, and a note, where the embedded encoder is missing."""
    from metaxcr.encoders.loading import load_encoder
    from metaxcr.encoders.tokens import TokenCounter
    from metaxcr.runs.experiment import trunk_folder

    try:
        return TokenCounter(load_encoder(encoder), trunk_folder().parent / "tokens")
    except UserError as error:
        if encoder != "embedded":
            raise
        note(f"note: lengths are not counted: {error}")
        return None


def _lengths(loaded: "LoadedSplit", tokens: "TokenCounter", limit: int) -> "Lengths":
    """Count what does not fit: context and choice apart, as for dual scoring."""
    from metaxcr.data.phrasing import phrase
    from metaxcr.data.validation import Lengths
    from metaxcr.encoders.encoder import Text

    phrased = [phrase(example, loaded.spec) for example in loaded.examples]
    contexts = tokens.lengths([Text(p.context) for p in phrased])
    choices = iter(tokens.lengths([Text(choice) for p in phrased for choice in p.choices]))
    too_long = [n for n, p in enumerate(phrased) if max([next(choices) for _ in p.choices]) > limit]
    return Lengths(limit, int(sum(length > limit for length in contexts)), too_long)


def _print(records: list[Record]) -> None:
    print_table(
        ("task", "split", "lang", ">rows", ">labelled", "labels", "choices", "state", "notes"),
        [
            (
                record["task"],
                record["split"],
                record["language"],
                record["n"],
                record.get("labelled", ""),
                "/".join(map(str, record.get("label_balance", {}).values())),
                " ".join(map(str, record.get("choices", {}))),
                "PROBLEM" if record["problems"] else "ok",
                "; ".join(record["notes"]),
            )
            for record in records
        ],
    )
