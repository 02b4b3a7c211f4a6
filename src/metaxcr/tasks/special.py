"""Two layouts that no declaration of fields describes: XWinograd's and DREAM's."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metaxcr.parse import json_value
from metaxcr.tasks.json_rows import read_json
from metaxcr.tasks.repair import Repairs
from metaxcr.tasks.rows import Defect, Row, Rows, lines_of

BLANK = "_"
# What a span in the file holds beside the pronoun: marks; Japanese particles, perhaps with a second pronoun;
# in Chinese the second half of "because" alone, behind which the pronoun stands or is left out.
_MARKS = ".,"
_JAPANESE = re.compile("(彼女ら|彼女|彼ら|彼)(?:[をにの]|は彼)")
_CHINESE, _CHINESE_PRONOUN = "为", re.compile("(?:[他她它]们?)?")
_COLUMNS = ("lang", "subset", "source", "sentence", "tokens", "pronoun", "candidates")


def read_xwinograd(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield XWinograd's items with a blank in place of the pronoun.

    The file is tab-separated without quoting; tokens, pronoun and candidates are JSON: ``[text, [first token,
    end], tokens, right or not]``.

    Args:
        path: The file.
        columns: Not used.
        repairs: The steps that are on.

    Yields:
        (line number, row with ``lang``, ``subset``, ``source``, ``sentence``, ``choices`` and ``label``).
    """
    for number, line in lines_of(path, repairs):
        yield number, line if isinstance(line, Defect) else _winograd_row(line.split("\t"))


def _winograd_row(cells: list[str]) -> Row | Defect:
    if len(cells) != len(_COLUMNS):
        return Defect(f"{len(cells)} fields where {len(_COLUMNS)} belong", "check the separators")
    row: dict[str, Any] = dict(zip(_COLUMNS, cells, strict=True))
    try:
        tokens, (pronoun, (first, _end), *_), candidates = map(json_value, cells[4:])
        row["choices"] = [candidate[0] for candidate in candidates]
        right = [bool(candidate[3]) for candidate in candidates]
        row["sentence"] = _with_blank(row["sentence"], tokens[:first], pronoun)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        return Defect(
            f"tokens, pronoun or candidates are not as they should be ({error})", "fetch the file again"
        )
    if right.count(True) != 1:
        return Defect(f"{right.count(True)} candidates are right where one should be", "fetch the file again")
    row["label"] = right.index(True)
    return row


def _with_blank(sentence: str, before: Sequence[str], span: str) -> str:
    """Put a blank where the pronoun stands: behind the tokens before it, the same word may occur twice."""
    position = 0
    for token in before:
        found = sentence.find(token, position)
        position = position if found < 0 else found + len(token)
    start = sentence.find(span, position)
    if start < 0:
        raise ValueError(f"no '{span}' in the sentence")
    end = start + len(span.rstrip(_MARKS))
    if match := _JAPANESE.fullmatch(span):
        end = start + len(match[1])
    if span == _CHINESE and (match := _CHINESE_PRONOUN.match(sentence, end)):
        start, end = match.span()
    return sentence[:start] + BLANK + sentence[end:]


def read_dream(path: Path, columns: Sequence[str] | None, repairs: Repairs) -> Rows:
    """Yield DREAM's questions: a document of [turns of a dialogue, [question, ...], id].

    Args:
        path: The file.
        columns: Not used.
        repairs: The steps that are on.

    Yields:
        (line number, row with ``id``, ``dialogue``, ``question``, ``choice`` and ``answer``).
    """
    for line, row in read_json(path, ("dialogue", "questions", "id"), repairs):
        if isinstance(row, Defect):
            yield line, row
            continue
        turns, questions = row.get("dialogue"), row.get("questions")
        try:
            if not isinstance(turns, list) or not isinstance(questions, list):
                raise TypeError("no lists")
            for number, asked in enumerate(questions):
                yield line, {**asked, "id": f"{row['id']}-{number}", "dialogue": " ".join(turns)}
        except (TypeError, KeyError) as error:
            yield line, Defect(f"no dialogue with its questions ({error})", "fetch the file again")
