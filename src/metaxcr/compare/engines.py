"""Engines, which run jobs: one after another, or in several processes."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from metaxcr.compare.job_runner import Job, OnStep
from metaxcr.errors import UserError
from metaxcr.hardware import available_threads

RunJob = Callable[[Job, OnStep], None]  # picklable
Chain = Sequence[Job]  # jobs that are run in order
WORKER_BYTES = 5 * 2**30  # memory of a process, most of it pages of the trunk cache
JOIN_SECONDS = 5.0  # that an interrupted process has to end


@dataclass(frozen=True)
class Step:
    """Progress of a job."""

    job: Job
    label: str
    done: int
    total: int


@dataclass(frozen=True)
class Ended:
    """A job is done, or has failed with an error message."""

    job: Job
    error: str = ""


OnMessage = Callable[[Step | Ended], None]  # called in the process that started the engine
# runs chains in a number of processes; a failed job stops neither the others nor the rest of its chain
Engine = Callable[[Sequence[Chain], RunJob, OnMessage, int], None]


def serial(chains: Sequence[Chain], run_job: RunJob, on_message: OnMessage, workers: int = 1) -> None:
    """One job after another in this process."""
    for chain in chains:
        _run_chain(chain, run_job, on_message)


def processes(chains: Sequence[Chain], run_job: RunJob, on_message: OnMessage, workers: int = 2) -> None:
    """Several processes, each with one chain at a time; an interrupt ends them all.

    A process takes one chain after another and keeps what the next one can use (see
    :class:`metaxcr.runs.raw_data.ProcessCache`). If one dies (for instance, killed for its memory), the jobs
    it had fail and another takes its place.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads
    waiting = list(chains)
    running: dict[Any, _Worker] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                worker = _Worker(context, run_job)
                worker.start_chain(waiting.pop(0))
                running[worker.pipe] = worker
            for pipe in wait(list(running)):
                worker = running[pipe]
                if worker.receive(on_message) and (worker.unfinished or waiting):
                    if not worker.unfinished:
                        worker.start_chain(waiting.pop(0))
                else:
                    running.pop(pipe).close(on_message)
    finally:
        for worker in running.values():
            worker.process.terminate()
        for worker in running.values():
            worker.process.join(JOIN_SECONDS)
            worker.process.kill()


class _Worker:
    """A process that runs one chain after another; ``unfinished`` are places in the present chain."""

    def __init__(self, context: Any, run_job: RunJob) -> None:
        self._chain: Chain = []
        self.unfinished: list[int] = []
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_worker_main, args=(run_job, theirs), daemon=True)
        with _interrupts_ignored():
            self.process.start()
        theirs.close()

    def start_chain(self, chain: Chain) -> None:
        self._chain, self.unfinished = chain, list(range(len(chain)))
        with contextlib.suppress(OSError):  # if it has died, the next receive() says so
            self.pipe.send(chain)

    def receive(self, on_message: OnMessage) -> bool:
        """Pass one message on; False if the process has died."""
        try:
            place, step, error = self.pipe.recv()
        except (EOFError, OSError):
            return False
        if step is None:
            self.unfinished.remove(place)
            on_message(Ended(self._chain[place], error))
        else:
            on_message(Step(self._chain[place], *step))
        return True

    def close(self, on_message: OnMessage) -> None:
        """End the process, and fail the jobs that have not ended."""
        self.pipe.close()
        self.process.join()
        for place in self.unfinished:
            error = f"the process died (exit status {self.process.exitcode})"
            on_message(Ended(self._chain[place], error))


ENGINES: dict[str, Engine] = {"serial": serial, "processes": processes}


def default_workers() -> int:
    """Default number of processes: one a core, at most four, as far as the memory suffices.

    Small matrices keep one core busy, not several: two processes with a thread each finished 1.5 times as
    many cells as one with two threads.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(available_threads(), 4, memory // WORKER_BYTES))


def _run_chain(chain: Chain, run_job: RunJob, on_message: OnMessage) -> None:
    for job in chain:
        try:
            run_job(job, lambda label, done, total: on_message(Step(job, label, done, total)))  # noqa: B023
        except UserError as error:
            on_message(Ended(job, " ".join(str(error).split())))
        except Exception as error:  # a bug in one method must not cost the results of the others
            on_message(Ended(job, f"{type(error).__name__}: {' '.join(str(error).split())}"))
        else:
            on_message(Ended(job))


def _worker_main(run_job: RunJob, pipe: Any) -> None:
    """Receive chains, send (place in the chain, step or None, error)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal interrupts all; the parent ends this one
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
                pipe.send((places[id(message.job)], None, message.error))

        _run_chain(chain, run_job, send)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A process started in this block ignores Ctrl-C from the beginning, while it still imports."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
