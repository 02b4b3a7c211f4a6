"""From predictions to ``results.json``: rows, averages over languages, paired differences.

The results as a short table for the terminal.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jsonschema import Draft202012Validator
from rich import box
from rich.table import Table
from rich.text import Text

from metaxcr.config.regimes import ALONE as ALONE
from metaxcr.config.regimes import REGIMES
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import Predictions, setting_label
from metaxcr.evaluation.statistics import (
    Scores,
    crossed_interval,
    language_average,
    minimum_detectable_difference,
    paired_difference,
)
from metaxcr.parse import (
    read_json_object,
)
from metaxcr.records import AGAIN, Record, Shares, checked

SCHEMA = 1
DIGITS = 6  # of every float: enough for any use, and the same text on machines whose last bits differ
SOURCE_LANGUAGE = "en"  # what was trained on is not part of an average over target languages
BASELINE = "similarity"


class Cell(NamedTuple):
    """What shares one line of a table: every language and seed of one method under one regime."""

    task: str
    split: str
    data: str
    regime: str
    method: str
    k: int

    @property
    def label(self) -> str:
        """Readable name within a task."""
        return setting_label(self.regime, self.method, self.k)

    @property
    def place(self) -> tuple[str, str, str]:
        """Task, split and data: only cells of one place are compared."""
        return self.task, self.split, self.data


Runs = dict[str, dict[int | None, Predictions]]  # language -> seed -> predictions


def build_results(
    predictions: Sequence[Predictions],
    *,
    config_hash: str,
    data_hash: str,
    shares: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of ``results.json``, validated; the same input in any order gives the same output.

    An average covers the target languages of one (task, split, data, regime, method, k), each weighing
    alike, on the items that all its seeds have in common; its interval takes the item ids, not the
    (item, language) pairs, as the sample, crossed with the seeds. Its ``mdd`` is the smallest true
    distance from a fixed number (chance, a published figure) that 80 % of such experiments would find at
    the 5 % level; the ``mdd`` of a difference is the same for the paired comparison.

    Args:
        predictions: One per task, language, split, data, method, regime, k and seed.
        config_hash: Hash of the resolved settings.
        data_hash: Hash of the data's checksums.
        shares: Trained shares of the parameters, by stage; copied as they are.

    Returns:
        The dictionary of the project's results contract, floats rounded to 6 digits, lists sorted, no times.

    Raises:
        UserError: Two predictions claim one place, or the seeds of a method have no item in common.
    """
    ordered = sorted(predictions, key=_order)
    cells = _cells(ordered)
    targets = {cell: runs for cell, runs in ((c, _targets(r)) for c, r in cells.items()) if runs}
    results = {
        "schema": SCHEMA,
        "config_hash": config_hash,
        "data_hash": data_hash,
        "rows": [_row(item) for item in ordered],
        "averages": [_average(cell, runs) for cell, runs in targets.items()],
        "differences": [
            found for a, b in _comparisons(targets) if (found := _difference(a, b, targets)) is not None
        ],
        "shares": dict(shares),
    }
    final: dict[str, Any] = rounded(results)
    validate_results(final)
    return final


def validate_results(results: Mapping[str, Any], where: str = "results.json") -> None:
    """Check results against the JSON Schema that ships with the package.

    Args:
        results: Content of ``results.json``.
        where: The file, for the message.

    Raises:
        UserError: The first violation, with its place in the document.
    """
    error = next(iter(sorted(_validator().iter_errors(results), key=lambda e: list(map(str, e.path)))), None)
    if error is not None:
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.path)
        what = error.message if len(error.message) < 200 else f"{error.message[:200]}..."
        raise UserError(f"results do not match the schema: {what}", f"{where}{place}")


@cache
def _validator() -> Draft202012Validator:
    text = resources.files("metaxcr.evaluation").joinpath("results.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def _order(item: Predictions) -> tuple[Any, ...]:
    seed = -1 if item.seed is None else item.seed
    return item.task, item.split, item.data, item.regime, item.method, item.k, item.lang, seed


def _cells(ordered: Iterable[Predictions]) -> dict[Cell, Runs]:
    cells: dict[Cell, Runs] = {}
    for item in ordered:
        cell = Cell(item.task, item.split, item.data, item.regime, item.method, item.k)
        seeds = cells.setdefault(cell, {}).setdefault(item.lang, {})
        if item.seed in seeds or (seeds and None in (item.seed, *seeds)):
            raise UserError("two predictions claim the same place", item.name, "give each run its own folder")
        seeds[item.seed] = item
    return cells


def _targets(runs: Runs) -> Runs:
    return {lang: seeds for lang, seeds in runs.items() if lang != SOURCE_LANGUAGE}


def _row(item: Predictions) -> dict[str, Any]:
    keys = ("task", "lang", "split", "data", "regime", "method", "seed", "k", "total_labels")
    row: dict[str, Any] = {key: getattr(item, key) for key in keys}
    row |= {"acc": float(item.correct.mean()), "n": len(item.ids), "ci95": None, "ci_kind": None}
    if len(item.ids) > 1:
        found = crossed_interval(item.correct.astype(float))
        row |= {"ci95": _clipped(found.low, found.high, 0), "ci_kind": found.kind}
    return row


def _average(cell: Cell, runs: Runs) -> dict[str, Any]:
    seeds = _seeds([runs], cell.label)
    blocks = [_block([runs[lang]], seeds) for lang in sorted(runs)]
    table = language_average([(ids, tables[0]) for ids, tables in blocks])
    labels = max(item.total_labels for by_seed in runs.values() for item in by_seed.values())
    row: dict[str, Any] = cell._asdict() | {"langs": sorted(runs), "seeds": _named(seeds)}
    row |= {"total_labels": labels, "n": len(table), "mean": float(table.mean())}
    if len(table) < 2:
        return row | dict.fromkeys(("ci95", "ci_kind", "se", "dof", "mdd"))
    found = crossed_interval(table)
    mdd = minimum_detectable_difference(found.se, found.dof)
    row |= {"ci95": _clipped(found.low, found.high, 0), "ci_kind": found.kind}
    return row | {"se": found.se, "dof": found.dof, "mdd": mdd}


def _comparisons(cells: Iterable[Cell]) -> list[tuple[Cell, Cell]]:
    """Every trained cell against the baseline; whoever had labels against zero-shot; CLML against none."""
    listed = list(cells)
    pairs = [(a, b) for a in listed for b in listed if a.place == b.place]
    baseline = [(a, b) for a, b in pairs if a.regime != "none" and (b.regime, b.method) == ("none", BASELINE)]
    informed = ("zero-shot-aux", "few-shot", "pooled-shots")
    more = [(a, b) for a, b in pairs if a.regime in informed and b.regime == "zero-shot"]
    same = [(a, b) for a, b in pairs if (a.regime, a.k) == (b.regime, b.k) and b.method == ALONE != a.method]
    return baseline + more + same


def _difference(a: Cell, b: Cell, cells: Mapping[Cell, Runs]) -> dict[str, Any] | None:
    langs = sorted(cells[a].keys() & cells[b].keys())
    if not langs:
        return None
    seeds = _seeds([{lang: cells[side][lang] for lang in langs} for side in (a, b)], f"{a.label}, {b.label}")
    joint = [_block([cells[a][lang], cells[b][lang]], seeds) for lang in langs]
    first, second = (language_average([(ids, tables[side]) for ids, tables in joint]) for side in (0, 1))
    if len(first) < 2:
        return None
    found = paired_difference(first, second)
    row: dict[str, Any] = dict(zip(("task", "split", "data"), a.place, strict=True))
    row |= {"a": a.label, "b": b.label, "langs": langs, "seeds": _named(seeds)}
    row |= {"mean": found.mean, "ci95": _clipped(found.low, found.high, -1), "ci_kind": found.kind}
    row |= {"p": found.p, "se": found.se, "dof": found.dof, "n": len(first)}
    return row | {"mdd": minimum_detectable_difference(found.se, found.dof)}


def _seeds(sides: Sequence[Runs], where: str) -> list[int | None]:
    """Seeds that all languages of all sides have; a deterministic side has every seed."""
    sets = [set(by_seed) for runs in sides for by_seed in runs.values() if None not in by_seed]
    if not sets:
        return [None]
    common = sorted(seed for seed in set.intersection(*sets) if seed is not None)
    if not common:
        raise UserError("no training seed is shared by what is compared", where, "evaluate the same seeds")
    return list(common)


def _named(seeds: Sequence[int | None]) -> list[int]:
    return [seed for seed in seeds if seed is not None]


def _block(
    sides: Sequence[dict[int | None, Predictions]], seeds: Sequence[int | None]
) -> tuple[list[str], list[Scores]]:
    """Return ids and one table of shape (ids, seeds) per side, on the items that all runs have in common."""
    runs = [[side[None] if None in side else side[seed] for seed in seeds] for side in sides]
    marks = [[dict(zip(item.ids, item.correct, strict=True)) for item in side] for side in runs]
    ids = sorted(set.intersection(*(set(mark) for side in marks for mark in side)))
    if not ids:
        raise UserError("predictions have no item in common", f"{runs[0][0].name}, {runs[-1][-1].name}")
    tables: list[Scores] = [
        np.array([[float(mark[name]) for mark in side] for name in ids]) for side in marks
    ]
    return ids, tables


def _clipped(low: float, high: float, least: int) -> list[float]:
    return [max(low, float(least)), min(high, 1.0)]


def rounded(value: Any) -> Any:
    """Round every float of nested values to :data:`DIGITS` digits."""
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0  # + 0.0 turns -0.0 into 0.0
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


DEMONSTRATION = "demonstration, not a benchmark"
_LANGUAGES_A_TABLE = 12  # more do not fit into 100 columns
_Row = Mapping[str, Any]


def format_table(results: Mapping[str, Any]) -> Table:
    """Return one block per (task, split, data): a line per method, a column per language, the average last.

    Accuracies are in per cent, averaged over the seeds. The average is over the target languages, English
    apart, with half of its 95 % interval; a star marks an interval over the items only. The untrained
    baseline comes first. Tasks of the starter set are headed as a demonstration.

    Args:
        results: What :func:`metaxcr.evaluation.results.build_results` returns.

    Returns:
        A grid that is readable in 100 columns, whatever the number of tasks and languages.
    """
    grid = Table.grid()
    rows: Sequence[_Row] = results["rows"]
    places = sorted({(row["task"], row["split"], row["data"]) for row in rows}, key=_place_order)
    for place in places:
        here = [row for row in rows if (row["task"], row["split"], row["data"]) == place]
        averages = {_cell(row): row for row in results["averages"]}
        languages = sorted({row["lang"] for row in here}, key=lambda lang: (lang != "en", lang))
        pieces = [
            languages[start : start + _LANGUAGES_A_TABLE]
            for start in range(0, len(languages), _LANGUAGES_A_TABLE)
        ]
        grid.add_row(_title(here))
        for piece in pieces:
            grid.add_row(_table_block(here, averages, piece, last=piece is pieces[-1]))
            grid.add_row("")
    if any(row["ci95"] is not None for row in results["averages"]):
        grid.add_row(Text("± half of the 95 % interval over items x seeds; * over items only", style="dim"))
    return grid


def _table_block(
    rows: Sequence[_Row], averages: Mapping[Cell, _Row], languages: Sequence[str], *, last: bool
) -> Table:
    # The box already parts the columns by a space: padding would cost a dozen columns more.
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False)
    table.add_column("accuracy, %", overflow="fold")
    for language in languages:
        table.add_column(language, justify="right", no_wrap=True)
    cells = sorted({_cell(row) for row in rows}, key=_method_order)
    last = last and any(cell in averages for cell in cells)
    if last:
        table.add_column("average", no_wrap=True)
    for cell in cells:
        line = [cell.label]
        for language in languages:
            found = [row["acc"] for row in rows if row["lang"] == language and _cell(row) == cell]
            line.append(_percent(float(np.mean(found))) if found else "")
        table.add_row(*line, *([_shown_average(averages.get(cell))] if last else []))
    return table


def _title(rows: Sequence[_Row]) -> Text:
    first = rows[0]
    counts = sorted({row["n"] for row in rows})
    items = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    seeds = len({row["seed"] for row in rows if row["seed"] is not None})
    title = f"{first['task']}, {first['split']}, {first['data']}: {items} items"
    title += f", mean of {seeds} seeds" if seeds > 1 else ""
    title += f": {DEMONSTRATION}" if first["task"].startswith("starter") else ""
    return Text(title, style="bold")


def _shown_average(row: _Row | None) -> str:
    if row is None:
        return ""
    mean = _percent(row["mean"])
    if row["ci95"] is None:
        return mean
    # The half that clipping at 0 or 1 has left whole.
    half = max(row["mean"] - row["ci95"][0], row["ci95"][1] - row["mean"])
    return f"{mean} ±{100 * half:.1f}{'*' if row['ci_kind'] == 'items' else ''}"


def _percent(fraction: float) -> str:
    text = f"{100 * fraction:.1f}"
    return "100" if text == "100.0" else text  # as wide as the others


def _cell(row: _Row) -> Cell:
    return Cell(row["task"], row["split"], row["data"], row["regime"], row["method"], row["k"])


def _method_order(cell: Cell) -> tuple[Any, ...]:
    return cell.method != "similarity", list(REGIMES).index(cell.regime), cell.k, cell.method


def _place_order(place: tuple[str, str, str]) -> tuple[Any, ...]:
    task, split, data = place
    return task, split, data != "repaired"


def read_results(path: Path) -> Record:
    """Read ``results.json``.

    Raises:
        UserError: It cannot be read, or does not follow the schema.
    """
    results = read_json_object(path, AGAIN)
    validate_results(results, str(path))
    return results | {"shares": checked(Shares, results["shares"], f"{path}.shares")}
