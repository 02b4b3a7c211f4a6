"""``tasks ls``, ``show`` and ``check``: the data sets, their examples, and what is wrong with their files."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli import options
from metaxcr.cli.console import note, print_json, print_table, say
from metaxcr.cli.options import Text, Texts, argument, examples, option
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.data.example import Example
    from metaxcr.data.registry import LoadedSplit
    from metaxcr.data.spec import Corpus, Repair, TaskSpec
    from metaxcr.data.validation import Lengths
    from metaxcr.encoders.tokens import TokenCounter

app = typer.Typer(help="List, show and check data sets ('metaxcr tasks ls').")

Language = Annotated[Text, option("--language", "One language only (ISO 639-1).", "CODE")]
Split = Annotated[Text, option("--split", "One split only.", "NAME")]
NoRepair = Annotated[Texts, option("--no-repair", "Leave a repair step out; repeatable.", "STEP")]
Record = dict[str, Any]  # what is found in one split, see metaxcr.data.validation.check_split


@app.command()
@examples("metaxcr tasks ls --data DIR")
def ls(data: options.Data = None, as_json: options.Json = False) -> None:
    """List the tasks and the text corpora, and which of their files are there."""
    from metaxcr.data.corpora import corpus_ids, corpus_spec
    from metaxcr.data.registry import candidate_roots, task_ids, task_spec

    rows = [_entry(task_spec(task), data) for task in task_ids()]
    rows += [_entry(corpus_spec(name), data) for name in corpus_ids()]
    if as_json:
        print_json(rows)
        return
    cells = []
    for row in rows:
        splits = " ".join(f"{name} {n or '?'}" for name, n in row["splits"].items())
        there = row["files"] - len(row["missing"])
        files = "all" if not row["missing"] else "none" if not there else f"{there} of {row['files']}"
        cells.append((row["id"], row["group"], splits, " ".join(row["languages"]), files, row["licence"]))
    print_table(("id", "group", "splits: items", "languages", "files", "licence"), cells)
    roots = ", ".join(map(str, candidate_roots(data)))
    say(f"data roots: {roots}" if roots else "no data root: give --data DIR or set METAXCR_DATA")
    say("next: metaxcr tasks show ID, metaxcr tasks fetch ID")


@app.command()
@examples(
    "metaxcr tasks show starter_target --language sw",
    "metaxcr tasks show xcopa --language et --split val -n 10",
)
def show(
    task: Annotated[str, argument("ID", "A task ('metaxcr tasks ls').")],
    language: Language = None,
    split: Split = None,
    number: Annotated[int, typer.Option("--number", "-n", min=0, help="How many examples.")] = 3,
    no_repair: NoRepair = None,
    data: options.Data = None,
    as_json: options.Json = False,
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
    entry = {**_entry(spec, data), **_declaration(spec)}
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
    if as_json:
        place = {"split": split, "language": language}
        print_json({**entry, **place, "repaired": repairs, "examples": shown})
        return
    files = f"{entry['files']}, {len(entry['missing']) or 'none'} missing"
    for key, value in {**entry, "files": files, "missing": None}.items():
        if value not in (None, [], {}):
            say(f"{key:<11}{_text(value)}")
    if missing is not None:
        say(f"\nno examples: {missing}")
        return
    done = f" (repaired: {_text(repairs)})" if repairs else ""
    say(f"\n{split}, {language}{done}: context | relation | choices")
    for row in shown:
        say(example_line(row))


def _entry(spec: "TaskSpec | Corpus", data: Path | None) -> dict[str, Any]:
    """Return what ``ls`` says about a task or a text corpus."""
    from metaxcr.data.registry import files_of, missing_files
    from metaxcr.data.spec import Corpus

    return {
        "id": spec.id,
        "version": spec.version,
        "title": spec.title,
        "group": spec.kind if isinstance(spec, Corpus) else spec.group,
        "splits": {split: _size(spec, split) for split in spec.splits},
        "languages": list(spec.languages),
        "files": len(files_of(spec)),
        "missing": missing_files(spec, data),
        "licence": spec.licence,
    }


def _size(spec: "TaskSpec | Corpus", split: str) -> int | None:
    """Examples of a split in one language, or lines of a corpus, if they are known."""
    from metaxcr.data.registry import load
    from metaxcr.data.spec import Corpus

    if isinstance(spec, Corpus):
        lines = spec.lines.get(split)
        return lines if isinstance(lines, int) else None
    language = spec.split_languages(split)[0]
    if spec.package:  # they are not declared, and quickly counted
        return len(load(spec.id, split, language=language).examples)
    return spec.splits[split].expected(language)


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


def _text(value: Any) -> str:
    """Write a declared value for people."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {'?' if inner is None else inner}" for key, inner in value.items())
    if isinstance(value, list):
        glue = "\n" + 11 * " " if any(" " in str(item) for item in value) else " "
        return glue.join(map(str, value))
    return str(value)


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


def example_line(entry: dict[str, Any]) -> str:
    """Write what :func:`phrased_entry` returns as a line: context, relation, choices."""
    choices = [f"*{c}" if i == entry["label"] else c for i, c in enumerate(entry["choices"])]
    return f"  {entry['id']}: {entry['context'] or '(none)'} | {entry['relation']} | {' / '.join(choices)}"


@app.command()
@examples(
    "metaxcr tasks check",
    "metaxcr tasks check xcopa --language th --split test",
    "metaxcr tasks check mine.csv --language sw",
)
def check(
    task: Annotated[Text, argument("[ID|FILE]", "A task, or a file of your own; default: all tasks.")] = None,
    language: Language = None,
    split: Split = None,
    encoder: Annotated[str, option("--encoder", "Whose tokens are counted.", "NAME")] = "embedded",
    limit: Annotated[int, option("--max-tokens", "Length limit of a text, in tokens.", "N", min=8)] = 128,
    no_repair: NoRepair = None,
    data: options.Data = None,
    as_json: options.Json = False,
) -> None:
    """Read the files that are there and report what is wrong with them.

    The exit status is 2 if something is. Counts rows, labels, repeated examples and choices, and compares the
    shipped repairs with the majority over the languages. With an ID or a FILE also: choices that are too
    long, contexts that are cut, training examples that are held out elsewhere. Notes are imperfections that
    official files have, too; problems mean that your files differ, or that a run would stop.
    """
    from metaxcr.data.registry import task_ids, task_spec
    from metaxcr.data.validation import check_split, held_out_elsewhere, verify_repair

    tokens, off = _token_counter(encoder) if task else None, no_repair or []

    def check_loaded(loaded: "LoadedSplit") -> Record:
        lengths = None if tokens is None else _lengths(loaded, tokens, limit)
        return check_split(loaded, lengths, held_out_elsewhere(loaded, data) if task else ())

    if task and _is_file(task):
        file = Path(task)
        records = [check_loaded(_read_file(file, language, split))]
        problems = [f"{file}: {problem}" for problem in records[0]["problems"]]
    else:
        records = []
        for spec in [task_spec(name) for name in ([task] if task else task_ids())]:
            records += _check_task(spec, check_loaded, language, split, data, off, required=task is not None)
        if not records and (language or split):
            named = (f"{kind} {name!r}" for kind, name in (("language", language), ("split", split)) if name)
            what = f"no task that is there has {' and '.join(named)}"
            raise UserError(what, None, "see 'metaxcr tasks ls'")
        problems = [f"{r['task']} {r['split']} {r['language']}: {p}" for r in records for p in r["problems"]]
        if not problems and "question" not in off:  # it reads files, which must be readable
            problems = verify_repair(data, task)
    if as_json:
        print_json({"splits": records, "problems": problems})
    else:
        _print_records(records)
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


def _read_file(file: Path, language: str | None, split: str | None) -> "LoadedSplit":
    """Read a file that no task declares, as ``tasks add`` would read it."""
    from metaxcr.data.infer.user_task import read_user_file

    if language is None:
        raise UserError("the language of a file has to be named", str(file), "add --language CODE")
    loaded, notes = read_user_file(file, language, part=split)
    for line in notes:
        note(f"warning: {line}")
    return loaded


def _check_task(
    spec: "TaskSpec",
    check_loaded: "Callable[[LoadedSplit], Record]",
    language: str | None,
    split: str | None,
    data: Path | None,
    off: Sequence[str],
    *,
    required: bool,
) -> Iterator[Record]:
    """Check the splits of a task that are there.

    A file that cannot be read is a problem of its split. A missing file, split or language is an error where
    the task is ``required``, that is, named by the user.
    """
    from metaxcr.data.registry import load, missing_files

    missing = set(missing_files(spec, data))
    read = 0
    for name in [split] if split else list(spec.splits):
        there = spec.split_languages(name) if name in spec.splits else spec.languages
        for code in [language] if language else there:
            known = name in spec.splits and code in there
            absent = known and bool(missing.intersection(spec.files_of(name, code)))
            if (absent and not (required and split and language)) or not (known or required):
                continue
            read += 1
            try:
                yield check_loaded(load(spec.id, name, language=code, root=data, off=off))
            except UserError as error:
                if not known or absent:
                    raise
                place = {"task": spec.id, "split": name, "language": code}
                yield {**place, "n": 0, "problems": [str(error)], "notes": []}
    if required and not read:  # raises an error that names the missing file
        first = next(iter(spec.splits))
        load(spec.id, first, language=spec.split_languages(first)[0], root=data)


def _token_counter(encoder: str) -> "TokenCounter | None":
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


def _print_records(records: list[Record]) -> None:
    cells = []
    for record in records:
        labels = "/".join(map(str, record.get("label_balance", {}).values()))
        choices = " ".join(map(str, record.get("choices", {})))
        state, notes = "PROBLEM" if record["problems"] else "ok", "; ".join(record["notes"])
        place = (record["task"], record["split"], record["language"])
        cells.append((*place, record["n"], record.get("labelled", ""), labels, choices, state, notes))
    heads = ("task", "split", "lang", ">rows", ">labelled", "labels", "choices", "state", "notes")
    print_table(heads, cells)
