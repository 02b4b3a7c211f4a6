"""Engines: every job ends once, in several processes too, and a process that dies fails its jobs only."""

import multiprocessing
import os
import time
from dataclasses import dataclass

import pytest

from metaxcr.compare import engines
from metaxcr.compare.engines import ENGINES, Ended, Step, default_workers, processes
from metaxcr.errors import UserError


@dataclass(frozen=True)
class Fake:
    """Stands for a job."""

    name: str


def work(job: Fake, listen) -> None:
    listen("step", 1, 2)
    if job.name == "bad":
        raise UserError("what", "where")
    if job.name == "bug":
        raise ZeroDivisionError("two\nlines")
    if job.name == "dies":
        os._exit(9)
    if job.name == "sleeps":
        time.sleep(60)


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_every_job_ends_once(name: str) -> None:
    chains, heard = [[Fake("a"), Fake("bad"), Fake("b")], [Fake("bug")], [Fake("c")]], []
    ENGINES[name](chains, work, heard.append, 2)
    ended = {m.job.name: m.error for m in heard if isinstance(m, Ended)}
    assert ended == {"a": "", "bad": "what (where)", "b": "", "bug": "ZeroDivisionError: two lines", "c": ""}
    assert len([m for m in heard if isinstance(m, Ended)]) == 5
    assert len([m for m in heard if isinstance(m, Step)]) == 5


def test_a_process_that_dies_fails_its_own_jobs() -> None:
    heard = []
    processes([[Fake("a"), Fake("dies"), Fake("b")], [Fake("c")]], work, heard.append, 1)
    ended = {m.job.name: m.error for m in heard if isinstance(m, Ended)}
    assert ended["a"] == ended["c"] == "" and "died (exit status 9)" in ended["dies"] == ended["b"]


def test_an_interrupt_ends_the_processes() -> None:
    def hear(message) -> None:
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        processes([[Fake("sleeps")], [Fake("sleeps")]], work, hear, 2)
    assert time.monotonic() - begun < 50 and not multiprocessing.active_children()


def report_process(job: Fake, listen) -> None:
    listen(str(os.getpid()), 0, 1)


def test_a_process_takes_one_chain_after_another() -> None:
    heard = []
    processes([[Fake(str(n))] for n in range(5)], report_process, heard.append, 2)
    numbers = {m.label for m in heard if isinstance(m, Step)}
    assert len(numbers) <= 2 and str(os.getpid()) not in numbers
    assert len([m for m in heard if isinstance(m, Ended)]) == 5


def test_one_process_a_core_while_memory_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, gigabytes, expected in ((1, 64, 1), (2, 24, 2), (16, 64, 4), (16, 12, 2), (4, 2, 1)):
        sizes = {"SC_PHYS_PAGES": gigabytes * 2**18, "SC_PAGE_SIZE": 4096}
        monkeypatch.setattr(engines, "available_threads", lambda cores=cores: cores)
        monkeypatch.setattr(os, "sysconf", sizes.get)
        assert default_workers() == expected
