"""``predict``: answers to a user's own questions, in constant memory.

Questions that users write themselves, for ``metaxcr predict``.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from metaxcr.cli.console import console, note, warnings_as_notes
from metaxcr.cli.evaluate import AdapterOption, acting_adapter
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
from metaxcr.data.file_formats import FORMATS
from metaxcr.data.infer.table import ColumnHints
from metaxcr.data.repairs import Repairs
from metaxcr.data.rows import Defect, Row, lines_of, strict
from metaxcr.errors import UserError
from metaxcr.parse import check_file, json_value
from metaxcr.printable import printable_json

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
    hints = column_hints(mapping, None, relation, columns, where, skip_bad)
    total = sum(
        1 for _ in questions(file, language, hints, split, tell=lambda line: note(f"warning: {line}"))
    )

    from metaxcr.api import MetaXCR
    from metaxcr.runs.progress import Progress

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


Question = tuple[str, dict[str, Any]]
LOOK = 1 << 17  # bytes that tell the format of a file
LOOK_ROWS = 200  # rows that tell whether a file needs more than the documented names
_NUMBERED = re.compile(r"choice[ _]?([1-9][0-9]?)$")


def questions(
    file: Path,
    language: str,
    hints: ColumnHints | None = None,
    split: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Iterator[Question]:
    """Read a file of questions, one after the other.

    Fields with the names that ``predict`` documents are taken as they are; where there are none, or the file
    needs more than that (numbers before the choices, a column of languages), format and fields are guessed as
    for ``tasks add``, and labels are ignored. Files that need no guessing, and are no single JSON value, are
    never held in memory as a whole.

    Args:
        file: JSON lines, a table with a head line, or another format that ``tasks add`` reads.
        language: Of all texts.
        hints: What the user said about the columns.
        split: Of a file that holds several, the one that is wanted.
        tell: Called with what the user should look at.

    Yields:
        Pairs (id, arguments of :meth:`metaxcr.MetaXCR.rank`); the id is the line number where there is none.

    Raises:
        UserError: The file cannot be read, or a line lacks something; with file and line.
    """
    check_file(file)
    if split is not None or (hints is not None and hints != ColumnHints()):
        yield from _guessed(file, language, hints or ColumnHints(), split, tell)
        return
    form = _form(file)
    rows = strict(file, FORMATS[form](file, None, Repairs()))
    peeked = list(islice(rows, 1))
    if not peeked:
        raise UserError("the file holds no questions", str(file), "see 'metaxcr predict --help'")
    if _documented(peeked[0][1]):
        rest: Iterator[tuple[int, Row]] = iter(())
        try:
            peeked += islice(rows, LOOK_ROWS)
        except UserError:  # the line is named when its turn comes
            rest = strict(file, FORMATS[form](file, None, Repairs()))
            peeked = []
        plain = _is_plain(file, language, peeked, tell)
    else:
        plain = False
    if not plain:
        yield from _guessed(file, language, ColumnHints(), None, tell)
        return
    for line, row in chain(peeked, rest, rows):
        try:
            yield _name(row, line), {**_arguments(row), "language": language}
        except Defect as defect:
            raise UserError(defect.what, f"{file}:{line}", defect.fix) from None


def _is_plain(
    file: Path, language: str, rows: Sequence[tuple[int, Row]], tell: Callable[[str], None]
) -> bool:
    """Tell whether rows with the documented names hold nothing that has to be taken apart or left out."""
    from metaxcr.data.infer.guess import guess
    from metaxcr.data.languages import language_tag

    try:
        found = guess(rows, language_tag(language), ColumnHints(labels="none"), file)
    except UserError:
        return True  # the first line that cannot be used is named when its turn comes
    if {"where", "unfold", "choice_numbers", "choice_text", "choice_cell"} & found.fields.keys():
        return False
    context = found.fields.get("context", "premise")
    if context not in ("premise", "context") or any(isinstance(row.get(context), list) for _, row in rows):
        return False
    for line in found.warnings:
        tell(line)
    return True


def _form(file: Path) -> str:
    """Tell the format: by the suffix where it was always told so, else from the content."""
    from metaxcr.data.infer.user_files import sniff

    usual = "csv" if file.suffix.lower() == ".csv" else "jsonl"
    try:
        first = next((line for _, line in lines_of(file)), "{}")
        if usual == "jsonl" and isinstance(first, str) and isinstance(json_value(first), dict):
            return usual
    except (UserError, ValueError):
        pass  # the reader says what is wrong, if anything is
    try:
        return usual if file.suffix.lower() == ".jsonl" else sniff(file, LOOK)
    except UserError:
        return usual


def _documented(row: Row) -> bool:
    """Tell whether a row uses the names that the help of the command gives."""
    return bool({"premise", "context"} & row.keys()) and ("choices" in row or any(map(_NUMBERED.match, row)))


def _guessed(
    file: Path, language: str, hints: ColumnHints, split: str | None, tell: Callable[[str], None]
) -> Iterator[Question]:
    """Read questions with fields of other names."""
    from metaxcr.data.infer.user_task import read_user_file

    loaded, notes = read_user_file(
        file, language, hints=replace(hints, labels="none"), part=split, ordered=True
    )
    for line in notes:
        tell(line)
    for e in loaded.examples:
        context = e.context or e.question
        if not context:
            raise UserError(
                "there is nothing that the choices are held against", str(file), "say --map premise=COLUMN"
            )
        asked = {
            "context": context,
            "choices": list(e.choices),
            "question": (e.question or None) if e.context else None,
            "language": language,
        }
        yield e.id.removeprefix(f"{loaded.split}-"), asked


def _arguments(row: Row) -> dict[str, Any]:
    """Context, choices and question of one row."""
    names = [name for name in ("premise", "context") if row.get(name) not in (None, "")]
    if len(names) != 1:
        raise Defect("one of 'premise' and 'context' is needed", "write the one that applies")
    listed = row.get("choices")
    if isinstance(listed, list):
        choices: list[Any] = listed
    elif listed is not None:
        raise Defect("'choices' is no list", "write a list, or choice1, choice2, ...")
    else:
        numbered = {int(m[1]): row[name] for name in row if (m := _NUMBERED.match(name))}
        choices = [numbered[n] for n in sorted(numbered)]
        while choices and choices[-1] in (
            None,
            "",
        ):  # in a table, rows may have fewer choices than there are columns
            choices.pop()
    if len(choices) < 2:
        raise Defect(
            f"{len(choices)} choices where two or more are needed", "write choices, or choice1, choice2, ..."
        )
    question = row.get("question") or None
    for text in (row[names[0]], question or "-", *choices):
        if not isinstance(text, str) or not text.strip():
            raise Defect(
                f"{text!r} is no text, or an empty one", "write context, question and choices as texts"
            )
    return {"context": row[names[0]], "choices": choices, "question": question}


def _name(row: Row, line: int) -> str:
    given = row.get("id")
    return str(line if given in (None, "") else given)
