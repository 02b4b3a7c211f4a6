"""``adapt``: a trained folder to its target languages, or the package's own model to a user's examples."""

import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from metaxcr.cli.console import console, note, print_json, print_table, say, try_report, warnings_as_notes
from metaxcr.cli.options import (
    ColumnsOption,
    DataOption,
    DeviceOption,
    JsonOption,
    LabelsOption,
    MapOption,
    PartOption,
    QuietOption,
    RelationOption,
    SkipBadOption,
    WhereOption,
    column_hints,
    examples,
    out_option,
)
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.data.infer.table import ColumnHints
    from metaxcr.fewshot.adaptation import Settings

OWN = ("language", "task", "name", "out", "start", "accuracy", "more", "seed", "force", "device", "as_json",
       "mapping", "labels", "relation", "columns", "where", "split", "skip_bad")  # fmt: skip


@examples(
    "metaxcr adapt mine.csv --language sw",
    "metaxcr adapt mine.jsonl --language ht --task cause-effect --out models/ht --accuracy 0.8",
    "metaxcr adapt runs/mine",
)
def adapt(
    context: typer.Context,
    what: Annotated[
        Path,
        typer.Argument(metavar="FILE|DIR", help="Your own labelled examples; or a trained run folder."),
    ],
    language: Annotated[
        str | None, typer.Option("--language", metavar="CODE", help="Of the examples (ISO 639-1).")
    ] = None,
    task: Annotated[
        Literal["cause-effect", "cause", "effect", "plain"] | None,
        typer.Option("--task", help="What is asked, where the file does not say."),
    ] = None,
    mapping: MapOption = None,
    labels: LabelsOption = None,
    relation: RelationOption = None,
    columns: ColumnsOption = None,
    where: WhereOption = None,
    split: PartOption = None,
    skip_bad: SkipBadOption = False,
    name: Annotated[
        str | None,
        typer.Option("--name", help="What the examples are called.", show_default="name of FILE"),
    ] = None,
    out: Annotated[Path | None, out_option("The model's folder.", "models/<name>")] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--start", metavar="DIR", help="What is adapted.", show_default="the package's own meta-adapter"
        ),
    ] = None,
    accuracy: Annotated[
        float, typer.Option("--accuracy", help="Wished among the answers that are given.", min=0.5, max=0.999)
    ] = 0.9,
    more: Annotated[int, typer.Option("--more", help="Examples whose worth is forecast.", min=1)] = 30,
    seed: Annotated[int, typer.Option("--seed", help="Of folds and batches.", min=0)] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a model that is there.")] = False,
    device: DeviceOption = "auto",
    data: DataOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Adapt to your own examples in a minute, or a trained folder to its target languages.

    FILE: CSV, TSV, JSON, JSON lines or Parquet with a few dozen labelled examples. Adapts the meta-adapter
    that comes with the package, and says what that gave: cross-validated accuracy beside the unadapted model
    and the untrained similarity, the learning curve, doubtful labels, whether probabilities can be relied on.
    The adapted model is kept only if the examples show it to be better; a tie goes to the unadapted one.

    DIR: the second part of 'metaxcr run': CLML and few-shot fine-tuning with the folder's own settings; what
    of the training is missing is done first.
    """
    if os.path.isdir(what):
        given = [option for option in OWN if _given(context, option)]
        if given:
            flag = {"mapping": "map"}.get(given[0], given[0].removeprefix("as_").replace("_", "-"))
            raise UserError(f"--{flag} belongs to a FILE of examples", str(what))
        _adapt_folder(what, data, quiet)
        return
    if language is None:
        raise UserError("the language of the examples is not known", "--language", "say for example sw")
    from metaxcr.fewshot.adapt_run import write_adapted_report
    from metaxcr.fewshot.adaptation import Settings

    settings = Settings(seed=seed, wished=accuracy, more=more)
    hints = column_hints(mapping, labels, relation, columns, where, skip_bad)
    title = name or _plain(what.stem)
    goal = out or Path("models") / title
    with warnings_as_notes():
        account = _adapt_file(
            what,
            language,
            task,
            title,
            goal,
            start,
            settings,
            hints=hints,
            split=split,
            device=device,
            force=force,
            quiet=quiet,
        )
    if as_json:
        print_json(account)
    else:
        try_report(lambda: _print(account), goal, "table")
    tell = note if as_json else say
    tell(f"model: {goal}")
    page = goal / "report.html"
    if page.is_file() or try_report(lambda: write_adapted_report(goal), goal):
        tell(f"report: {page}")
    tell(f"next: metaxcr predict {shlex.quote(str(goal))} QUESTIONS --language {account['language']}")


def _adapt_folder(folder: Path, data: Path | None, quiet: bool) -> None:
    from metaxcr.cli.run import carry_out, folder_settings

    settings = folder_settings(folder)
    carry_out(settings, folder, data=data, resume=True, quiet=quiet, phases=("train", "adapt"))
    say(f"adapted: {folder / 'adapters'}")
    say(f"next: metaxcr evaluate {folder}")


def _adapt_file(
    file: Path,
    language: str,
    task: Literal["cause-effect", "cause", "effect", "plain"] | None,
    name: str,
    goal: Path,
    start: str | None,
    settings: "Settings",
    *,
    hints: "ColumnHints",
    split: str | None,
    device: str,
    force: bool,
    quiet: bool,
) -> dict[str, Any]:
    """Read, adapt, write; mistakes in the words and in the file show before the encoder is loaded."""
    from metaxcr.fewshot.adapt_run import check_goal
    from metaxcr.fewshot.user_examples import read_user_examples

    begun = time.perf_counter()
    check_goal(goal, force=force)
    own = read_user_examples(file, language, task, hints, split)
    for line in own.notes:
        note(f"warning: {line}")

    from metaxcr.fewshot.adaptation import usable

    usable(own)

    from metaxcr.api import MetaXCR
    from metaxcr.runs.progress import Progress
    from metaxcr.saved_model import EMBEDDED_MODEL

    progress = Progress(console(stderr=True), quiet=quiet)
    progress.say(f"{len(own.examples)} examples ({own.language}) from {file}")
    try:
        model = MetaXCR.from_pretrained(start or EMBEDDED_MODEL, device=device)
        progress.say(model.machine)
        adapted = model.adapt(
            own, name=name, settings=settings, out=goal, force=force, progress=progress.update,
            command=shlex.join(["metaxcr", *sys.argv[1:]]),
        )  # fmt: skip
    finally:
        progress.finish()
    note(f"{time.perf_counter() - begun:.0f} s")
    assert adapted.account is not None
    return adapted.account


def _print(account: dict[str, Any]) -> None:
    from metaxcr.fewshot.adapt_report import numbers
    from metaxcr.fewshot.messages import advice, threshold_words

    table = numbers(account)
    heads = [f">{head}" if n in table.numeric else head for n, head in enumerate(table.head)]
    print_table(heads, table.rows)
    for line in [account["sentence"], *advice(account), threshold_words(account)]:
        say(line)


def _given(context: typer.Context, option: str) -> bool:
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def _plain(stem: str) -> str:
    """A file's name as the name of a task."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in stem).strip("_-")
    return kept or "own"
