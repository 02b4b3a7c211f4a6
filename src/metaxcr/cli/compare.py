"""``compare``: methods x languages x shots x seeds, cell by cell."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli.console import console, note, print_json, print_table, say, try_report
from metaxcr.cli.options import (
    DataOption,
    JsonOption,
    QuietOption,
    ShotsOption,
    examples,
    out_option,
    set_option,
)

if TYPE_CHECKING:
    from metaxcr.compare.cell_store import CellStore
    from metaxcr.compare.comparison import Comparison

SHOWN = ("averages", "differences", "outside", "costs", "equivalents")  # the report has the other tables, too
GridArgument = Annotated[
    str, typer.Argument(metavar="GRID", help="A grid file, or a shipped name (see 'docs/comparing.md').")
]
GridSetOption = Annotated[list[str] | None, set_option("Override a key of the grid: seeds=[0]")]
OutOption = Annotated[Path | None, out_option("Its folder.", "runs/compare/<name of GRID>")]
CellsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--cells",
        metavar="DIR",
        help="Finished cells that are taken over; repeatable.",
        show_default="docs/results/cells, where it is",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", metavar="N", min=1, help="Processes.", show_default="one for a core, at most 4"
    ),
]
AgainstOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--against",
        metavar="FILE",
        help="Predictions of another system (.jsonl): a paired test against every method; repeatable.",
    ),
]


@examples(
    "metaxcr compare starter --dry-run",
    "metaxcr compare starter",
    "metaxcr compare sampler --data DIR --engine processes --workers 2",
    "metaxcr compare headline --data DIR --against theirs.jsonl --shots runs/xcopa",
)
def compare(
    name: GridArgument,
    overrides: GridSetOption = None,
    out: OutOption = None,
    cells: CellsOption = None,
    engine: Annotated[str, typer.Option("--engine", metavar="NAME", help="serial or processes.")] = "serial",
    workers: WorkersOption = None,
    shots: ShotsOption = None,
    against: AgainstOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the cells with what they will cost; run nothing.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the run folders of finished cells.")] = False,
    data: DataOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare methods on a grid of languages, shots and seeds.

    Every cell is kept as soon as it is finished, under a key made of its settings: the same command goes on
    where it stopped, and no cell is run twice, in whatever grid it is. A cell that fails is named at the end
    and stops no other; the exit status is then 1. Ends with the tables and report.html.
    """
    from metaxcr.compare.cell_store import COMMITTED, CellStore
    from metaxcr.compare.comparison import compare as carry_out
    from metaxcr.compare.comparison import look
    from metaxcr.compare.external import outside_results
    from metaxcr.compare.grid import find_grid, load_grid
    from metaxcr.runs.progress import Progress

    words = list(overrides or ())
    if shots is not None:
        words.append(f'shots_file="{shots.absolute()}"')
    grid = load_grid(name, words)
    folder = out or Path("runs/compare") / find_grid(name).stem
    others = cells if cells is not None else [COMMITTED] if COMMITTED.is_dir() else []
    store = CellStore(folder / "cells", others)
    found = look(grid, store, data)
    outside_results(found, store, against or [], data, check_only=True)
    if dry_run:
        _list(found, as_json=as_json)
        return
    for line in _before(found):
        note(line)
    progress = Progress(console(stderr=True), quiet=quiet)
    command = shlex.join(["metaxcr", *sys.argv[1:]])
    carry_out(
        found, store, folder, progress=progress, root=data, engine=engine, workers=workers, keep=keep,
        command=command,
    )  # fmt: skip
    outside = outside_results(found, store, against or [], data)
    _finish(found, store, folder, command, outside, as_json=as_json)
    if found.failed:
        for label, line in found.failed.items():
            note(f"failed: {label}: {line}")
        raise typer.Exit(1)


def _before(found: "Comparison") -> list[str]:
    """What is there already, and what cannot be run."""
    lines = [f"{len(found.cells)} cells: {len(found.records)} finished, {len(found.missing)} to run"]
    lines += [f"run again, its data have changed: {label}" for label in found.outdated]
    waiting = {cell.method: cell.waits for cell in found.waiting}
    return lines + [f"{method} waits: {why}" for method, why in waiting.items()]


def _list(found: "Comparison", *, as_json: bool) -> None:
    """Print the cells with what they will cost."""
    from metaxcr.compare.comparison import cell_estimates

    rows = cell_estimates(found)
    if as_json:
        print_json(rows)
        return
    cells = [(row["cell"], row["state"], _millions(row["token_passes"]), row["key"]) for row in rows]
    print_table(("cell", "state", ">token-passes", "key"), cells, title=found.grid.title)
    todo = [row["token_passes"] for row in rows if row["state"] == "to run"]
    say(f"{len(todo)} of {len(rows)} cells to run, about {_millions(sum(todo))} token-passes")


def _millions(passes: float) -> str:
    return f"{passes / 1e6:.1f} M"


def _finish(
    found: "Comparison", store: "CellStore", folder: Path, command: str, outside: list[Any], *, as_json: bool
) -> None:
    """Write compare.json and the report, and print the tables."""
    from metaxcr.compare.grid_summary import summarise
    from metaxcr.files import write_json
    from metaxcr.reports.grid_page import write_grid_report
    from metaxcr.reports.grid_tables import grid_tables

    summary = summarise(found, store, outside, command)
    write_json(folder / "compare.json", summary)
    page = try_report(lambda: write_grid_report(folder), folder)
    if as_json:
        print_json(summary)
        note(f"report: {page}") if page else None
        return

    def tables() -> None:
        for table in (table for table in grid_tables(summary) if table.key in SHOWN):
            heads = [(">" if i in table.numeric else "") + head for i, head in enumerate(table.head)]
            print_table(heads, table.rows, title=table.title)
            say("")

    try_report(tables, folder, "table")
    say(f"results: {folder / 'compare.json'}")
    if page:
        say(f"report: {page}")
