"""Questions that users write themselves, for ``metaxcr predict``."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from metaxcr.errors import UserError
from metaxcr.parse import check_file, json_value
from metaxcr.tasks.formats import FORMATS
from metaxcr.tasks.repair import Repairs
from metaxcr.tasks.rows import Defect, Row, lines_of, strict

Question = tuple[str, dict[str, Any]]
LOOK = 1 << 17  # bytes that tell the format of a file
_NUMBERED = re.compile(r"choice[ _]?([1-9][0-9]?)$")


def questions(file: Path, language: str) -> Iterator[Question]:
    """Read a file of questions, one after the other.

    Fields with the names that ``predict`` documents are taken as they are; where there are none, format and
    fields are guessed as for ``tasks add``, and labels are ignored. Files that need no guessing, and are no
    single JSON value, are never held in memory as a whole.

    Args:
        file: JSON lines, a table with a head line, or another format that ``tasks add`` reads.
        language: Of all texts.

    Yields:
        Pairs (id, arguments of :meth:`metaxcr.MetaXCR.rank`); the id is the line number where there is none.

    Raises:
        UserError: The file cannot be read, or a line lacks something; with file and line.
    """
    check_file(file)
    form = _form(file)
    rows = strict(file, FORMATS[form](file, None, Repairs()))
    first = next(rows, None)
    if first is None:
        raise UserError("the file holds no questions", str(file), "see 'metaxcr predict --help'")
    if not _documented(first[1]):
        everything = [first, *rows]
        guessed = _guessed(file, form, everything, language)
        if guessed is not None:
            yield from guessed
            return
        rows = iter(everything[1:])
    for line, row in chain([first], rows):
        try:
            yield _name(row, line), {**_arguments(row), "language": language}
        except Defect as defect:
            raise UserError(defect.what, f"{file}:{line}", defect.fix) from None


def _form(file: Path) -> str:
    """Tell the format: by the suffix where it was always told so, else from the content."""
    from metaxcr.tasks.adding.sniff import sniff

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


def _guessed(file: Path, form: str, rows: Sequence[tuple[int, Row]], language: str) -> list[Question] | None:
    """Read questions with fields of other names; None where they are not understood."""
    from metaxcr.tasks.adding.declare import declared
    from metaxcr.tasks.adding.guess import guess
    from metaxcr.tasks.adding.own_files import Source
    from metaxcr.tasks.adding.table import Asked
    from metaxcr.tasks.languages import language_tag
    from metaxcr.tasks.readers import read_examples

    try:
        tag, asked = language_tag(language), Asked(labels="none")
        found = guess(rows, tag, asked, file)
    except UserError:
        return None
    if "where" in found.fields or found.relation == "none":
        return None  # rows would be left out, or there is nothing that the choices are held against
    found = replace(found, fields={**found.fields, "id": found.fields["id"].removeprefix("{split}-")})
    source = Source(file, "test", form, list(rows), str(file))
    spec = declared("predict", tag.code, [source], [found], asked, {})
    return [
        (
            e.id,
            {
                "context": e.context or e.question,
                "choices": list(e.choices),
                "question": (e.question or None) if e.context else None,
                "language": language,
            },
        )
        for e in read_examples(spec, "test", tag.code, file).examples
    ]


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
