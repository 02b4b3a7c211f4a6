"""Engines: how jobs are carried out; one after another, or in several processes."""

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    outbox: Any = context.Queue()
    waiting = list(range(len(chains)))
    running: dict[int, Any] = {}
    left = {index: list(range(len(chain))) for index, chain in enumerate(chains)}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                index = waiting.pop(0)
                process = context.Process(
                    target=_worker, args=(index, chains[index], task, outbox), daemon=True
                )
                process.start()
                running[index] = process
            ended = _drain(outbox, chains, left, hear)
            for index, process in list(running.items()):
                if ended or process.is_alive():
                    continue  # what it has sent is heard first
                process.join()
                _drain(outbox, chains, left, hear)
                for place in left.pop(index):
                    hear(Ended(chains[index][place], f"the process died (exit status {process.exitcode})"))
                running.pop(index)
    finally:
        for process in running.values():
            process.terminate()
            process.join()


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


def _worker(index: int, chain: Chain, task: Task, outbox: Any) -> None:
    """Body of a process: sends (chain, place, step or None, line)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent ends this one
    places = {id(job): place for place, job in enumerate(chain)}

    def send(message: Step | Ended) -> None:
        if isinstance(message, Step):
            outbox.put((index, places[id(message.job)], (message.label, message.done, message.total), ""))
        else:
            outbox.put((index, places[id(message.job)], None, message.line))

    _do(chain, task, send)
    outbox.close()
    outbox.join_thread()


def _drain(outbox: Any, chains: Sequence[Chain], left: dict[int, list[int]], hear: Hear) -> bool:
    """Hear what processes have sent; whether there was anything."""
    heard = False
    while True:
        try:
            index, place, step, line = outbox.get(timeout=0.0 if heard else 0.2)
        except queue.Empty:
            return heard
        heard, job = True, chains[index][place]
        if step is None:
            left[index].remove(place)
            hear(Ended(job, line))
        else:
            hear(Step(job, *step))
