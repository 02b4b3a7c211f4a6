"""The results as a short table for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from metaxcr.evaluation.results import Cell

DEMONSTRATION = "demonstration, not a benchmark"
_REGIMES = ("none", "zero-shot", "zero-shot-aux", "few-shot", "pooled-shots", "transductive")
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
            grid.add_row(_block(here, averages, piece, last=piece is pieces[-1]))
            grid.add_row("")
    if any(row["ci95"] is not None for row in results["averages"]):
        grid.add_row(Text("± half of the 95 % interval over items x seeds; * over items only", style="dim"))
    return grid


def _block(
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
        table.add_row(*line, *([_average(averages.get(cell))] if last else []))
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


def _average(row: _Row | None) -> str:
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
    return cell.method != "similarity", _REGIMES.index(cell.regime), cell.k, cell.method


def _place_order(place: tuple[str, str, str]) -> tuple[Any, ...]:
    task, split, data = place
    return task, split, data != "repaired"
