"""The command ``predict``: rank the choices of a user's questions, in constant memory."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from metaxcr.cli import options
from metaxcr.cli.console import console, note
from metaxcr.cli.evaluate import AdapterOption, acting_adapter
from metaxcr.errors import UserError
from metaxcr.printable import printable_json

if TYPE_CHECKING:
    from metaxcr.api import MetaXCR
    from metaxcr.data.infer.user_questions import Question

CHUNK = 512  # questions that are encoded together

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="CSV, TSV, JSON, JSON lines or Parquet with questions.")
]
LanguageOption = Annotated[str, typer.Option("--language", metavar="CODE", help="Of the texts (ISO 639-1).")]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="File to write.", show_default="standard output")
]
AbstainOption = Annotated[
    float | None,
    typer.Option("--abstain", metavar="P", help="Withhold answers less probable than this.", min=0, max=1),
]
ExplainOption = Annotated[
    int, typer.Option("--explain", metavar="K", help="Add the K nearest source examples.", min=0)
]


@options.examples(
    """echo '{"premise": "El vaso cayó al suelo.", "question": "effect",
      "choices": ["Se rompió.", "Se llenó."]}' | paste -s -d ' ' > questions.jsonl""",
    "metaxcr predict runs/starter questions.jsonl --language es",
    "metaxcr predict models/mine questions.csv --language sw --abstain 0.8 --out answers.jsonl",
)
def predict(
    folder: options.FolderArgument,
    file: FileArgument,
    language: LanguageOption,
    mapping: options.MapOption = None,
    relation: options.RelationOption = None,
    columns: options.ColumnsOption = None,
    where: options.WhereOption = None,
    split: options.PartOption = None,
    skip_bad: options.SkipBadOption = False,
    out: OutOption = None,
    abstain: AbstainOption = None,
    explain: ExplainOption = 0,
    language_adapter: AdapterOption = "own",
    device: options.DeviceOption = "auto",
    data: options.DataOption = None,
    quiet: options.QuietOption = False,
) -> None:
    """Rank the choices of your own questions; no labels needed.

    A line has 'premise' (or 'context'), perhaps 'question' (cause, effect, or a question in words), 'choices'
    (a list) or 'choice1', 'choice2', ..., and perhaps 'id'. Other names are understood as in 'metaxcr tasks
    add', or given with --map.

    An answer has id, probabilities, choice (the index of the most probable one, counted from 0, or null if
    --abstain withholds it) and calibrated (whether 'adapt' calibrated the probabilities in this language).
    With --explain it also has 'nearest': the source examples nearest to the decision, with their texts if the
    data sets are available. The whole file is checked before the first answer; memory does not grow with it.
    """
    from metaxcr.data.infer.user_questions import read_questions

    hints = options.column_hints(mapping, None, relation, columns, where, skip_bad)
    total = sum(
        1 for _ in read_questions(file, language, hints, split, warn=lambda line: note(f"warning: {line}"))
    )

    from metaxcr.api import MetaXCR
    from metaxcr.runs.progress import Progress

    progress = Progress(console(stderr=True), quiet=quiet)
    withheld = done = 0
    with _output(out) as stream:
        model = MetaXCR.from_pretrained(folder, device=device)
        adapter = acting_adapter(language_adapter)
        note(model.machine)
        note(f"stack: {' > '.join(model.stack(language, adapter))}")
        if abstain is not None:
            _check_reliable(model, folder, language)
        for chunk in _chunks(read_questions(file, language, hints, split)):
            for answer in _answers(model, chunk, language, adapter, abstain, explain, data):
                withheld += answer["choice"] is None
                stream.write(printable_json(json.dumps(answer, ensure_ascii=False)) + "\n")
            done += len(chunk)
            progress.update("answering", done, total)
        progress.finish()
    if abstain is not None:
        note(f"withheld: {withheld} of {total}")
    if out is not None:
        note(f"{total} answers: {out}")


@contextmanager
def _output(out: Path | None) -> Iterator[TextIO]:
    from metaxcr.files import atomic_writer

    if out is None:
        yield sys.stdout
        return
    with atomic_writer(out) as stream:
        yield stream


def _check_reliable(model: "MetaXCR", folder: Path, language: str) -> None:
    if model.unreliable(language):
        raise UserError(
            f"this model's probabilities in {language!r} are not reliable, see adaptation.json",
            str(folder),
            "leave out --abstain, or adapt to more examples",
        )


def _chunks(questions: Iterator["Question"]) -> Iterator[Sequence["Question"]]:
    while chunk := list(islice(questions, CHUNK)):
        yield chunk


def _answers(
    model: "MetaXCR",
    questions: Sequence["Question"],
    language: str,
    adapter: str | None,
    abstain: float | None,
    explain: int,
    data: Path | None,
) -> list[dict[str, Any]]:
    given = [question for _, question in questions]
    ranked = model.rank_many(given, language_adapter=adapter)
    chosen = [probabilities.index(max(probabilities)) for probabilities in ranked]
    calibrated = model.calibrated(language)
    answers: list[dict[str, Any]] = [
        {
            "id": name,
            "probabilities": [round(p, 6) for p in probabilities],
            "choice": best if abstain is None or probabilities[best] >= abstain else None,
            "calibrated": calibrated,
        }
        for (name, _), probabilities, best in zip(questions, ranked, chosen, strict=True)
    ]
    if explain:
        nearest = model.nearest(given, chosen, k=explain, root=data)
        for answer, neighbours in zip(answers, nearest, strict=True):
            answer["nearest"] = [asdict(neighbour) for neighbour in neighbours]
    return answers
