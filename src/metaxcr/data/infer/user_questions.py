"""Read a user's file of questions, one after the other, for ``metaxcr predict``."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from metaxcr.data.example import Example
from metaxcr.data.file_formats import FORMATS
from metaxcr.data.infer.guess import guess
from metaxcr.data.infer.table import ColumnHints
from metaxcr.data.infer.user_files import sniff
from metaxcr.data.infer.user_task import read_user_file
from metaxcr.data.languages import language_tag
from metaxcr.data.rows import Defect, Repairs, Row, lines_of, strict
from metaxcr.errors import UserError
from metaxcr.parse import check_file, json_value

SNIFF_BYTES = 1 << 17  # to tell the format of a file
SNIFF_ROWS = 200  # to tell whether a file needs more than the documented names
_NUMBERED = re.compile(r"choice[ _]?([1-9][0-9]?)$")


def read_questions(
    file: Path,
    language: str,
    hints: ColumnHints | None = None,
    split: str | None = None,
    warn: Callable[[str], None] = lambda line: None,
) -> Iterator[Example]:
    """Yield questions without labels; the id is the line number if the file has none.

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
    hints = hints or ColumnHints()
    rows = _plain_rows(file, language, warn) if split is None and hints == ColumnHints() else None
    if rows is None:
        yield from _guessed(file, language, hints, split, warn)
        return
    for line, row in rows:
        try:
            yield _question(row, line, language)
        except Defect as defect:
            raise UserError(defect.what, f"{file}:{line}", defect.fix) from None


def _plain_rows(file: Path, language: str, warn: Callable[[str], None]) -> Iterator[tuple[int, Row]] | None:
    """Rows with the documented names that can be taken as they are; None if there is something to guess."""
    form = _format(file)
    rows = strict(file, FORMATS[form](file, None, Repairs()))
    peeked = list(islice(rows, 1))
    if not peeked:
        raise UserError("the file holds no questions", str(file), "see 'metaxcr predict --help'")
    first = peeked[0][1]
    if not {"premise", "context"} & first.keys() or not (
        "choices" in first or any(map(_NUMBERED.match, first))
    ):
        return None
    try:
        peeked += islice(rows, SNIFF_ROWS)
    except UserError:  # the caller reads from the start, and names the line when it comes to it
        return strict(file, FORMATS[form](file, None, Repairs()))
    try:
        found = guess(peeked, language_tag(language), ColumnHints(labels="none"), file)
    except UserError:  # the caller names the first line that cannot be used
        return chain(peeked, rows)
    context = found.fields.get("context", "premise")
    if (
        {"where", "unfold", "choice_numbers", "choice_text", "choice_cell"} & found.fields.keys()
        or context not in ("premise", "context")
        or any(isinstance(row.get(context), list) for _, row in peeked)
    ):
        return None
    for line in found.warnings:
        warn(line)
    return chain(peeked, rows)


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


def _question(row: Row, line: int, language: str) -> Example:
    """A row with the documented names as an example."""
    names = [name for name in ("premise", "context") if row.get(name) not in (None, "")]
    if len(names) != 1:
        raise Defect("one of 'premise' and 'context' is needed", "write the one that applies")
    choices, question = _choices(row), row.get("question") or ""
    if len(choices) < 2:
        what = f"{len(choices)} choices where two or more are needed"
        raise Defect(what, "write choices, or choice1, choice2, ...")
    for text in (row[names[0]], question or "-", *choices):
        if not isinstance(text, str) or not text.strip():
            what = f"{text!r} is not a text, or is empty"
            raise Defect(what, "write context, question and choices as texts")
    context, *answers = (text.strip() for text in (row[names[0]], *choices))
    name = str(line if row.get("id") in (None, "") else row["id"])
    return Example(name, context, question.strip(), tuple(answers), None, language, "rank")


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


def _guessed(
    file: Path, language: str, hints: ColumnHints, split: str | None, warn: Callable[[str], None]
) -> Iterator[Example]:
    """Read questions with other field names."""
    loaded, notes = read_user_file(
        file, language, hints=replace(hints, labels="none"), part=split, ordered=True
    )
    for line in notes:
        warn(line)
    for e in loaded.examples:
        if not (e.context or e.question):
            what = "there is no context that the choices belong to"
            raise UserError(what, str(file), "say --map premise=COLUMN")
        context, question = (e.context, e.question) if e.context else (e.question, "")
        name = e.id.removeprefix(f"{loaded.split}-")
        yield replace(e, id=name, context=context, question=question, language=language)
