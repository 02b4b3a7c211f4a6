"""Which data a cell of a larger run names, so that its hash is that of the run that gives it alone."""

from collections.abc import Callable

from metaxcr.experiments.compare.grid import Grid
from metaxcr.experiments.compare.plan import expand
from metaxcr.experiments.compare.workshop import own_checksums

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
