"""Questions that users write themselves, for ``metaxcr predict``."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from metaxcr.errors import UserError
from metaxcr.parse import check_file, json_value
from metaxcr.tasks.adding.table import ColumnHints
from metaxcr.tasks.formats import FORMATS
from metaxcr.tasks.repair import Repairs
from metaxcr.tasks.rows import Defect, Row, lines_of, strict

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
    from metaxcr.tasks.adding.guess import guess
    from metaxcr.tasks.languages import language_tag

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
    from metaxcr.tasks.adding.user_files import sniff

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
    from metaxcr.tasks.adding.user_task import read_user_file

    loaded, notes = read_user_file(
        file, language, asked=replace(hints, labels="none"), part=split, ordered=True
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
