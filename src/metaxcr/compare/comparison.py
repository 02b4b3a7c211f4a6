"""A comparison: which cells are missing, carrying them out, and what became of them.

What a cell will cost, from its settings alone: rough, for planning and for the time left.

The model is that of ``metaxcr estimate`` (:mod:`metaxcr.runs.cost_model`), on typical amounts:
no file is read.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metaxcr.compare.cell_store import CellRecord, CellStore, stale
from metaxcr.compare.engines import ENGINES, Ended, Step, default_workers
from metaxcr.compare.grid import Grid
from metaxcr.compare.job_runner import Job, JobRunner, group
from metaxcr.compare.plan import GridCell, expand
from metaxcr.config.schema import Config
from metaxcr.data.registry import task_spec
from metaxcr.errors import UserError
from metaxcr.files import write_atomically
from metaxcr.hardware import available_threads
from metaxcr.parse import dump_yaml
from metaxcr.runs.cost_model import StageWork, works
from metaxcr.runs.data_amounts import typical
from metaxcr.runs.environment import commit
from metaxcr.runs.progress import Progress

LEDGER = Path("docs/results/test-openings.jsonl")


@dataclass
class Comparison:
    """The cells of a grid, and those that are finished.

    Attributes:
        grid: The grid.
        cells: All of them.
        records: Key -> finished cell.
        failed: Label of a failed cell -> the line that says why.
        outdated: Labels of finished cells whose data have changed since: they are run again.
    """

    grid: Grid
    cells: list[GridCell]
    records: dict[str, CellRecord] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    outdated: list[str] = field(default_factory=list)

    @property
    def waiting(self) -> list[GridCell]:
        """Cells whose method needs something that the user has not given."""
        return [cell for cell in self.cells if cell.waits and cell.key not in self.records]

    @property
    def missing(self) -> list[GridCell]:
        """Cells that have to be run, each key once."""
        todo = {c.key: c for c in reversed(self.cells) if not c.waits and c.key not in self.records}
        return list(reversed(todo.values()))


def look(grid: Grid, store: CellStore, root: Path | None) -> Comparison:
    """Find out which cells of a grid are finished.

    Args:
        grid: The grid.
        store: Of finished cells.
        root: Data root given by the user.

    Raises:
        UserError: The grid asks for something that does not exist, or a finished cell is damaged.
    """
    found = Comparison(grid, expand(grid))
    for key, cell in {cell.key: cell for cell in found.cells}.items():
        record = store.get(key)
        if record is not None and stale(record, root):
            found.outdated.append(cell.label)
        elif record is not None:
            found.records[key] = record
    return found


def compare(
    found: Comparison,
    store: CellStore,
    out: Path,
    *,
    progress: Progress,
    root: Path | None = None,
    engine: str = "serial",
    workers: int | None = None,
    keep: bool = False,
    command: str = "",
) -> None:
    """Run the missing cells of a grid; what is finished is kept at every moment.

    Args:
        found: From :func:`look`; finished and failed cells are added.
        store: Takes finished cells.
        out: Folder of the comparison.
        progress: Where to report.
        root: Data root given by the user.
        engine: Name of an engine.
        workers: Processes, for engines that have several.
        keep: Leave the run folders there.
        command: What the user typed, for the record.

    Raises:
        UserError: There is no such engine.
    """
    if engine not in ENGINES:
        raise UserError(f"unknown engine {engine!r}", "--engine", f"there are {', '.join(sorted(ENGINES))}")
    text = dump_yaml(found.grid.model_dump(mode="json"))
    write_atomically(out / "grid.yaml", text)
    chains = group(found.missing)
    number = (workers or default_workers()) if engine == "processes" else 1
    number = max(1, min(number, len(chains)))
    threads = max(1, available_threads() // number) if number > 1 else None
    if number > 1:  # long ones first, so that no process works on alone at the end
        chains.sort(key=chain_passes, reverse=True)
    workshop = JobRunner(out.absolute() / "work", store, root, keep, threads)
    _record_opening(found, chains, command)
    watch = _Watch(chains, progress, found, store)
    try:
        ENGINES[engine](chains, workshop.carry_out, watch.hear, number)
    finally:
        progress.finish()


class _Watch:
    """Hears the engine: what is finished, what has failed, how long it will take."""

    def __init__(
        self, chains: Sequence[Sequence[Job]], progress: Progress, found: Comparison, store: CellStore
    ) -> None:
        self._progress, self._found, self._store = progress, found, store
        self._weights = {job.name: passes for chain in chains for job, passes in weigh(chain)}
        self._cells = sum(len(job.cells) for chain in chains for job in chain)
        self._whole = sum(self._weights.values())
        self._ended, self._weight, self._begun = 0, 0, time.monotonic()

    def hear(self, message: Step | Ended) -> None:
        job = message.job
        if isinstance(message, Step):
            note = f"{job.label}: {message.label} {message.done}/{message.total}"
            self._progress.update("percent", round(100 * self._weight / self._whole), 100, note)
            return
        self._ended, self._weight = self._ended + len(job.cells), self._weight + self._weights[job.name]
        for cell in job.cells:
            record = self._store.get(cell.key) if not message.line else None
            if record is not None:
                self._found.records[cell.key] = record
            else:
                self._found.failed[cell.label] = message.line
        said = f"FAILED, {message.line}" if message.line else "done"
        self._progress.say(f"{self._ended}/{self._cells} {job.label}: {said}{self._left()}")

    def _left(self) -> str:
        """The time left, from the token-passes that are left."""
        if not self._weight or self._weight == self._whole:
            return ""
        seconds = (time.monotonic() - self._begun) / self._weight * (self._whole - self._weight)
        return f", about {seconds / 60:.0f} min left" if seconds > 90 else f", about {seconds:.0f} s left"


def _record_opening(found: Comparison, chains: Sequence[Sequence[Job]], command: str) -> None:
    """Append a line to the list of looks at test splits, where the working folder keeps one."""
    opened = sorted(
        {
            job.config.target.task
            for chain in chains
            for job in chain
            if job.config.evaluate.split == "test" and not task_spec(job.config.target.task).package
        }
    )
    if not opened or not LEDGER.parent.is_dir():
        return
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "grid": found.grid.title,
        "cells": [cell.key for chain in chains for job in chain for cell in job.cells],
        "task": ", ".join(opened),
        "command": command,
    }
    with LEDGER.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


START = 30_000  # token-passes that fit into the time in which a run reads what is new in it
STEPS = 40  # of a run of meta-training that are looked at: where no file is read, more tell nothing


def ctml_passes(config: Config) -> int:
    """Token-passes of CTML."""
    return round(sum(work.passes for work in _works(config) if work.stage == "ctml"))


def job_passes(job: Job, *, with_ctml: bool) -> int:
    """Token-passes of a job, its trunk left out.

    Args:
        job: One run.
        with_ctml: Whether it trains what it starts from; the jobs after it in a chain do not.
    """
    kind = job.cells[0].kind
    if kind == "majority":
        return 0
    # a job evaluates the untrained similarity where it is the method, and nowhere else
    wanted = [work for work in _works(job.config) if (work.regime == "none") == (kind == "similarity")]
    return round(
        sum(
            work.passes
            for work in wanted
            if (work.stage == "evaluate" or kind == "trained") and (work.stage != "ctml" or with_ctml)
        )
    )


def _works(config: Config) -> list[StageWork]:
    return works(config, typical(config), STEPS)


def weigh(chain: Sequence[Job]) -> list[tuple[Job, int]]:
    """The jobs of a chain with their token-passes, and what reading data takes, in token-passes, added."""
    return [(job, START + job_passes(job, with_ctml=place == 0)) for place, job in enumerate(chain)]


def chain_passes(chain: Sequence[Job]) -> int:
    """Token-passes of a chain."""
    return sum(passes for _, passes in weigh(chain))


def cell_estimates(found: "Comparison") -> list[dict[str, Any]]:
    """List the cells of a grid with their state and their share of what is left to do.

    Args:
        found: The grid with its finished cells.
    """
    left: dict[str, float] = {}
    for chain in group(found.missing):
        for place, job in enumerate(chain):
            passes = job_passes(job, with_ctml=place == 0)
            left |= dict.fromkeys((cell.key for cell in job.cells), passes / len(job.cells))
    rows = []
    for cell in found.cells:
        state = "finished" if cell.key in found.records else "waits" if cell.waits else "to run"
        passes = round(left.pop(cell.key, 0.0)) if state == "to run" else 0
        state = "shared" if state == "to run" and not passes and cell.kind != "majority" else state
        row = {"cell": cell.label, "state": state, "token_passes": passes, "key": cell.key}
        rows.append(row | {"command": cell.command})
    return rows
