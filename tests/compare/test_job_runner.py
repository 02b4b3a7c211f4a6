"""Jobs: cells of one run together, runs with one CTML in a chain."""

import pickle
from collections.abc import Callable
from pathlib import Path

from metaxcr.compare.cell_store import CellStore
from metaxcr.compare.grid import Grid
from metaxcr.compare.job_runner import JobRunner, group, majority, own_checksums
from metaxcr.compare.plan import expand
from metaxcr.runs.raw_data import read_data

Build = Callable[..., Grid]
AUXILIARY = {"task": "starter_target", "split": "shots", "languages": ["fr", "it"]}
AUX = {"regime": "zero-shot-aux", "settings": {"target": {"auxiliary": AUXILIARY}}}


def labels(grid: Grid) -> list[list[str]]:
    return [[job.label for job in chain] for chain in group(expand(grid))]


def test_languages_together_and_shots_after_one_ctml(grid: Build) -> None:
    assert labels(grid("seeds=[0,1]")) == [
        [f"{method}: es sw, seed {seed}", f"{method}: es sw, k=8, seed {seed}"]
        for method in ("plain", "reinforced")
        for seed in (0, 1)
    ]


def test_what_differs_after_ctml_shares_it(grid: Build) -> None:
    methods = {
        "a": {},
        "b": {"settings": {"finetune": {"steps": 7}}},
        "c": {"settings": {"ctml": {"steps": 7}}},
    }
    found = labels(grid(methods=methods, baseline=None, shots=[8]))
    assert found == [["a: es sw, k=8, seed 3", "b: es sw, k=8, seed 3"], ["c: es sw, k=8, seed 3"]]


def test_one_ctml_serves_several_tested_tasks(grid: Build) -> None:
    other = {"target": {"task": "xcopa", "languages": ["sw"], "shots_split": "val"}}
    targets = {"own": {"languages": ["sw"]}, "other": {"languages": ["sw"], "settings": other}}
    (chain,) = labels(grid(methods={"a": {}}, baseline=None, shots=[0], languages=[], targets=targets))
    assert sorted(chain) == ["a: other sw, seed 3", "a: own sw, seed 3"]


def test_a_tested_auxiliary_language_is_run_for_itself(grid: Build) -> None:
    found = labels(grid(methods={"aux": AUX}, baseline=None, languages=["es", "sw"]))
    assert found == [["aux: es sw, seed 3"]]
    (chain,) = labels(grid(methods={"aux": AUX}, baseline=None, languages=["es", "fr", "sw"]))
    assert chain == ["aux: es sw, seed 3", "aux: fr, seed 3"]


def test_job_names_tell_jobs_apart(grid: Build) -> None:
    names = [job.name for chain in group(expand(grid())) for job in chain]
    fewer = [job.name for chain in group(expand(grid(languages=["es"]))) for job in chain]
    assert len({*names, *fewer}) == len(names) + len(fewer)
    assert [job.config.target.languages for chain in group(expand(grid())) for job in chain] == [
        ["es", "sw"]
    ] * 4


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
    work = JobRunner(tmp_path, CellStore(tmp_path / "cells"), threads=1).run_job
    chains = group(expand(grid()))
    again, jobs = pickle.loads(pickle.dumps((work, chains)))
    assert jobs == chains and again.__self__.folder == tmp_path


def test_the_most_frequent_label_of_what_may_be_seen(grid: Build) -> None:
    cells = expand(grid(methods={"majority": {"kind": "majority"}}, baseline=None, languages=["sw"]))
    for cell in cells:
        loaded = read_data(cell.config, None)
        found = majority(cell, loaded)
        seen = [e.label for e in loaded.english.examples]
        if cell.k:
            shots = loaded.shots[3]
            seen = [e.label for e in loaded.shot_pool["sw"].examples if e.id in shots]
            assert len(seen) == cell.k == found.k == found.total_labels
        best = max(sorted(set(seen)), key=seen.count)
        assert set(found.choices) == {best} and len(found.ids) == 84
