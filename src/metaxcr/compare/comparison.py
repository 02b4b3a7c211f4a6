"""A comparison: which cells of a grid are missing, what they will cost, and running them.

Costs are estimated from the settings alone, with the model of ``metaxcr estimate``
(:mod:`metaxcr.runs.cost_model`) on typical amounts of data; no file is read. An engine runs the jobs: one
after another, or in several processes.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from metaxcr.compare.cell_store import CellRecord, CellStore, changed_data
from metaxcr.compare.grid import Grid
from metaxcr.compare.job_runner import Job, JobRunner, OnStep, group
from metaxcr.compare.plan import GridCell, expand
from metaxcr.errors import UserError
from metaxcr.files import write_atomically
from metaxcr.hardware import available_threads
from metaxcr.parse import dump_yaml
from metaxcr.records import Record
from metaxcr.runs.cost_model import works
from metaxcr.runs.data_amounts import typical
from metaxcr.runs.environment import record_opening
from metaxcr.runs.progress import Progress

READING = 30_000  # token-passes that take as long as reading the data that are new to a run
ESTIMATED_STEPS = 40  # of meta-training that are simulated: on typical amounts more steps change nothing
WORKER_BYTES = 5 * 2**30  # memory of a process, most of it pages of the trunk cache
JOIN_SECONDS = 5.0  # that an interrupted process has to end

RunJob = Callable[[Job, OnStep], None]  # picklable
Chain = Sequence[Job]  # jobs that are run in order


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
    """Expand a grid and look up which of its cells are finished; UserError if one is damaged."""
    found = Comparison(grid, expand(grid))
    for key, cell in {cell.key: cell for cell in found.cells if not cell.waits}.items():
        record = store.get(key)
        if record is not None and changed_data(record, root):
            found.outdated.append(cell.label)
        elif record is not None:
            found.records[key] = record
    return found


def job_passes(job: Job, *, with_ctml: bool) -> int:
    """Token-passes of a job without its trunk; later jobs of a chain start from the CTML of the first one."""
    kind = job.cells[0].kind
    if kind == "majority":
        return 0
    stages = works(job.config, typical(job.config), ESTIMATED_STEPS)
    # only jobs whose method is the untrained similarity evaluate it
    stages = [work for work in stages if (work.regime == "none") == (kind == "similarity")]
    stages = [work for work in stages if work.stage == "evaluate" or kind == "trained"]
    return round(sum(work.passes for work in stages if with_ctml or work.stage != "ctml"))


def chain_passes(chain: Chain) -> list[int]:
    """Token-passes of each job of a chain, with what reading data takes added."""
    return [READING + job_passes(job, with_ctml=place == 0) for place, job in enumerate(chain)]


def cell_estimates(found: Comparison) -> list[Record]:
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
    """
    if engine not in ENGINES:
        raise UserError(f"unknown engine {engine!r}", "--engine", f"there are {', '.join(sorted(ENGINES))}")
    write_atomically(out / "grid.yaml", dump_yaml(found.grid.model_dump(mode="json")))
    chains = group(found.missing)
    number = (workers or default_workers()) if engine == "processes" else 1
    number = max(1, min(number, len(chains)))
    threads = max(1, available_threads() // number) if number > 1 else None
    if number > 1:  # long chains first, so that at the end no process is left working alone
        chains.sort(key=lambda chain: sum(chain_passes(chain)), reverse=True)
    runner = JobRunner(out.absolute() / "work", store, root, keep, threads)
    jobs = [job for chain in chains for job in chain]
    tested = [job.config.target.task for job in jobs if job.config.evaluate.split == "test"]
    cells = [cell.key for job in jobs for cell in job.cells]
    record_opening(ledger, tested, command, grid=found.grid.title, cells=cells)
    try:
        ENGINES[engine](chains, runner.run_job, _Monitor(chains, progress, found, store).on_message, number)
    finally:
        progress.finish()


class Message(NamedTuple):
    """A step of a job (label, steps done, steps in all), or its end, with an error if it failed."""

    job: Job
    step: tuple[str, int, int] | None = None
    error: str = ""


OnMessage = Callable[[Message], None]  # called in the process that started the engine


class _Monitor:
    """Reports what the engine has finished and the time left, and collects the results."""

    def __init__(
        self, chains: Sequence[Chain], progress: Progress, found: Comparison, store: CellStore
    ) -> None:
        self._progress, self._found, self._store = progress, found, store
        passes = [pair for chain in chains for pair in zip(chain, chain_passes(chain), strict=True)]
        self._passes = {job.name: number for job, number in passes}
        self._cells, self._total = sum(len(job.cells) for job, _ in passes), sum(self._passes.values())
        self._ended, self._done, self._start = 0, 0, time.monotonic()

    def on_message(self, message: Message) -> None:
        job, step, error = message
        if step is not None:
            label, done, total = step
            percent = round(100 * self._done / self._total)
            self._progress.update("percent", percent, 100, f"{job.label}: {label} {done}/{total}")
            return
        self._ended, self._done = self._ended + len(job.cells), self._done + self._passes[job.name]
        for cell in job.cells:
            record = self._store.get(cell.key) if not error else None
            if record is not None:
                self._found.records[cell.key] = record
            else:
                self._found.failed[cell.label] = error
        outcome = f"FAILED, {error}" if error else "done"
        self._progress.say(f"{self._ended}/{self._cells} {job.label}: {outcome}{self._time_left()}")

    def _time_left(self) -> str:
        if not self._done or self._done == self._total:
            return ""
        seconds = (time.monotonic() - self._start) / self._done * (self._total - self._done)
        return f", about {seconds / 60:.0f} min left" if seconds > 90 else f", about {seconds:.0f} s left"


def serial(chains: Sequence[Chain], run_job: RunJob, on_message: OnMessage, workers: int = 1) -> None:
    """One job after another in this process."""
    for chain in chains:
        _run_chain(chain, run_job, lambda place, *news, chain=chain: on_message(Message(chain[place], *news)))


def processes(chains: Sequence[Chain], run_job: RunJob, on_message: OnMessage, workers: int = 2) -> None:
    """Several processes, each with one chain at a time; an interrupt ends them all.

    A process takes one chain after another and keeps what the next one can use (see
    :mod:`metaxcr.runs.raw_data`). If one dies (for instance, killed for its memory), the jobs
    it had fail and another takes its place.
    """
    waiting = list(chains)
    running: dict[Any, _Worker] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                worker = _Worker(run_job, on_message)
                worker.start_chain(waiting.pop(0))
                running[worker.pipe] = worker
            for pipe in wait(list(running)):
                worker = running[pipe]
                if worker.receive() and (worker.unfinished or waiting):
                    if not worker.unfinished:
                        worker.start_chain(waiting.pop(0))
                else:
                    running.pop(pipe).close()
    finally:
        for worker in running.values():
            worker.process.terminate()
        for worker in running.values():
            worker.process.join(JOIN_SECONDS)
            worker.process.kill()


class _Worker:
    """A process that runs one chain after another; ``unfinished`` are places in the present chain."""

    def __init__(self, run_job: RunJob, on_message: OnMessage) -> None:
        self._on_message = on_message
        self._chain: Chain = []
        self.unfinished: list[int] = []
        context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_worker_main, args=(run_job, theirs), daemon=True)
        # The process ignores Ctrl-C from the beginning, while it still imports.
        in_main = threading.current_thread() is threading.main_thread()  # others may not set signals
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main else None
        try:
            self.process.start()
        finally:
            if in_main:
                signal.signal(signal.SIGINT, before)
        theirs.close()

    def start_chain(self, chain: Chain) -> None:
        self._chain, self.unfinished = chain, list(range(len(chain)))
        with contextlib.suppress(OSError):  # if it has died, the next receive() says so
            self.pipe.send(chain)

    def receive(self) -> bool:
        """Pass one message on; False if the process has died."""
        try:
            place, step, error = self.pipe.recv()
        except (EOFError, OSError):
            return False
        if step is None:
            self.unfinished.remove(place)
        self._on_message(Message(self._chain[place], step, error))
        return True

    def close(self) -> None:
        """End the process, and fail the jobs that have not ended."""
        self.pipe.close()
        self.process.join()
        for place in self.unfinished:
            error = f"the process died (exit status {self.process.exitcode})"
            self._on_message(Message(self._chain[place], None, error))


def _worker_main(run_job: RunJob, pipe: Any) -> None:
    """Receive chains, send (place in the chain, step or None, error)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal interrupts all; the parent ends this one
    with contextlib.suppress(EOFError):
        while True:
            _run_chain(pipe.recv(), run_job, lambda *message: pipe.send(message))


def _run_chain(chain: Chain, run_job: RunJob, send: Callable[[int, Any, str], None]) -> None:
    """Run jobs in order and send news of them; a failed job does not stop the rest."""
    for place, job in enumerate(chain):
        error = ""
        try:
            run_job(job, lambda *step, place=place: send(place, step, ""))
        except Exception as failure:  # a bug in one method must not cost the results of the others
            known = "" if isinstance(failure, UserError) else f"{type(failure).__name__}: "
            error = f"{known}{' '.join(str(failure).split())}"
        send(place, None, error)


# runs chains in a number of processes; a failed job stops neither the others nor the rest of its chain
Engine = Callable[[Sequence[Chain], RunJob, OnMessage, int], None]
ENGINES: dict[str, Engine] = {"serial": serial, "processes": processes}


def default_workers() -> int:
    """Default number of processes: one a core, at most four, as far as the memory suffices.

    Small matrices keep one core busy, not several: two processes with a thread each finished 1.5 times as
    many cells as one with two threads.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(available_threads(), 4, memory // WORKER_BYTES))
