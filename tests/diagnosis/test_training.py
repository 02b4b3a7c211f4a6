import math

import pytest

from metaxcr.diagnosis.training import diverged, diverging, too_few_steps, unstable_inner_loop

from .conftest import Log

STOPPED = {
    "stage": "ctml",
    "seed": 3,
    "step": 17,
    "diverged": "query loss",
    "change": ["ctml.inner_rate", "ctml.outer_rate"],
}


def test_a_healthy_log_gives_nothing(log: Log) -> None:
    evidence = log()
    for rule in (diverged, diverging, too_few_steps, unstable_inner_loop):
        assert rule(evidence) == []


def test_a_run_that_stopped_says_where_and_what_to_lower(log: Log) -> None:
    (found,) = diverged(log(extra=(STOPPED,)))
    assert found.severity == "problem"
    assert "ctml, seed 3, stopped at step 17: the query loss" in found.says
    assert found.settings == ("ctml.inner_rate", "ctml.outer_rate")
    assert all(name in found.change for name in found.settings)


@pytest.mark.parametrize(
    ("query", "reported"),
    [
        (lambda t: 0.9 + t / 100, True),
        (lambda t: 2.0, False),  # bad from the start, but it does not rise
        (lambda t: 0.5 + t / 600, False),  # rises, but stays below guessing
    ],
)
def test_a_loss_that_rises_above_guessing_diverges(log: Log, query: object, reported: bool) -> None:
    found = diverging(log(query=query))
    assert [f.rule for f in found] == ["diverging"] * reported
    if reported:
        assert found[0].settings == ("ctml.outer_rate", "ctml.inner_rate")


@pytest.mark.parametrize(("every", "reported"), [(2, True), (3, True), (5, False)])
def test_an_inner_loop_that_often_raises_its_loss_is_unstable(log: Log, every: int, reported: bool) -> None:
    found = unstable_inner_loop(log(inner=lambda t: [1.0, 1.4] if t % every == 0 else [1.0, 0.9]))
    assert bool(found) == reported
    if reported:
        assert found[0].evidence == {"risen": 240 // every, "episodes": 240}
        assert "ctml.inner_rate" in found[0].settings


def test_a_path_of_one_loss_is_no_evidence(log: Log) -> None:
    assert unstable_inner_loop(log(inner=lambda t: [1.0])) == []


def test_a_loss_that_still_falls_asks_for_more_steps(log: Log) -> None:
    (found,) = too_few_steps(log(query=lambda t: 1.0 - t / 400))
    assert (found.severity, found.settings) == ("note", ("ctml.steps",))
    assert too_few_steps(log(query=lambda t: math.exp(-t / 10))) == []
    assert too_few_steps(log(steps=20, query=lambda t: 1.0 - t / 40)) == []


def test_each_training_is_judged_by_itself(log: Log) -> None:
    """CLML on auxiliary languages and CLML on shots are apart from CTML and from each other."""
    aux = log(query=lambda t: 1.0 - t / 400).events
    for event in aux:
        event |= {"stage": "clml", "adaptation": "clml.without-sw"}
    shots = log(inner=lambda t: [1.0, 2.0], steps=12).events
    for event in shots:
        event |= {"stage": "clml", "language": "sw"}
    evidence = log(extra=(*aux, *shots))
    (fewer,) = too_few_steps(evidence)
    assert fewer.says.startswith("clml clml.without-sw: ")
    assert fewer.settings == ("clml.steps",)
    (unstable,) = unstable_inner_loop(evidence)
    assert unstable.says.startswith("clml on shots: ")
    assert unstable.settings == ("clml.inner_rate", "clml.inner_steps")
