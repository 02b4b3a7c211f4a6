"""Summary of a comparison, the content of ``compare.json``: averages, differences, curves, matrix, costs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from metaxcr.compare.cell_store import CellRecord, CellStore
from metaxcr.compare.comparison import Comparison
from metaxcr.compare.grid import varied
from metaxcr.compare.grid_scores import (
    Line,
    MethodCells,
    collect,
    correct_p_values,
    cost_equivalent,
    difference,
    tables_of,
)
from metaxcr.compare.plan import GridCell
from metaxcr.data.languages import language_groups
from metaxcr.evaluation.results import rounded
from metaxcr.evaluation.statistics import accuracy, named_seeds
from metaxcr.records import Record
from metaxcr.reports.tables import licences

SCHEMA = 1
Lines = Mapping[Line, MethodCells]


def summarise(
    found: Comparison, store: CellStore, external: Sequence[Record] = (), command: str = ""
) -> Record:
    """Return everything that the tables and the report of a comparison show, for JSON."""
    grid, lines = found.grid, collect(found, store)
    compared = (_against_baseline(line, lines, grid.baseline) for line in lines)
    differences = [row for row in compared if row is not None]
    correct_p_values(differences)
    languages = [row for line, cells in lines.items() for row in _by_language(line, cells)]
    encoder = next((cell.config.encoder.name for cell in found.cells), "")
    summary: Record = rounded(
        {
            "schema": SCHEMA,
            **{name: getattr(grid, name) for name in ("title", "about", "baseline", "seeds", "shots")},
            "command": command,
            "methods": [_method(found, name) for name in grid.expanded],
            "averages": [row for item in lines.items() if (row := _average(*item, found)) is not None],
            "differences": differences,
            "outside": list(external),
            "languages": languages,
            "groups": _by_group(languages, encoder),
            "curve": _curve(lines, grid.baseline),
            "matrix": _matrix(found, languages),
            "failed": found.failed,
            "waiting": {cell.label: cell.waits for cell in found.waiting},
            "outdated": found.outdated,
            "cells": [_cell(cell, found) for cell in found.cells if cell.key in found.records],
            "data": _data(found),
            "environments": _environments(found),
        }
    )
    return summary


def _average(line: Line, cells: MethodCells, found: Comparison) -> Record | None:
    """One line of the headline table: accuracy over languages and seeds, and what it cost.

    None if the finished cells of its languages have no seed in common.
    """
    languages, seeds, tables = tables_of(cells)
    if not tables:
        return None
    result = accuracy(tables[0])
    row: Record = {**line._asdict(), "languages": languages, "seeds": named_seeds(seeds), "n": result.n}
    row |= {"mean": result.mean, "complete": _is_complete(line, found)}
    row |= {"ci95": result.ci95, "ci_kind": result.kind, "mdd": result.mdd}
    return row | _costs(cells)


def _costs(cells: MethodCells) -> Record:
    """Token-passes, seconds and trained parameters, mean over cells; an ensemble pays for all its members."""
    paid = [cell.records for seeds in cells.values() for cell in seeds.values()]
    records = [record for members in paid for record in members]

    def mean(spent: Callable[[CellRecord], float]) -> float:
        return float(np.mean([sum(map(spent, members)) for members in paid]))

    def stage_passes(stage: str) -> float:
        return mean(lambda record: record.costs[stage]["token_passes"] if stage in record.costs else 0)

    sizes = ("trained", "share", "share_without_embeddings")
    stages = sorted({name for record in records for name in record.costs})
    return {
        "regime": next((record.regime for record in records if record.regime != "none"), "none"),
        "total_labels": max(record.total_labels for record in records),
        "token_passes": mean(lambda record: record.token_passes),
        "seconds": mean(lambda record: record.seconds),
        "stages": {stage: stage_passes(stage) for stage in stages},
        "parts": _ctml_parts(records) if all(len(members) == 1 for members in paid) else {},
        "peak_rss_mb": max((s.get("peak_rss_mb", 0) for r in records for s in r.costs.values()), default=0),
        **{key: _sum_known(record.parameters.get(key) for record in paid[0]) for key in sizes},
    }


def _sum_known(values: Iterable[Any]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _ctml_parts(records: Sequence[CellRecord]) -> Record:
    """Token-passes of the parts of CTML (support, query, reward, ...), where they are recorded."""
    passes: dict[str, list[float]] = {}
    for record in records:
        if "ctml" in record.costs:
            for part, spent in record.costs["ctml"].get("parts", {}).items():
                passes.setdefault(part, []).append(spent["token_passes"])
    return {part: float(np.mean(values)) for part, values in passes.items()}


def _against_baseline(line: Line, lines: Lines, baseline: str | None) -> Record | None:
    """The paired difference from the baseline with as many shots, or without shots if it takes none."""
    if baseline is None or line.method == baseline:
        return None
    same = Line(line.target, baseline, line.k)
    other = same if same in lines else same._replace(k=0)
    if other not in lines:
        return None
    row = {**line._asdict(), "baseline": baseline, "baseline_k": other.k}
    return row | difference(lines[line], lines[other])


def _by_language(line: Line, cells: MethodCells) -> list[Record]:
    """Accuracy in each language, over items and seeds."""
    rows = []
    for language in sorted(cells):
        _, seeds, (table,) = tables_of({language: cells[language]})
        result = accuracy(table)
        row: Record = {**line._asdict(), "language": language, "n": result.n, "mean": result.mean}
        rows.append(row | {"ci95": result.ci95, "seeds": len(named_seeds(seeds)) or 1})
    return rows


def _by_group(languages: Sequence[Record], encoder: str) -> list[Record]:
    """Mean accuracy over the languages of a family, a script, and those that the encoder has seen or not."""
    members: dict[tuple[str, str, Line], list[Record]] = {}
    for row in languages:
        line = Line(row["target"], row["method"], row["k"])
        for by, group in language_groups(row["language"], encoder).items():
            members.setdefault((by, group, line), []).append(row)
    found = []
    for (by, group, line), rows in members.items():
        codes, mean = [row["language"] for row in rows], float(np.mean([row["mean"] for row in rows]))
        found.append({**line._asdict(), "by": by, "group": group, "languages": codes, "mean": mean})
    return found


def _curve(lines: Lines, baseline: str | None) -> list[Record]:
    """How many shots the baseline needs for what each method reaches with k; empty without its curve."""
    rows = []
    for line, cells in lines.items():
        points = {o.k: own for o, own in lines.items() if (o.target, o.method) == (line.target, baseline)}
        if line.method == baseline or len(points) < 2:
            continue
        _, _, tables = tables_of(cells, *points.values())
        if tables:
            own, *theirs = tables
            shots = cost_equivalent(own, dict(zip(points, theirs, strict=True)))
            rows.append({**line._asdict(), **shots, "most": max(points)})
    return rows


def _matrix(found: Comparison, languages: Sequence[Record]) -> Record | None:
    """Accuracy by language of the labels (rows) and tested language (columns)."""
    if found.grid.matrix is None:
        return None
    support = varied(found.grid, found.grid.matrix)
    rows = [row for row in languages if row["method"] in support]
    kept = ("language", "mean", "ci95")
    cells = [{"support": support[row["method"]], **{key: row[key] for key in kept}} for row in rows]
    base = {row["language"]: row["mean"] for row in languages if row["method"] == found.grid.baseline}
    return {"by": found.grid.matrix, "cells": cells, "baseline": base}


def _method(found: Comparison, name: str) -> Record:
    method = found.grid.expanded[name]
    command = next((cell.command for cell in found.cells if cell.method == name), "")
    return {"name": name, "kind": method.kind, "about": method.about, "command": command}


def _cell(cell: GridCell, found: Comparison) -> Record:
    record = found.records[cell.key]
    row = {"label": cell.label, "key": cell.key, "config_hash": record.config_hash}
    return row | {"accuracy": float(record.right.mean()), "n": record.n, "command": record.command}


def _is_complete(line: Line, found: Comparison) -> bool:
    for name in found.grid.expanded[line.method].of or [line.method]:
        cells = [cell for cell in found.cells if (cell.target, cell.method) == (line.target, name)]
        # a method that takes no shots is included without them
        k = line.k if any(cell.k == line.k for cell in cells) else 0
        if any(cell.k == k and cell.key not in found.records for cell in cells):
            return False
    return True


def _data(found: Comparison) -> list[Record]:
    """The data sets with their licences and what a paper has to cite."""
    names: dict[str, None] = {}
    for cell in found.cells:
        target = cell.config.target
        names |= dict.fromkeys([target.task, target.english.task, *(s.task for s in cell.config.sources)])
        names |= dict.fromkeys([target.auxiliary.task] if target.auxiliary else [])
    return licences(names)


def _environments(found: Comparison) -> list[Record]:
    """What the cells were run with, without the dates, each combination once."""
    unlike: list[Record] = []
    for record in found.records.values():
        environment = {k: v for k, v in record.environment.items() if k != "date"}
        if environment not in unlike:
            unlike.append(environment)
    return unlike
