"""Which data a cell of a larger run names, so that its hash is that of the run that gives it alone."""

import pickle
from collections.abc import Callable
from pathlib import Path

from metaxcr.experiments.compare.grid import Grid
from metaxcr.experiments.compare.jobs import group
from metaxcr.experiments.compare.plan import expand
from metaxcr.experiments.compare.store import CellStore
from metaxcr.experiments.compare.workshop import Workshop, own_checksums

Build = Callable[..., Grid]
CHECKSUMS = {name: "0" for name in (
    "starter_social/train/en", "starter_target/test/es", "starter_target/test/sw", "starter_target/shots/es",
    "starter_target/shots/sw", "starter_target/shots/fr", "parallel", "shots",
)}  # fmt: skip


def test_other_tested_languages_are_left_out(grid: Build) -> None:
    cell = next(cell for cell in expand(grid()) if cell.language == "sw" and cell.k)
    left = set(CHECKSUMS) - set(own_checksums(cell, CHECKSUMS))
    assert left == {"starter_target/test/es", "starter_target/shots/es", "starter_target/shots/fr"}


def test_auxiliary_languages_of_the_same_set_stay(grid: Build) -> None:
    auxiliary = {"task": "starter_target", "split": "shots", "languages": ["fr"]}
    method = {"regime": "zero-shot-aux", "settings": {"target": {"auxiliary": auxiliary}}}
    cell = next(c for c in expand(grid(methods={"a": method}, baseline=None)) if c.language == "sw")
    left = set(CHECKSUMS) - set(own_checksums(cell, CHECKSUMS))
    assert left == {"starter_target/test/es", "starter_target/shots/es"}


def test_work_and_jobs_go_to_other_processes(grid: Build, tmp_path: Path) -> None:
    work = Workshop(tmp_path, CellStore(tmp_path / "cells"), threads=1).carry_out
    chains = group(expand(grid()))
    again, jobs = pickle.loads(pickle.dumps((work, chains)))
    assert jobs == chains and again.__self__.folder == tmp_path
