"""Another system's predictions beside the methods of a grid: a paired test on the same items."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from metaxcr.compare.cell_store import CellStore
from metaxcr.compare.comparison import Comparison
from metaxcr.compare.grid_scores import CellScores, MethodCells, collect, correct_p_values, difference
from metaxcr.data.registry import load
from metaxcr.errors import UserError
from metaxcr.parse import lines_of_text, parse_json, read_json, read_text
from metaxcr.records import Record

FORMAT = 'write {"id": ..., "language": ..., "choice": 0} or {..., "probabilities": [...]} on each line'


class ExternalSystem(NamedTuple):
    """Answers of another system; ``choices`` are language -> item id -> index of the choice."""

    path: Path
    choices: dict[str, dict[str, int]]


def read_external(path: Path, found: Comparison, store: CellStore, root: Path | None) -> ExternalSystem:
    """Read predictions (JSON lines) and check that they answer every item of their languages once.

    A line has ``id``, ``choice`` (from 0) or ``probabilities``, and ``language``. The language may be left
    out if the grid has only one, or if a ``.meta.json`` beside the file, as in a run folder, names it.
    """
    if len({cell.target for cell in found.cells}) > 1:
        raise UserError("--against needs a grid with one target task", None, "remove 'targets' from the grid")
    languages = list(dict.fromkeys(cell.language for cell in found.cells))
    system = ExternalSystem(path, _read_choices(path, languages))
    for language, answers in system.choices.items():
        cell = next(cell for cell in found.cells if cell.language == language)
        config, record = cell.config, found.records.get(cell.key)
        if record is not None:
            ids = store.ids(record)
        else:
            loaded = load(config.target.task, config.evaluate.split, language=language, root=root)
            ids = [example.id for example in loaded.examples]
        missing = [name for name in ids if name not in answers]
        _refuse(missing, "is not answered", "items are not answered", system, language, ids)
        if config.evaluate.split != config.target.shots_split:
            unknown = [name for name in answers if name not in set(ids)]
            _refuse(unknown, "is no item", "are no items", system, language, ids)
    return system


def _read_choices(path: Path, languages: Sequence[str]) -> dict[str, dict[str, int]]:
    default, choices = _default_language(path, languages), dict[str, dict[str, int]]()
    for number, text in enumerate(lines_of_text(read_text(path)), start=1):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        row = parse_json(text, where, FORMAT)
        if not isinstance(row, dict) or "id" not in row:
            raise UserError("a prediction without 'id'", where, FORMAT)
        language = row.get("language", row.get("lang", default))
        if not isinstance(language, str) or language not in languages:
            what = "no language is named" if language is None else f"language {language!r} is not in the grid"
            raise UserError(what, where, f"'language' is one of {', '.join(languages)}")
        answers, name = choices.setdefault(language, {}), str(row["id"])
        if name in answers:
            what = f"item {name!r} is answered twice in {language}"
            raise UserError(what, where, "keep one answer an item")
        answers[name] = _choice(row, where)
    if not choices:
        raise UserError("there are no predictions", str(path), FORMAT)
    return choices


def _default_language(path: Path, languages: Sequence[str]) -> str | None:
    if len(languages) == 1:
        return languages[0]
    try:
        value = read_json(path.with_name(path.name.removesuffix(".jsonl") + ".meta.json"))
    except UserError:
        return None
    return str(value["lang"]) if isinstance(value, dict) and "lang" in value else None


def _choice(row: Record, where: str) -> int:
    probabilities, choice = row.get("probabilities"), row.get("choice")
    if isinstance(probabilities, list) and len(probabilities) > 1:
        if not all(isinstance(p, int | float) and p == p for p in probabilities):
            raise UserError("probabilities have to be numbers", where, FORMAT)
        best = probabilities.index(max(probabilities))
        if choice is not None and choice != best:
            raise UserError("'choice' is not the most probable one", where, "give one of the two")
        return best
    if isinstance(choice, int) and not isinstance(choice, bool) and choice >= 0:
        return choice
    raise UserError("neither 'choice' (0, 1, ...) nor 'probabilities'", where, FORMAT)


def _refuse(
    names: list[str], one: str, many: str, system: ExternalSystem, language: str, ids: Sequence[str]
) -> None:
    if names:
        shown = ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if names[3:] else "")
        what = f"{shown} {one}" if len(names) == 1 else f"{len(names)} {many}: {shown}"
        raise UserError(f"{language}: {what}", str(system.path),
                        f"answer all {len(ids)} items; their ids look like {ids[0]!r}")  # fmt: skip


def compare_external(systems: Sequence[ExternalSystem], found: Comparison, store: CellStore) -> list[Record]:
    """Compare every method with other systems, on the same items: rows of the method minus the system."""
    rows, lines = [], collect(found, store) if systems else {}
    for system, (line, cells) in product(systems, lines.items()):
        theirs: MethodCells = {
            language: {None: _scores(system.choices[language], next(iter(seeds.values())))}
            for language, seeds in cells.items()
            if language in system.choices
        }
        if theirs:
            mean = fmean(fmean(seeds[None].scores.values()) for seeds in theirs.values())
            row = {**line._asdict(), "against": system.path.stem, "accuracy": mean}
            rows.append(row | difference(cells, theirs))
    correct_p_values(rows)
    return rows


def _scores(choices: Mapping[str, int], ours: CellScores) -> CellScores:
    """Scores of the other system on the items of a cell."""
    scores = {name: float(choices[name] == label) for name, label in ours.labels.items()}
    return CellScores(scores, ours.labels, ours.records)
