"""The command ``adapt``: a trained folder to its target languages, or a model to a user's examples."""

import os
import shlex
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from metaxcr.cli import options
from metaxcr.cli.console import (
    command_line,
    note,
    print_json,
    print_report_table,
    progress,
    say,
    try_report,
)
from metaxcr.cli.options import Place, Text, argument, option
from metaxcr.cli.run import carry_out, folder_settings
from metaxcr.errors import UserError

FOLDER_OPTIONS = ("what", "data", "quiet")  # the only ones that apply to a DIR

QuestionKind = Literal["cause-effect", "cause", "effect", "plain"]


@options.examples(
    "metaxcr adapt mine.csv --language sw",
    "metaxcr adapt mine.jsonl --language ht --task cause-effect --out models/ht --accuracy 0.8",
    "metaxcr adapt runs/mine",
)
def adapt(
    context: typer.Context,
    what: Annotated[Path, argument("FILE|DIR", "Your own labelled examples; or a trained run folder.")],
    language: Annotated[Text, option("--language", "Of the examples (ISO 639-1).", "CODE")] = None,
    task: Annotated[
        QuestionKind | None, option("--task", "Kind of the questions, if the file does not say.")
    ] = None,
    mapping: options.Map = None,
    labels: options.Labels = None,
    relation: options.Relation = None,
    columns: options.Columns = None,
    where: options.Where = None,
    split: options.Part = None,
    skip_bad: options.SkipBad = False,
    name: Annotated[Text, option("--name", "Name of the examples.", usual="name of FILE")] = None,
    out: Annotated[Place, option("--out", "The model's folder.", "DIR", "models/<name>")] = None,
    start: Annotated[
        Text, option("--start", "Model to adapt.", "DIR", "the package's own meta-adapter")
    ] = None,
    accuracy: Annotated[
        float,
        option("--accuracy", "Target accuracy of the answers that are not withheld.", min=0.5, max=0.999),
    ] = 0.9,
    more: Annotated[int, option("--more", "Further examples whose gain is forecast.", min=1)] = 30,
    seed: Annotated[int, option("--seed", "Of folds and batches.", min=0)] = 0,
    force: Annotated[bool, option("--force", "Replace an existing model.")] = False,
    device: options.Device = "auto",
    data: options.Data = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
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
        carry_out(folder_settings(what), what, data=data, resume=True, quiet=quiet, phases=("train", "adapt"))
        say(f"adapted: {what / 'adapters'}")
        say(f"next: metaxcr evaluate {what}")
        return
    if language is None:
        raise UserError("the language of the examples is missing", "--language", "give it, for example sw")
    hints = options.column_hints(mapping, labels, relation, columns, where, skip_bad)
    name = name or _task_name(what.stem)
    out = out or Path("models") / name

    from metaxcr.fewshot.adapt_run import check_output_folder
    from metaxcr.fewshot.adaptation import Settings, check_examples
    from metaxcr.fewshot.user_examples import read_user_examples

    begun = time.perf_counter()
    check_output_folder(out, force=force)
    found = read_user_examples(what, language, task, hints, split)
    for line in found.notes:
        note(f"warning: {line}")
    check_examples(found)  # mistakes in the file come before the model is loaded
    with progress(quiet) as shown:
        shown.say(f"{len(found.examples)} examples ({found.language}) from {what}")

        from metaxcr.api import MetaXCR
        from metaxcr.saved_model import EMBEDDED_MODEL

        model = MetaXCR.from_pretrained(start or EMBEDDED_MODEL, device=device)
        shown.say(model.machine)
        adapted = model.adapt(
            found, name=name, out=out, force=force, progress=shown.update, command=command_line(),
            settings=Settings(seed=seed, target_accuracy=accuracy, more=more),
        )  # fmt: skip
    note(f"{time.perf_counter() - begun:.0f} s")
    assert adapted.adaptation is not None
    _show_result(adapted.adaptation, out, as_json=as_json)


def _refuse_file_options(context: typer.Context, folder: Path) -> None:
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in FOLDER_OPTIONS and source is not None and source.name == "COMMANDLINE":
            raise UserError(f"{parameter.opts[0]} belongs to a FILE of examples", str(folder))


def _show_result(summary: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    from metaxcr.fewshot.adapt_run import REPORT, systems_table, write_adapted_report
    from metaxcr.fewshot.summary import advice, threshold_message

    def print_summary() -> None:
        print_report_table(systems_table(summary))
        for line in [summary["sentence"], *advice(summary), threshold_message(summary)]:
            say(line)

    if as_json:
        print_json(summary)
    else:
        try_report(print_summary, folder, "table")
    show = note if as_json else say
    show(f"model: {folder}")
    page = folder / REPORT
    if page.is_file() or try_report(lambda: write_adapted_report(folder), folder):
        show(f"report: {page}")
    show(f"next: metaxcr predict {shlex.quote(str(folder))} QUESTIONS --language {summary['language']}")


def _task_name(stem: str) -> str:
    """A file's name as the name of a task."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in stem).strip("_-")
    return kept or "own"
