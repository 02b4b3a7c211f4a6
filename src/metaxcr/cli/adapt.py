"""The command ``adapt``: a trained folder to its target languages, or a model to a user's examples."""

import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from metaxcr.cli import options
from metaxcr.cli.console import console, note, print_json, print_table, say, try_report
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.api import MetaXCR
    from metaxcr.data.infer.table import ColumnHints
    from metaxcr.fewshot.user_examples import UserExamples
    from metaxcr.runs.progress import Progress

FOLDER_OPTIONS = ("what", "data", "quiet")  # the only ones that apply to a DIR

QuestionKind = Literal["cause-effect", "cause", "effect", "plain"]
WhatArgument = Annotated[
    Path, typer.Argument(metavar="FILE|DIR", help="Your own labelled examples; or a trained run folder.")
]
LanguageOption = Annotated[
    str | None, typer.Option("--language", metavar="CODE", help="Of the examples (ISO 639-1).")
]
TaskOption = Annotated[
    QuestionKind | None, typer.Option("--task", help="Kind of the questions, if the file does not say.")
]
NameOption = Annotated[
    str | None, typer.Option("--name", help="Name of the examples.", show_default="name of FILE")
]
ModelOption = Annotated[Path | None, options.out_option("The model's folder.", "models/<name>")]
StartOption = Annotated[
    str | None,
    typer.Option(
        "--start", metavar="DIR", help="Model to adapt.", show_default="the package's own meta-adapter"
    ),
]
AccuracyOption = Annotated[
    float,
    typer.Option(
        "--accuracy", help="Target accuracy of the answers that are not withheld.", min=0.5, max=0.999
    ),
]
MoreOption = Annotated[int, typer.Option("--more", help="Further examples whose gain is forecast.", min=1)]
SeedOption = Annotated[int, typer.Option("--seed", help="Of folds and batches.", min=0)]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an existing model.")]


@options.examples(
    "metaxcr adapt mine.csv --language sw",
    "metaxcr adapt mine.jsonl --language ht --task cause-effect --out models/ht --accuracy 0.8",
    "metaxcr adapt runs/mine",
)
def adapt(
    context: typer.Context,
    what: WhatArgument,
    language: LanguageOption = None,
    task: TaskOption = None,
    mapping: options.MapOption = None,
    labels: options.LabelsOption = None,
    relation: options.RelationOption = None,
    columns: options.ColumnsOption = None,
    where: options.WhereOption = None,
    split: options.PartOption = None,
    skip_bad: options.SkipBadOption = False,
    name: NameOption = None,
    out: ModelOption = None,
    start: StartOption = None,
    accuracy: AccuracyOption = 0.9,
    more: MoreOption = 30,
    seed: SeedOption = 0,
    force: ForceOption = False,
    device: options.DeviceOption = "auto",
    data: options.DataOption = None,
    quiet: options.QuietOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Adapt to your own examples in a minute, or a trained folder to its target languages.

    FILE: CSV, TSV, JSON, JSON lines or Parquet with a few dozen labelled examples. Adapts the meta-adapter
    that comes with the package and reports cross-validated accuracy beside the unadapted model and the
    untrained similarity, the learning curve, doubtful labels, and whether the probabilities are reliable.
    The adapted model is kept only if the examples show it to be better; otherwise the unadapted one is.

    DIR: the second part of 'metaxcr run': CLML and few-shot fine-tuning with the folder's own settings.
    Training that is missing is done first.
    """
    if os.path.isdir(what):
        _refuse_file_options(context, what)
        _adapt_folder(what, data, quiet)
        return
    if language is None:
        raise UserError("the language of the examples is missing", "--language", "give it, for example sw")
    hints = options.column_hints(mapping, labels, relation, columns, where, skip_bad)
    name = name or _task_name(what.stem)
    out = out or Path("models") / name

    # Input errors come first: nothing heavy is imported or loaded before the file is read.
    from metaxcr.fewshot.adapt_run import check_output_folder
    from metaxcr.fewshot.adaptation import Settings
    from metaxcr.runs.progress import Progress

    begun, progress = time.perf_counter(), Progress(console(stderr=True), quiet=quiet)
    check_output_folder(out, force=force)
    found = _read_examples(what, language, task, hints, split)
    progress.say(f"{len(found.examples)} examples ({found.language}) from {what}")
    model = _load_start(start, device, progress)
    try:
        adapted = model.adapt(
            found,
            name=name,
            out=out,
            settings=Settings(seed=seed, target_accuracy=accuracy, more=more),
            force=force,
            progress=progress.update,
            command=shlex.join(["metaxcr", *sys.argv[1:]]),
        )
    finally:
        progress.finish()
    note(f"{time.perf_counter() - begun:.0f} s")
    assert adapted.adaptation is not None
    _show_result(adapted.adaptation, out, as_json=as_json)


def _refuse_file_options(context: typer.Context, folder: Path) -> None:
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in FOLDER_OPTIONS and source is not None and source.name == "COMMANDLINE":
            raise UserError(f"{parameter.opts[0]} belongs to a FILE of examples", str(folder))


def _adapt_folder(folder: Path, data: Path | None, quiet: bool) -> None:
    from metaxcr.cli.run import carry_out, folder_settings

    settings = folder_settings(folder)
    carry_out(settings, folder, data=data, resume=True, quiet=quiet, phases=("train", "adapt"))
    say(f"adapted: {folder / 'adapters'}")
    say(f"next: metaxcr evaluate {folder}")


def _read_examples(
    file: Path, language: str, task: QuestionKind | None, hints: "ColumnHints", split: str | None
) -> "UserExamples":
    from metaxcr.fewshot.adaptation import check_examples
    from metaxcr.fewshot.user_examples import read_user_examples

    found = read_user_examples(file, language, task, hints, split)
    for line in found.notes:
        note(f"warning: {line}")
    check_examples(found)
    return found


def _load_start(start: str | None, device: str, progress: "Progress") -> "MetaXCR":
    from metaxcr.api import MetaXCR
    from metaxcr.saved_model import EMBEDDED_MODEL

    model = MetaXCR.from_pretrained(start or EMBEDDED_MODEL, device=device)
    progress.say(model.machine)
    return model


def _show_result(summary: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    from metaxcr.fewshot.adapt_run import REPORT, write_adapted_report

    if as_json:
        print_json(summary)
    else:
        try_report(lambda: _print_summary(summary), folder, "table")
    show = note if as_json else say
    show(f"model: {folder}")
    page = folder / REPORT
    if page.is_file() or try_report(lambda: write_adapted_report(folder), folder):
        show(f"report: {page}")
    show(f"next: metaxcr predict {shlex.quote(str(folder))} QUESTIONS --language {summary['language']}")


def _print_summary(summary: dict[str, Any]) -> None:
    from metaxcr.fewshot.adapt_report import systems_table
    from metaxcr.fewshot.messages import advice, threshold_message

    table = systems_table(summary)
    heads = [f">{head}" if n in table.numeric else head for n, head in enumerate(table.head)]
    print_table(heads, table.rows)
    for line in [summary["sentence"], *advice(summary), threshold_message(summary)]:
        say(line)


def _task_name(stem: str) -> str:
    """A file's name as the name of a task."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in stem).strip("_-")
    return kept or "own"
