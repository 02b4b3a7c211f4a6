"""Engines: how jobs are carried out; one after another, or in several processes."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Protocol

from metaxcr.compare.job_runner import Job, Listen
from metaxcr.errors import UserError
from metaxcr.hardware import available_threads

Task = Callable[[Job, Listen], None]  # carries a job out; picklable
Chain = Sequence[Job]  # jobs that have to be done in order
WORKER_BYTES = 5 * 2**30  # that a process may take, most of it pages of the trunk cache
PATIENCE = 5.0  # seconds that an interrupted process may take to end


@dataclass(frozen=True)
class Step:
    """A job went on."""

    job: Job
    label: str
    done: int
    total: int


@dataclass(frozen=True)
class Ended:
    """A job is done, or has failed: then ``line`` says why."""

    job: Job
    line: str = ""


Hear = Callable[[Step | Ended], None]


class Engine(Protocol):
    """Carries chains of jobs out; a failed job stops neither the others nor the rest of its chain."""

    def __call__(self, chains: Sequence[Chain], task: Task, hear: Hear, workers: int) -> None:
        """Carry all chains out, and report every step and end.

        Args:
            chains: Their jobs.
            task: Carries one job out.
            hear: Called in this process.
            workers: Processes, for engines that have several.
        """
        ...


def serial(chains: Sequence[Chain], task: Task, hear: Hear, workers: int = 1) -> None:
    """One job after another in this process."""
    for chain in chains:
        _do(chain, task, hear)


def processes(chains: Sequence[Chain], task: Task, hear: Hear, workers: int = 2) -> None:
    """Several processes, each with a chain at a time; an interrupt ends them all.

    A process takes one chain after another and keeps what the next one can use (see
    :mod:`metaxcr.runs.process_cache`). One that dies (killed for its memory, say) fails the jobs it had, and
    another takes its place.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads
    waiting = list(chains)
    running: dict[Any, _Worker] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                worker = _Worker(context, task)
                worker.begin(waiting.pop(0))
                running[worker.pipe] = worker
            for pipe in wait(list(running)):
                worker = running[pipe]
                if not worker.hear(hear):
                    running.pop(pipe).end(hear)
                elif not worker.left and waiting:
                    worker.begin(waiting.pop(0))
                elif not worker.left:
                    running.pop(pipe).end(hear)
    finally:
        for worker in running.values():
            worker.process.terminate()
        for worker in running.values():
            worker.process.join(PATIENCE)
            worker.process.kill()


class _Worker:
    """A process that works on one chain after another, and what it has left to do of the present one.

    Attributes:
        process: It.
        pipe: To it, one each: a process that dies cannot block others.
        left: Places of jobs in its chain that have not ended.
    """

    def __init__(self, context: Any, task: Task) -> None:
        self._chain: Chain = []
        self.left: list[int] = []
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_body, args=(task, theirs), daemon=True)
        with _interrupts_ignored():
            self.process.start()
        theirs.close()

    def begin(self, chain: Chain) -> None:
        """Give it a chain."""
        self._chain, self.left = chain, list(range(len(chain)))
        with contextlib.suppress(OSError):  # it has died: that is heard next
            self.pipe.send(chain)

    def hear(self, hear: Hear) -> bool:
        """Pass a message on; False where the process has closed its end."""
        try:
            place, step, line = self.pipe.recv()
        except (EOFError, OSError):
            return False
        if step is None:
            self.left.remove(place)
            hear(Ended(self._chain[place], line))
        else:
            hear(Step(self._chain[place], *step))
        return True

    def end(self, hear: Hear) -> None:
        """Let it go, and fail what is left."""
        self.pipe.close()
        self.process.join()
        for place in self.left:
            line = f"the process died (exit status {self.process.exitcode})"
            hear(Ended(self._chain[place], line))


ENGINES: dict[str, Engine] = {"serial": serial, "processes": processes}


def default_workers() -> int:
    """Processes where the user names none: one for a core, at most four, as far as the memory goes round.

    Small matrices keep one core busy, not several: two processes with a thread each finished 1.5 times as
    many cells as one with two threads.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(available_threads(), 4, memory // WORKER_BYTES))


def _do(chain: Chain, task: Task, hear: Hear) -> None:
    for job in chain:
        try:
            task(job, lambda label, done, total: hear(Step(job, label, done, total)))  # noqa: B023
        except UserError as error:
            hear(Ended(job, " ".join(str(error).split())))
        except Exception as error:  # a bug in one method must not cost the others' results
            hear(Ended(job, f"{type(error).__name__}: {' '.join(str(error).split())}"))
        else:
            hear(Ended(job))


def _body(task: Task, pipe: Any) -> None:
    """Of a process: takes chains, sends (place in the chain, step or None, line)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent ends this one
    while True:
        try:
            chain: Chain = pipe.recv()
        except EOFError:
            return
        places = {id(job): place for place, job in enumerate(chain)}

        def send(message: Step | Ended, places: dict[int, int] = places) -> None:
            if isinstance(message, Step):
                pipe.send((places[id(message.job)], (message.label, message.done, message.total), ""))
            else:
                pipe.send((places[id(message.job)], None, message.line))

        _do(chain, task, send)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A process that is started in here ignores Ctrl-C from its first moment, when it still imports."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
