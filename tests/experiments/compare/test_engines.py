"""Engines: every job ends once, in several processes too, and a process that dies fails its jobs only."""

import os
import time
from dataclasses import dataclass

import pytest

from metaxcr.errors import UserError
from metaxcr.experiments.compare.engines import ENGINES, Ended, Step, processes


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
    ended = {m.job.name: m.line for m in heard if isinstance(m, Ended)}
    assert ended == {"a": "", "bad": "what (where)", "b": "", "bug": "ZeroDivisionError: two lines", "c": ""}
    assert len([m for m in heard if isinstance(m, Ended)]) == 5
    assert len([m for m in heard if isinstance(m, Step)]) == 5


def test_a_process_that_dies_fails_its_own_jobs() -> None:
    heard = []
    processes([[Fake("a"), Fake("dies"), Fake("b")], [Fake("c")]], work, heard.append, 1)
    ended = {m.job.name: m.line for m in heard if isinstance(m, Ended)}
    assert ended["a"] == ended["c"] == "" and "died (exit status 9)" in ended["dies"] == ended["b"]


def test_an_interrupt_ends_the_processes() -> None:
    def hear(message) -> None:
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        processes([[Fake("sleeps")], [Fake("sleeps")]], work, hear, 2)
    assert time.monotonic() - begun < 50
