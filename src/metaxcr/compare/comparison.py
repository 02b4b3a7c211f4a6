"""A comparison: which cells of a grid are missing, what they will cost, and running them.

Costs are estimated from the settings alone, with the model of ``metaxcr estimate``
(:mod:`metaxcr.runs.cost_model`) on typical amounts of data; no file is read.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metaxcr.compare.cell_record import CellRecord
from metaxcr.compare.cell_store import CellStore, changed_data
from metaxcr.compare.engines import ENGINES, Ended, Step, default_workers
from metaxcr.compare.grid import Grid
from metaxcr.compare.job_runner import Job, JobRunner, group
from metaxcr.compare.plan import GridCell, expand
from metaxcr.config.schema import Config
from metaxcr.errors import UserError
from metaxcr.files import write_atomically
from metaxcr.hardware import available_threads
from metaxcr.parse import dump_yaml
from metaxcr.runs.cost_model import StageWork, works
from metaxcr.runs.data_amounts import typical
from metaxcr.runs.environment import record_opening
from metaxcr.runs.progress import Progress

READING = 30_000  # token-passes that take as long as reading the data that are new to a run
ESTIMATED_STEPS = 40  # of meta-training that are simulated: on typical amounts more steps change nothing


@dataclass
class Comparison:
    """The cells of a grid, and those that are finished.

    ``failed`` has the messages of failed cells by label, ``outdated`` the labels of finished cells whose data
    have changed since: they are run again.
    """

    grid: Grid
    cells: list[GridCell]
    records: dict[str, CellRecord] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    outdated: list[str] = field(default_factory=list)

    @property
    def waiting(self) -> list[GridCell]:
        """Cells whose method needs a setting that is not given."""
        return [cell for cell in self.cells if cell.waits]

    @property
    def missing(self) -> list[GridCell]:
        """Cells that have to be run, each key once."""
        missing = {c.key: c for c in reversed(self.cells) if not c.waits and c.key not in self.records}
        return list(reversed(missing.values()))


def find_finished(grid: Grid, store: CellStore, root: Path | None) -> Comparison:
    """Expand a grid and look up which of its cells are finished.

    Raises:
        UserError: The grid names something that does not exist, or a finished cell is damaged.
    """
    found = Comparison(grid, expand(grid))
    for key, cell in {cell.key: cell for cell in found.cells if not cell.waits}.items():
        record = store.get(key)
        if record is not None and changed_data(record, root):
            found.outdated.append(cell.label)
        elif record is not None:
            found.records[key] = record
    return found


def run_missing(
    found: Comparison,
    store: CellStore,
    out: Path,
    *,
    progress: Progress,
    root: Path | None = None,
    engine: str = "serial",
    workers: int | None = None,
    keep: bool = False,
    ledger: Path | None = None,
    command: str = "",
) -> None:
    """Run the missing cells of a grid; every cell is stored as soon as it is finished.

    Finished and failed cells are added to ``found``. Evaluations on test splits are recorded in ``ledger``,
    if there is one, with the command that the user typed.

    Raises:
        UserError: There is no such engine.
    """
    if engine not in ENGINES:
        raise UserError(f"unknown engine {engine!r}", "--engine", f"there are {', '.join(sorted(ENGINES))}")
    write_atomically(out / "grid.yaml", dump_yaml(found.grid.model_dump(mode="json")))
    chains = group(found.missing)
    number = (workers or default_workers()) if engine == "processes" else 1
    number = max(1, min(number, len(chains)))
    threads = max(1, available_threads() // number) if number > 1 else None
    if number > 1:  # long ones first, so that no process works on alone at the end
        chains.sort(key=lambda chain: sum(chain_passes(chain)), reverse=True)
    runner = JobRunner(out.absolute() / "work", store, root, keep, threads)
    jobs = [job for chain in chains for job in chain]
    tested = [job.config.target.task for job in jobs if job.config.evaluate.split == "test"]
    cells = [cell.key for job in jobs for cell in job.cells]
    record_opening(ledger, tested, command, grid=found.grid.title, cells=cells)
    monitor = _Monitor(chains, progress, found, store)
    try:
        ENGINES[engine](chains, runner.run_job, monitor.on_message, number)
    finally:
        progress.finish()


class _Monitor:
    """Reports what the engine has finished and the time left, and collects the results."""

    def __init__(
        self, chains: Sequence[Sequence[Job]], progress: Progress, found: Comparison, store: CellStore
    ) -> None:
        self._progress, self._found, self._store = progress, found, store
        weights = [zip(chain, chain_passes(chain), strict=True) for chain in chains]
        self._weights = {job.name: passes for pairs in weights for job, passes in pairs}
        self._cells = sum(len(job.cells) for chain in chains for job in chain)
        self._total = sum(self._weights.values())
        self._ended, self._done, self._start = 0, 0, time.monotonic()

    def on_message(self, message: Step | Ended) -> None:
        job = message.job
        if isinstance(message, Step):
            note = f"{job.label}: {message.label} {message.done}/{message.total}"
            self._progress.update("percent", round(100 * self._done / self._total), 100, note)
            return
        self._ended, self._done = self._ended + len(job.cells), self._done + self._weights[job.name]
        for cell in job.cells:
            record = self._store.get(cell.key) if not message.error else None
            if record is not None:
                self._found.records[cell.key] = record
            else:
                self._found.failed[cell.label] = message.error
        outcome = f"FAILED, {message.error}" if message.error else "done"
        self._progress.say(f"{self._ended}/{self._cells} {job.label}: {outcome}{self._time_left()}")

    def _time_left(self) -> str:
        if not self._done or self._done == self._total:
            return ""
        seconds = (time.monotonic() - self._start) / self._done * (self._total - self._done)
        return f", about {seconds / 60:.0f} min left" if seconds > 90 else f", about {seconds:.0f} s left"


def job_passes(job: Job, *, with_ctml: bool) -> int:
    """Token-passes of a job without its trunk; later jobs of a chain start from the CTML of the first one."""
    kind = job.cells[0].kind
    if kind == "majority":
        return 0
    # only jobs whose method is the untrained similarity evaluate it
    stages = [work for work in _stage_works(job.config) if (work.regime == "none") == (kind == "similarity")]
    stages = [work for work in stages if work.stage == "evaluate" or kind == "trained"]
    return round(sum(work.passes for work in stages if with_ctml or work.stage != "ctml"))


def _stage_works(config: Config) -> list[StageWork]:
    return works(config, typical(config), ESTIMATED_STEPS)


def chain_passes(chain: Sequence[Job]) -> list[int]:
    """Token-passes of each job of a chain, with what reading data takes added."""
    return [READING + job_passes(job, with_ctml=place == 0) for place, job in enumerate(chain)]


def cell_estimates(found: Comparison) -> list[dict[str, Any]]:
    """List the cells of a grid with their state and their share of the work that is left."""
    left: dict[str, float] = {}
    for chain in group(found.missing):
        for place, job in enumerate(chain):
            passes = job_passes(job, with_ctml=place == 0)
            left |= dict.fromkeys((cell.key for cell in job.cells), passes / len(job.cells))
    rows = []
    for cell in found.cells:
        state = "waits" if cell.waits else "finished" if cell.key in found.records else "to run"
        passes = round(left.pop(cell.key, 0.0)) if state == "to run" else 0
        state = "shared" if state == "to run" and not passes and cell.kind != "majority" else state
        row = {"cell": cell.label, "state": state, "token_passes": passes, "key": cell.key}
        rows.append(row | {"command": cell.command})
    return rows
