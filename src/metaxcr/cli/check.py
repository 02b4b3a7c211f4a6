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


@dataclass(frozen=True)
class _Wanted:
    """What is checked, and how closely."""

    language: str | None
    split: str | None
    data: Path | None
    repairs_off: tuple[str, ...]
    tokens: "TokenCounter | None"  # None: lengths are not counted
    limit: int
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
    """Read the files that are there, report what is wrong.

    The exit status is 2 if something is. Counts rows, labels, repeated examples and choices, and holds the
    shipped repairs against the majority over the languages. With an ID or a FILE also: choices that are too
    long, contexts that are cut, training examples that are held out elsewhere. Notes are imperfections that
    official files have, too; problems mean that your files differ, or that a run would stop.
    """
    off = tuple(no_repair or ())
    tokens = _token_store(encoder) if task else None
    wanted = _Wanted(language, split, data, off, tokens, limit, leaks=task is not None)
    found, problems = _of_file(Path(task), wanted) if task and _is_file(task) else _of_tasks(task, wanted)
    if as_json:
        print_json({"splits": found, "problems": problems})
    else:
        _print(found)
    for problem in problems:
        note(f"problem: {problem}")
    if problems:
        raise UserError(f"{len(problems)} problems in the data", None, "compare with the official files")
    hint = "" if task else "; name a task for its lengths and leaks"
    note(f"{len(found)} splits read, no problems{hint}")


def _is_file(name: str) -> bool:
    """Tell a file's name from a task's: by its path or suffix, or because it is there."""
    from metaxcr.data.registry import task_ids

    return name not in task_ids() and ("/" in name or "." in name or os.path.exists(name))


def _of_tasks(task: str | None, wanted: _Wanted) -> tuple[list[dict[str, Any]], list[str]]:
    """Check one task or all; return what was found and the problems in words."""
    from metaxcr.data.registry import task_ids, task_spec
    from metaxcr.data.validation import verify_repair

    specs = [task_spec(name) for name in ([task] if task else task_ids())]
    found = [row for spec in specs for row in _checked(spec, wanted, required=task is not None)]
    if not found and (wanted.language or wanted.split):
        parts = (
            wanted.language and f"language {wanted.language!r}",
            wanted.split and f"split {wanted.split!r}",
        )
        raise UserError(
            f"no task that is there has {' and '.join(filter(None, parts))}", None, "see 'metaxcr tasks ls'"
        )
    problems = [f"{_place(row)}: {p}" for row in found for p in row["problems"]]
    if not problems and "question" not in wanted.repairs_off:
        # a file that cannot be read has no majority to be held against
        problems = [str(d) for d in verify_repair(wanted.data) if task in (None, d.task)]
    return found, problems


def _of_file(file: Path, wanted: _Wanted) -> tuple[list[dict[str, Any]], list[str]]:
    """Check a file that no task declares, as ``tasks add`` would read it."""
    from metaxcr.data.infer.user_task import read_user_file

    if wanted.language is None:
        raise UserError("the language of a file has to be named", str(file), "add --language CODE")
    loaded, notes = read_user_file(file, wanted.language, part=wanted.split)
    for line in notes:
        note(f"warning: {line}")
    row = _row(loaded, wanted)
    return [row], [f"{file}: {problem}" for problem in row["problems"]]


def _checked(spec: "TaskSpec", wanted: _Wanted, *, required: bool) -> Iterator[dict[str, Any]]:
    """Check what is there; what cannot be read is a problem, what is missing an error if asked for."""
    from metaxcr.data.data_dirs import missing_files
    from metaxcr.data.registry import load

    missing = set(missing_files(spec, wanted.data))
    read = 0
    for name in [wanted.split] if wanted.split else list(spec.splits):
        there = spec.split_languages(name) if name in spec.splits else spec.languages
        for code in [wanted.language] if wanted.language else there:
            known = name in spec.splits and code in there
            absent = known and bool(missing.intersection(spec.files_of(name, code)))
            if absent and not (required and wanted.split and wanted.language):
                continue
            if not known and not required:
                continue
            read += 1
            try:
                yield _row(
                    load(spec.id, name, language=code, root=wanted.data, off=wanted.repairs_off), wanted
                )
            except UserError as error:
                if not known or absent:
                    raise
                yield _unreadable(spec.id, name, code, error)
    if required and not read:  # says which file is missing
        first = next(iter(spec.splits))
        load(spec.id, first, language=spec.split_languages(first)[0], root=wanted.data)


def _row(loaded: "LoadedSplit", wanted: _Wanted) -> dict[str, Any]:
    from metaxcr.data.validation import check_split, held_out_elsewhere

    lengths = None if wanted.tokens is None else _lengths(loaded, wanted.tokens, wanted.limit)
    return check_split(loaded, lengths, held_out_elsewhere(loaded, wanted.data) if wanted.leaks else ())


def _unreadable(task: str, split: str, language: str, error: UserError) -> dict[str, Any]:
    place = {"task": task, "split": split, "language": language}
    return {**place, "n": 0, "problems": [str(error)], "notes": []}


def _token_store(encoder: str) -> "TokenCounter | None":
    """The encoder's tokenizer with its cache; None, and a note, where the encoder is not there."""
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
    choices = tokens.lengths([Text(choice) for p in phrased for choice in p.choices])
    too_long, position = [], 0
    for n, p in enumerate(phrased):
        if max(choices[position : position + len(p.choices)]) > limit:
            too_long.append(n)
        position += len(p.choices)
    return Lengths(limit, int(sum(length > limit for length in contexts)), too_long)


def _print(found: list[dict[str, Any]]) -> None:
    print_table(
        ("task", "split", "lang", ">rows", ">labelled", "labels", "choices", "state", "notes"),
        [
            (
                row["task"],
                row["split"],
                row["language"],
                row["n"],
                row.get("labelled", ""),
                "/".join(map(str, row.get("label_balance", {}).values())),
                " ".join(map(str, row.get("choices", {}))),
                "PROBLEM" if row["problems"] else "ok",
                "; ".join(row["notes"]),
            )
            for row in found
        ],
    )


def _place(row: dict[str, Any]) -> str:
    return f"{row['task']} {row['split']} {row['language']}"
