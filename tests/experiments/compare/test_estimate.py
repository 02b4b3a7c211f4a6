"""Estimates: more steps, languages and learners with a second order cost more; CTML counts once a chain."""

from collections.abc import Callable

from metaxcr.experiments.compare.compare import Comparison
from metaxcr.experiments.compare.estimate import cell_estimates, ctml_passes, job_passes
from metaxcr.experiments.compare.grid import Grid
from metaxcr.experiments.compare.jobs import group
from metaxcr.experiments.compare.plan import expand

Build = Callable[..., Grid]


def passes(grid: Grid) -> list[int]:
    return [job_passes(job, with_ctml=i == 0) for chain in group(expand(grid)) for i, job in enumerate(chain)]


def test_what_costs_more_is_estimated_higher(grid: Build) -> None:
    usual = passes(grid(methods={"a": {}}, baseline=None))
    for change in ("settings.ctml.steps=9", "settings.ctml.learner=maml", "settings.ctml.inner_steps=3"):
        assert passes(grid(change, methods={"a": {}}, baseline=None))[0] > usual[0]
    assert passes(grid("settings.sampler.kind=uniform", methods={"a": {}}, baseline=None))[0] < usual[0]
    assert passes(grid(methods={"a": {}}, baseline=None, languages=["sw"]))[0] < usual[0]
    assert passes(grid("settings.finetune.steps=9", methods={"a": {}}, baseline=None))[1] > usual[1]
    assert passes(grid(methods={"a": {"kind": "majority"}}, baseline=None))[0] == 0


def test_ctml_counts_once_for_all_cells_that_share_it(grid: Build) -> None:
    made = grid(methods={"a": {}}, baseline=None, shots=[0, 8])
    rows = cell_estimates(Comparison(made, expand(made)))
    config = expand(made)[0].config
    without = grid("settings.ctml.steps=0", methods={"a": {}}, baseline=None, shots=[0, 8])
    others = cell_estimates(Comparison(without, expand(without)))
    more = sum(row["token_passes"] for row in rows) - sum(row["token_passes"] for row in others)
    assert abs(more - ctml_passes(config)) <= len(rows)
    assert {row["state"] for row in rows} == {"to run"} and len({row["key"] for row in rows}) == 4


def test_what_another_method_gives_already_costs_nothing(grid: Build) -> None:
    made = grid(methods={"a": {}, "the same": {}}, baseline=None)
    rows = cell_estimates(Comparison(made, expand(made)))
    assert [row["state"] for row in rows] == ["to run"] * 4 + ["shared"] * 4
