"""``predict``: answers to a user's own questions, in constant memory."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from metaxcr.cli.console import console, note, warnings_as_notes
from metaxcr.cli.model import AdapterOption, acting_adapter
from metaxcr.cli.options import (
    ColumnsOption,
    DataOption,
    DeviceOption,
    FolderArgument,
    MapOption,
    PartOption,
    QuietOption,
    RelationOption,
    SkipBadOption,
    WhereOption,
    column_hints,
    examples,
)
from metaxcr.errors import UserError
from metaxcr.printable import printable_json

if TYPE_CHECKING:
    from metaxcr.cli.questions import Question

CHUNK = 512  # questions that are encoded together


@examples(
    """echo '{"premise": "El vaso cayó al suelo.", "question": "effect",
      "choices": ["Se rompió.", "Se llenó."]}' | paste -s -d ' ' > questions.jsonl""",
    "metaxcr predict runs/starter questions.jsonl --language es",
    "metaxcr predict models/mine questions.csv --language sw --abstain 0.8 --out answers.jsonl",
)
def predict(
    folder: FolderArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, TSV, JSON, JSON lines or Parquet with questions.")
    ],
    language: Annotated[str, typer.Option("--language", metavar="CODE", help="Of the texts (ISO 639-1).")],
    mapping: MapOption = None,
    relation: RelationOption = None,
    columns: ColumnsOption = None,
    where: WhereOption = None,
    split: PartOption = None,
    skip_bad: SkipBadOption = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write.", show_default="standard output"),
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(
            "--abstain", metavar="P", help="Withhold answers less probable than this.", min=0, max=1
        ),
    ] = None,
    explain: Annotated[
        int, typer.Option("--explain", metavar="K", help="Add the K nearest source examples.", min=0)
    ] = 0,
    language_adapter: AdapterOption = "own",
    device: DeviceOption = "auto",
    data: DataOption = None,
    quiet: QuietOption = False,
) -> None:
    """Rank the choices of your own questions; no labels needed.

    A line has 'premise' (or 'context'), perhaps 'question' (cause, effect, or a question in words), 'choices'
    (a list) or 'choice1', 'choice2', ..., and perhaps 'id'; other names are understood as by 'metaxcr tasks
    add', or told with --map. The answer has, line by line, id, probabilities,
    choice: the index of the most probable one, counted from 0, or null where --abstain withholds it; and
    calibrated: whether 'adapt' fitted the probabilities to held-out answers in this language. The
    whole file is checked before the first answer; memory does not grow with it. With --explain an answer also
    has 'nearest': the source examples that lie nearest to the decision, with their texts where the data sets
    are at hand.
    """
    from metaxcr.cli.questions import questions

    hints = column_hints(mapping, None, relation, columns, where, skip_bad)
    total = sum(
        1 for _ in questions(file, language, hints, split, tell=lambda line: note(f"warning: {line}"))
    )

    from metaxcr.api import MetaXCR
    from metaxcr.experiments.progress import Progress

    progress = Progress(console(stderr=True), quiet=quiet)
    withheld = done = 0
    with warnings_as_notes(), _writer(out) as stream:
        model = MetaXCR.from_pretrained(folder, device=device)
        acting = acting_adapter(language_adapter)
        note(model.machine)
        note(f"stack: {' > '.join(model.stack(language, acting))}")
        calibrated = model.calibrated(language)
        if abstain is not None and model.unreliable(language):
            raise UserError(
                f"nothing can be told from this model's probabilities in {language!r}, see adaptation.json",
                str(folder),
                "leave out --abstain, or adapt to more examples",
            )
        for chunk in _chunks(questions(file, language, hints, split)):
            answers = model.rank_many([question for _, question in chunk], language_adapter=acting)
            lines = [
                _answer(name, answer, abstain, calibrated)
                for (name, _), answer in zip(chunk, answers, strict=True)
            ]
            if explain:
                best = [answer.index(max(answer)) for answer in answers]
                near = model.nearest([question for _, question in chunk], best, k=explain, root=data)
                for line, neighbours in zip(lines, near, strict=True):
                    line["nearest"] = [asdict(neighbour) for neighbour in neighbours]
            for line in lines:
                withheld += line["choice"] is None
                stream.write(printable_json(json.dumps(line, ensure_ascii=False)) + "\n")
            done += len(chunk)
            progress.update("answering", done, total)
        progress.finish()
    if abstain is not None:
        note(f"withheld: {withheld} of {total}")
    if out is not None:
        note(f"{total} answers: {out}")


@contextmanager
def _writer(out: Path | None) -> Iterator[TextIO]:
    from metaxcr.files import atomic_writer

    if out is None:
        yield sys.stdout
        return
    with atomic_writer(out) as stream:
        yield stream


def _chunks(asked: Iterator["Question"]) -> Iterator[Sequence["Question"]]:
    while chunk := list(islice(asked, CHUNK)):
        yield chunk


def _answer(name: str, probabilities: list[float], abstain: float | None, calibrated: bool) -> dict[str, Any]:
    rounded = [round(p, 6) for p in probabilities]
    best = max(probabilities)
    given = abstain is None or best >= abstain
    choice = probabilities.index(best) if given else None
    return {"id": name, "probabilities": rounded, "choice": choice, "calibrated": calibrated}
