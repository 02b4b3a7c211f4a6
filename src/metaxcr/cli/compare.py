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
    project_settings,
    set_option,
)

if TYPE_CHECKING:
    from metaxcr.compare.comparison import Comparison

PRINTED = ("averages", "differences", "outside", "costs", "equivalents")  # the report has the others, too
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
        help="A folder of finished cells to reuse; repeatable.",
        show_default="'cells' in metaxcr.toml",
    ),
]
PackOption = Annotated[
    bool,
    typer.Option("--pack", help="At the end, write the finished cells to one file in the folder of --cells."),
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
    pack: PackOption = False,
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

    Every cell is stored as soon as it is finished, under a key made of its settings: the same command
    continues where it stopped, and no cell is run twice, whatever grid it is in. A cell that fails is listed
    at the end and stops no other; the exit status is then 1. Ends with the tables and report.html.
    """
    from metaxcr.compare.cell_store import CellStore
    from metaxcr.compare.comparison import find_finished, run_missing
    from metaxcr.compare.external import compare_external, read_external
    from metaxcr.compare.grid import find_grid, load_grid
    from metaxcr.runs.progress import Progress

    changes = list(overrides or ())
    if shots is not None:
        changes.append(f'shots_file="{shots.absolute()}"')
    grid, grid_name = load_grid(name, changes), find_grid(name).stem
    folder, project = out or Path("runs/compare") / grid_name, project_settings()
    others = cells or ([project.cells] if project.cells else [])
    store = CellStore(folder / "cells", others)
    found = find_finished(grid, store, data)
    systems = [read_external(path, found, store, data) for path in against or ()]
    if dry_run:
        _print_plan(found, as_json=as_json)
        return
    for line in _state(found):
        note(line)
    command = shlex.join(["metaxcr", *sys.argv[1:]])
    run_missing(
        found, store, folder, progress=Progress(console(stderr=True), quiet=quiet), root=data, engine=engine,
        workers=workers, keep=keep, ledger=project.ledger, command=command,
    )  # fmt: skip
    if pack:
        packed = store.pack(found.records.values(), others[0] if others else folder / "cells", grid_name)
        note(f"cells: {packed}")
    _report(found, store, folder, command, compare_external(systems, found, store), as_json=as_json)
    if found.failed:
        for label, line in found.failed.items():
            note(f"failed: {label}: {line}")
        raise typer.Exit(1)


def _state(found: "Comparison") -> list[str]:
    """What is finished, and what cannot be run."""
    lines = [f"{len(found.cells)} cells: {len(found.records)} finished, {len(found.missing)} to run"]
    lines += [f"run again, its data have changed: {label}" for label in found.outdated]
    waiting = {cell.method: cell.waits for cell in found.waiting}
    return lines + [f"{method} waits: {why}" for method, why in waiting.items()]


def _print_plan(found: "Comparison", *, as_json: bool) -> None:
    """Print the cells with what they will cost."""
    from metaxcr.compare.comparison import cell_estimates

    rows = cell_estimates(found)
    if as_json:
        print_json(rows)
        return
    cells = [(row["cell"], row["state"], _millions(row["token_passes"]), row["key"]) for row in rows]
    print_table(("cell", "state", ">token-passes", "key"), cells, title=found.grid.title)
    passes = [row["token_passes"] for row in rows if row["state"] == "to run"]
    say(f"{len(passes)} of {len(rows)} cells to run, about {_millions(sum(passes))} token-passes")


def _millions(passes: float) -> str:
    return f"{passes / 1e6:.1f} M"


def _report(
    found: "Comparison", store: Any, folder: Path, command: str, external: list[Any], *, as_json: bool
) -> None:
    """Write compare.json and the report, and print the tables."""
    from metaxcr.compare.grid_summary import summarise
    from metaxcr.files import write_json
    from metaxcr.reports.grid_tables import grid_tables
    from metaxcr.reports.pages import write_grid_report

    summary = summarise(found, store, external, command)
    write_json(folder / "compare.json", summary)
    page = try_report(lambda: write_grid_report(folder), folder)
    if as_json:
        print_json(summary)
        note(f"report: {page}") if page else None
        return

    def tables() -> None:
        for table in (table for table in grid_tables(summary) if table.key in PRINTED):
            heads = [(">" if i in table.numeric else "") + head for i, head in enumerate(table.head)]
            print_table(heads, table.rows, title=table.title)
            say("")

    try_report(tables, folder, "table")
    say(f"results: {folder / 'compare.json'}")
    if page:
        say(f"report: {page}")
