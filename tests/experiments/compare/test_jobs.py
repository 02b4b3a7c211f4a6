"""Jobs: cells of one run together, runs with one CTML in a chain."""

from collections.abc import Callable

from metaxcr.experiments.compare.grid import Grid
from metaxcr.experiments.compare.jobs import group
from metaxcr.experiments.compare.plan import expand

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
