"""Another system's predictions beside the methods of a grid: a paired test on the same items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metaxcr.compare.cell_record import CellRecord
from metaxcr.compare.cell_store import CellStore
from metaxcr.compare.comparison import Comparison
from metaxcr.compare.grid_scores import Answers, Line, Marks, collect
from metaxcr.compare.grid_summary import adjust, difference
from metaxcr.data.registry import load
from metaxcr.errors import UserError
from metaxcr.parse import lines_of_text, parse_json, read_json, read_text

Row = dict[str, Any]
FORM = 'write {"id": ..., "language": ..., "choice": 0} or {..., "probabilities": [...]} on each line'


@dataclass(frozen=True)
class Outside:
    """What another system answered.

    Attributes:
        name: Of its file.
        path: The file.
        choices: Language -> item id -> index of the choice, from 0.
    """

    name: str
    path: Path
    choices: dict[str, dict[str, int]] = field(default_factory=dict)


def read_outside(path: Path, languages: Sequence[str]) -> Outside:
    """Read predictions: JSON lines with ``id``, ``choice`` (from 0) or ``probabilities``, and ``language``.

    Args:
        path: The file. The language may be left out where the grid has only one, or where the file is one of
            a run folder's, which names it in the ``.meta.json`` beside it.
        languages: Of the grid.

    Raises:
        UserError: A line cannot be used, or an item is answered twice; the message names file and line.
    """
    lines = lines_of_text(read_text(path))
    usual, found = _usual_language(path, languages), Outside(path.stem, path)
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        row = parse_json(text, where, FORM)
        if not isinstance(row, dict) or "id" not in row:
            raise UserError("a prediction without 'id'", where, FORM)
        language = row.get("language", row.get("lang", usual))
        if not isinstance(language, str) or language not in languages:
            known = ", ".join(languages)
            what = "no language is named" if language is None else f"language {language!r} is not in the grid"
            raise UserError(what, where, f"'language' is one of {known}")
        answers, name = found.choices.setdefault(language, {}), str(row["id"])
        if name in answers:
            raise UserError(
                f"item {name!r} is answered twice in {language}", where, "keep one answer an item"
            )
        answers[name] = _choice(row, where)
    if not found.choices:
        raise UserError("there are no predictions", str(path), FORM)
    return found


def outside_results(
    found: Comparison, store: CellStore, files: Sequence[Path], root: Path | None, *, check_only: bool = False
) -> list[Row]:
    """Compare every method with other systems, on the same items.

    Args:
        found: The grid with its finished cells.
        store: Has the ids of their items.
        files: Predictions of the other systems.
        root: Data root given by the user.
        check_only: Before anything is run: only insist that the files answer every item.

    Returns:
        A row for each method, number of shots and file: the method minus the other system.

    Raises:
        UserError: A file cannot be used, or leaves items unanswered.
    """
    rows: list[Row] = []
    if files and len({cell.target for cell in found.cells}) > 1:
        raise UserError("--against needs a grid with one target task", None, "remove 'targets' from the grid")
    languages = list(dict.fromkeys(cell.language for cell in found.cells))
    for path in files:
        outside = read_outside(path, languages)
        _answer_all(outside, found, store, root)
        if not check_only:
            rows += _compare(outside, collect(found, store))
    adjust(rows)
    return rows


def _compare(outside: Outside, lines: Mapping[Line, Answers]) -> list[Row]:
    rows = []
    for line, answers in lines.items():
        theirs: Answers = {}
        for language, seeds in answers.items():
            if language in outside.choices:
                theirs[language] = {None: _marks(outside.choices[language], next(iter(seeds.values())))}
        if not theirs:
            continue
        accuracy = [sum(m.right.values()) / len(m.right) for seeds in theirs.values() for m in seeds.values()]
        row = {**line._asdict(), "against": outside.name, "accuracy": sum(accuracy) / len(accuracy)}
        rows.append(row | difference(answers, theirs))
    return rows


def _marks(choices: Mapping[str, int], ours: Marks) -> Marks:
    """Right and wrong answers of the other system on the items of a cell."""
    right = {name: float(choices[name] == label) for name, label in ours.labels.items()}
    return Marks(right, ours.labels, ours.records)


def _answer_all(outside: Outside, found: Comparison, store: CellStore, root: Path | None) -> None:
    """Insist that the file answers every item of the languages in it, and no others."""
    for language, answers in outside.choices.items():
        cell = next(cell for cell in found.cells if cell.language == language)
        record: CellRecord | None = found.records.get(cell.key)
        if record is not None:
            ids = store.ids(record)
        else:
            loaded = load(cell.config.target.task, cell.config.evaluate.split, language=language, root=root)
            ids = [example.id for example in loaded.examples]
        missing = [name for name in ids if name not in answers]
        _none(missing, "is not answered", "items are not answered", outside, language, ids)
        allowed = set(ids)
        if cell.config.evaluate.split != cell.config.target.shots_split:
            strange = [name for name in answers if name not in allowed]
            _none(strange, "is no item", "are no items", outside, language, ids)


def _none(names: list[str], one: str, many: str, outside: Outside, language: str, ids: Sequence[str]) -> None:
    if names:
        shown = ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if names[3:] else "")
        what = f"{shown} {one}" if len(names) == 1 else f"{len(names)} {many}: {shown}"
        raise UserError(f"{language}: {what}", str(outside.path),
                        f"answer all {len(ids)} items; their ids look like {ids[0]!r}")  # fmt: skip


def _choice(row: Row, where: str) -> int:
    probabilities, choice = row.get("probabilities"), row.get("choice")
    if isinstance(probabilities, list) and len(probabilities) > 1:
        if not all(isinstance(p, int | float) and p == p for p in probabilities):
            raise UserError("probabilities have to be numbers", where, FORM)
        best = probabilities.index(max(probabilities))
        if choice is not None and choice != best:
            raise UserError("'choice' is not the most probable one", where, "give one of the two")
        return best
    if isinstance(choice, int) and not isinstance(choice, bool) and choice >= 0:
        return choice
    raise UserError("neither 'choice' (0, 1, ...) nor 'probabilities'", where, FORM)


def _usual_language(path: Path, languages: Sequence[str]) -> str | None:
    if len(languages) == 1:
        return languages[0]
    meta = path.with_name(path.name.removesuffix(".jsonl") + ".meta.json")
    try:
        value = read_json(meta)
    except UserError:
        return None
    return str(value["lang"]) if isinstance(value, dict) and "lang" in value else None
