"""Engines: how jobs are carried out; one after another, or in several processes."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Protocol

from metaxcr.errors import UserError
from metaxcr.experiments.compare.jobs import Job, Listen

Task = Callable[[Job, Listen], None]  # carries a job out; picklable
Chain = Sequence[Job]  # jobs that have to be done in order


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
    """Several processes, a chain each at a time; an interrupt ends them all.

    A process that dies (killed for its memory, say) fails the jobs it had, and another takes its place.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads
    waiting = list(chains)
    running: dict[Any, _Worker] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                worker = _Worker(context, waiting.pop(0), task)
                running[worker.reader] = worker
            for reader in wait(list(running)):
                if not running[reader].hear(hear):
                    running.pop(reader).end(hear)
    finally:
        for worker in running.values():
            worker.process.terminate()
            worker.process.join()


class _Worker:
    """A process that works on one chain, and what it has left to do."""

    def __init__(self, context: Any, chain: Chain, task: Task) -> None:
        self._chain, self._left = chain, list(range(len(chain)))
        self.reader, writer = context.Pipe(duplex=False)  # one each: a process that dies cannot block others
        self.process = context.Process(target=_body, args=(chain, task, writer), daemon=True)
        self.process.start()
        writer.close()

    def hear(self, hear: Hear) -> bool:
        """Pass a message on; False where the process has closed its end."""
        try:
            place, step, line = self.reader.recv()
        except (EOFError, OSError):
            return False
        if step is None:
            self._left.remove(place)
            hear(Ended(self._chain[place], line))
        else:
            hear(Step(self._chain[place], *step))
        return True

    def end(self, hear: Hear) -> None:
        """Fail what is left."""
        self.process.join()
        for place in self._left:
            line = f"the process died (exit status {self.process.exitcode})"
            hear(Ended(self._chain[place], line))


ENGINES: dict[str, Engine] = {"serial": serial, "processes": processes}


def default_workers() -> int:
    """Processes where the user names none: one for two cores."""
    return max(1, (os.cpu_count() or 1) // 2)


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


def _body(chain: Chain, task: Task, writer: Any) -> None:
    """Of a process: sends (place in the chain, step or None, line)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent ends this one
    places = {id(job): place for place, job in enumerate(chain)}

    def send(message: Step | Ended) -> None:
        if isinstance(message, Step):
            writer.send((places[id(message.job)], (message.label, message.done, message.total), ""))
        else:
            writer.send((places[id(message.job)], None, message.line))

    _do(chain, task, send)
