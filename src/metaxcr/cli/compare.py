"""``compare``: methods x languages x shots x seeds, cell by cell."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli import options
from metaxcr.cli.console import (
    command_line,
    note,
    print_json,
    print_report_table,
    print_table,
    progress,
    say,
    try_report,
)
from metaxcr.cli.options import Places, argument, option, project_settings, set_option

if TYPE_CHECKING:
    from metaxcr.compare.comparison import Comparison

PRINTED = ("averages", "differences", "outside", "costs", "equivalents")  # the report has the others, too


@options.examples(
    "metaxcr compare starter --dry-run",
    "metaxcr compare starter",
    "metaxcr compare sampler --data DIR --engine processes --workers 2",
    "metaxcr compare headline --data DIR --against theirs.jsonl --shots runs/xcopa",
)
def compare(
    name: Annotated[str, argument("GRID", "A grid file, or a shipped name (see 'docs/comparing.md').")],
    overrides: Annotated[options.Texts, set_option("Override a key of the grid: seeds=[0]")] = None,
    out: Annotated[
        options.Place, option("--out", "Its folder.", "DIR", "runs/compare/<name of GRID>")
    ] = None,
    cells: Annotated[
        Places,
        option(
            "--cells", "A folder of finished cells to reuse; repeatable.", "DIR", "'cells' in metaxcr.toml"
        ),
    ] = None,
    pack: Annotated[
        bool, option("--pack", "At the end, write the finished cells to one file in the folder of --cells.")
    ] = False,
    engine: Annotated[str, option("--engine", "serial or processes.", "NAME")] = "serial",
    workers: Annotated[
        int | None, option("--workers", "Processes.", "N", "one for a core, at most 4", min=1)
    ] = None,
    shots: options.Shots = None,
    against: Annotated[
        Places,
        option(
            "--against",
            "Predictions of another system (.jsonl): a paired test against every method; repeatable.",
            "FILE",
        ),
    ] = None,
    dry_run: Annotated[
        bool, option("--dry-run", "List the cells with what they will cost; run nothing.")
    ] = False,
    keep: Annotated[bool, option("--keep", "Keep the run folders of finished cells.")] = False,
    data: options.Data = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
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
    _note_state(found)
    command = command_line()
    with progress(quiet) as shown:
        run_missing(
            found, store, folder, progress=shown, root=data, engine=engine, workers=workers, keep=keep,
            ledger=project.ledger, command=command,
        )  # fmt: skip
    if pack:
        packed = store.pack(found.records.values(), others[0] if others else folder / "cells", grid_name)
        note(f"cells: {packed}")
    _report(found, store, folder, command, compare_external(systems, found, store), as_json=as_json)
    for label, line in found.failed.items():
        note(f"failed: {label}: {line}")
    if found.failed:
        raise typer.Exit(1)


def _note_state(found: "Comparison") -> None:
    """Say what is finished, and what cannot be run."""
    note(f"{len(found.cells)} cells: {len(found.records)} finished, {len(found.missing)} to run")
    for label in found.outdated:
        note(f"run again, its data have changed: {label}")
    for method, why in {cell.method: cell.waits for cell in found.waiting}.items():
        note(f"{method} waits: {why}")


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

    def print_tables() -> None:
        for table in grid_tables(summary):
            if table.key in PRINTED:
                print_report_table(table, title=table.title)
                say("")

    if as_json:
        print_json(summary)
    else:
        try_report(print_tables, folder, "table")
        say(f"results: {folder / 'compare.json'}")
    if page:
        (note if as_json else say)(f"report: {page}")
