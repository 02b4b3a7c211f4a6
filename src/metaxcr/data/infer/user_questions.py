"""Read a user's file of questions, one after the other, for ``metaxcr predict``."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from metaxcr.data.file_formats import FORMATS
from metaxcr.data.infer.guess import guess
from metaxcr.data.infer.table import ColumnHints
from metaxcr.data.infer.user_files import sniff
from metaxcr.data.infer.user_task import read_user_file
from metaxcr.data.languages import language_tag
from metaxcr.data.rows import Defect, Repairs, Row, lines_of, strict
from metaxcr.errors import UserError
from metaxcr.parse import check_file, json_value

Question = tuple[str, dict[str, Any]]  # id, arguments of MetaXCR.rank
SNIFF_BYTES = 1 << 17  # to tell the format of a file
SNIFF_ROWS = 200  # to tell whether a file needs more than the documented names
_NUMBERED = re.compile(r"choice[ _]?([1-9][0-9]?)$")


def read_questions(
    file: Path,
    language: str,
    hints: ColumnHints | None = None,
    split: str | None = None,
    warn: Callable[[str], None] = lambda line: None,
) -> Iterator[Question]:
    """Yield (id, arguments of :meth:`metaxcr.MetaXCR.rank`); the id is the line number if the file has none.

    Fields with the names that ``predict --help`` documents are taken as they are. If there are none, or the
    file needs more (numbers before the choices, a column of languages), format and fields are guessed as for
    ``tasks add``, and labels are ignored. A file that needs no guessing and is not a single JSON value is
    never in memory as a whole.

    Args:
        file: JSON lines, a table with a head line, or another format that ``tasks add`` reads.
        language: Of all texts.
        hints: The user's, on the columns.
        split: The one to read, if the file holds several.
        warn: Called with what the user should check.

    Raises:
        UserError: The file cannot be read, or a line lacks something; with file and line.
    """
    check_file(file)
    if split is not None or hints not in (None, ColumnHints()):
        yield from _guessed(file, language, hints or ColumnHints(), split, warn)
        return
    form = _format(file)
    rows = strict(file, FORMATS[form](file, None, Repairs()))
    peeked = list(islice(rows, 1))
    if not peeked:
        raise UserError("the file holds no questions", str(file), "see 'metaxcr predict --help'")
    if not _has_documented_names(peeked[0][1]):
        yield from _guessed(file, language, ColumnHints(), None, warn)
        return
    try:
        peeked += islice(rows, SNIFF_ROWS)
    except UserError:  # read again from the start: the loop below names the line when it comes to it
        rows, peeked = strict(file, FORMATS[form](file, None, Repairs())), []
    if not _is_plain(file, language, peeked, warn):
        yield from _guessed(file, language, ColumnHints(), None, warn)
        return
    for line, row in chain(peeked, rows):
        try:
            yield _id(row, line), {**_arguments(row), "language": language}
        except Defect as defect:
            raise UserError(defect.what, f"{file}:{line}", defect.fix) from None


def _format(file: Path) -> str:
    """The format: CSV and JSON lines by suffix or first line, others by content."""
    usual = "csv" if file.suffix.lower() == ".csv" else "jsonl"
    try:
        first = next((line for _, line in lines_of(file)), "{}")
        if usual == "jsonl" and isinstance(first, str) and isinstance(json_value(first), dict):
            return usual
    except (UserError, ValueError):
        pass  # the reader says what is wrong, if anything is
    try:
        return usual if file.suffix.lower() == ".jsonl" else sniff(file, SNIFF_BYTES)
    except UserError:
        return usual


def _has_documented_names(row: Row) -> bool:
    return bool({"premise", "context"} & row.keys()) and ("choices" in row or any(map(_NUMBERED.match, row)))


def _is_plain(
    file: Path, language: str, rows: Sequence[tuple[int, Row]], warn: Callable[[str], None]
) -> bool:
    """Whether rows with the documented names can be taken as they are."""
    try:
        found = guess(rows, language_tag(language), ColumnHints(labels="none"), file)
    except UserError:
        return True  # the caller names the first line that cannot be used
    if {"where", "unfold", "choice_numbers", "choice_text", "choice_cell"} & found.fields.keys():
        return False
    context = found.fields.get("context", "premise")
    if context not in ("premise", "context") or any(isinstance(row.get(context), list) for _, row in rows):
        return False
    for line in found.warnings:
        warn(line)
    return True


def _guessed(
    file: Path, language: str, hints: ColumnHints, split: str | None, warn: Callable[[str], None]
) -> Iterator[Question]:
    """Read questions with other field names."""
    loaded, notes = read_user_file(
        file, language, hints=replace(hints, labels="none"), part=split, ordered=True
    )
    for line in notes:
        warn(line)
    for e in loaded.examples:
        context = e.context or e.question
        if not context:
            raise UserError(
                "there is no context that the choices belong to", str(file), "say --map premise=COLUMN"
            )
        arguments = {
            "context": context,
            "choices": list(e.choices),
            "question": (e.question or None) if e.context else None,
            "language": language,
        }
        yield e.id.removeprefix(f"{loaded.split}-"), arguments


def _arguments(row: Row) -> dict[str, Any]:
    """Context, choices and question of a row with the documented names."""
    names = [name for name in ("premise", "context") if row.get(name) not in (None, "")]
    if len(names) != 1:
        raise Defect("one of 'premise' and 'context' is needed", "write the one that applies")
    context, choices, question = row[names[0]], _choices(row), row.get("question") or None
    if len(choices) < 2:
        raise Defect(
            f"{len(choices)} choices where two or more are needed", "write choices, or choice1, choice2, ..."
        )
    for text in (context, question or "-", *choices):
        if not isinstance(text, str) or not text.strip():
            raise Defect(
                f"{text!r} is not a text, or is empty", "write context, question and choices as texts"
            )
    return {"context": context, "choices": choices, "question": question}


def _choices(row: Row) -> list[Any]:
    listed = row.get("choices")
    if isinstance(listed, list):
        return listed
    if listed is not None:
        raise Defect("'choices' is not a list", "write a list, or choice1, choice2, ...")
    numbered = {int(match[1]): row[name] for name in row if (match := _NUMBERED.match(name))}
    choices = [numbered[n] for n in sorted(numbered)]
    while choices and choices[-1] in (None, ""):  # rows of a table may have fewer choices than columns
        choices.pop()
    return choices


def _id(row: Row, line: int) -> str:
    given = row.get("id")
    return str(line if given in (None, "") else given)
