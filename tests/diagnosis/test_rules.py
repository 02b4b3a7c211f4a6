import dataclasses
import json
import math
from typing import Any

import pytest
from tests.diagnosis.conftest import Log

from metaxcr.config.schema import LEARNING_SAMPLERS, SamplerSettings
from metaxcr.diagnosis.findings import Evidence
from metaxcr.diagnosis.rules import (
    RULES,
    alignment_outweighs,
    collapsed,
    degenerate,
    diagnose,
    diverged,
    diverging,
    mismatched_sources,
    never_learned,
    overfitted_shots,
    scorer_runaway,
    too_few_rewards,
    too_few_steps,
    unstable_inner_loop,
    weak_alignment,
)
from metaxcr.sampling import SAMPLERS, make_sampler

STOPPED = {
    "stage": "ctml",
    "seed": 3,
    "step": 17,
    "diverged": "query loss",
    "change": ["ctml.inner_lr", "ctml.outer_lr"],
}


def test_a_healthy_log_gives_nothing(log: Log) -> None:
    evidence = log()
    for rule in (diverged, diverging, too_few_steps, unstable_inner_loop):
        assert rule(evidence) == []


def test_a_run_that_stopped_says_where_and_what_to_lower(log: Log) -> None:
    (found,) = diverged(log(extra=(STOPPED,)))
    assert found.severity == "problem"
    assert "ctml, seed 3, stopped at step 17: the query loss" in found.says
    assert found.settings == ("ctml.inner_lr", "ctml.outer_lr")
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
        assert found[0].settings == ("ctml.outer_lr", "ctml.inner_lr")


@pytest.mark.parametrize(("every", "reported"), [(2, True), (3, True), (5, False)])
def test_an_inner_loop_that_often_raises_its_loss_is_unstable(log: Log, every: int, reported: bool) -> None:
    found = unstable_inner_loop(log(inner=lambda t: [1.0, 1.4] if t % every == 0 else [1.0, 0.9]))
    assert bool(found) == reported
    if reported:
        assert found[0].evidence == {"risen": 240 // every, "episodes": 240}
        assert "ctml.inner_lr" in found[0].settings


def test_a_path_of_one_loss_is_no_evidence(log: Log) -> None:
    assert unstable_inner_loop(log(inner=lambda t: [1.0])) == []


def health(**numbers: float) -> tuple[dict[str, Any], ...]:
    """Twelve episodes of CTML that were looked at."""
    common = {"stage": "ctml", "seed": 0, "query_loss": 0.8, "inner_losses": [1.0, 0.9], "health": numbers}
    return tuple(common | {"step": 10 * n} for n in range(12))


@pytest.mark.parametrize(("cosine", "reported"), [(0.9998, True), (0.97, False)])
def test_an_inner_loop_that_hardly_moves_is_multi_task_training(
    log: Log, cosine: float, reported: bool
) -> None:
    found = degenerate(log(extra=health(plain_cosine=cosine, moved=0.002, query_drop=0.001)))
    assert [f.rule for f in found] == ["inner-loop-idle"] * reported
    if reported:
        assert "cosine 0.9998" in found[0].says and "moves phi by 0.002" in found[0].says
        assert found[0].settings == ("ctml.inner_lr", "ctml.inner_steps")


def test_learners_without_inner_loop_are_not_idle(log: Log) -> None:
    assert degenerate(log(extra=health(support_drop=0.1))) == []


@pytest.mark.parametrize(("ratio", "every", "reported"), [(3.0, 1, True), (3.0, 4, False), (0.9, 1, False)])
def test_alignment_is_weighed_over_all_episodes(log: Log, ratio: float, every: int, reported: bool) -> None:
    config = {"ctml": {"alignment_every": every}}
    found = alignment_outweighs(log(extra=health(alignment_ratio=ratio), config=config))
    assert [f.rule for f in found] == ["alignment-outweighs"] * reported


def test_a_scorer_far_from_the_identity_ran_away(log: Log) -> None:
    assert scorer_runaway(log(extra=health(scorer_distance=0.2))) == []
    (found,) = scorer_runaway(log(extra=health(scorer_distance=0.9)))
    assert found.settings == ("ctml.scorer_lr",) and "0.90 times" in found.says


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
    assert unstable.settings == ("clml.inner_lr", "clml.inner_steps")


def test_a_healthy_log_gives_nothing_sampler(log: Log) -> None:
    evidence = log()
    assert mismatched_sources(evidence) == collapsed(evidence) == never_learned(evidence) == []


def test_a_source_that_harms_is_named_with_its_numbers(log: Log) -> None:
    (found,) = mismatched_sources(log(reward=lambda t, s: -0.01 if s == "c" else 0.01))
    assert (found.rule, found.severity) == ("source-mismatch", "problem")
    assert found.evidence["source"] == "c"
    assert found.evidence["reward"]["high"] < 0
    assert found.says.startswith("c: mean reward -0.011 [-0.0")
    assert "sources" in found.settings


def test_a_source_that_helps_less_is_a_note_also_where_rewards_shrink(log: Log) -> None:
    def reward(t: int, source: str) -> float:
        return (0.06 if source != "c" else 0.03) * (1 - t / 150)

    (found,) = mismatched_sources(log(reward=reward))
    assert (found.severity, found.evidence["source"]) == ("note", "c")
    assert found.evidence["against_others"]["high"] < 0 < found.evidence["reward"]["low"]


def test_chance_differences_are_rarely_reported(log: Log) -> None:
    reports = [mismatched_sources(log(seeds=(2 * n, 2 * n + 1))) for n in range(40)]
    assert sum(map(bool, reports)) <= 6  # 5 % a log, by the level


def test_a_fixed_sampler_is_told_that_one_that_learns_could_help(log: Log) -> None:
    evidence = log(reward=lambda t, s: -0.02 if s == "c" else 0.01, config={"sampler": {"kind": "uniform"}})
    (found,) = mismatched_sources(evidence)
    assert "sampler.kind: reinforce" in found.change


def early(t: int) -> list[float]:
    return [0.94, 0.02, 0.02, 0.02] if t > 20 else [0.25] * 4


def test_a_policy_that_decides_before_it_can_know_has_collapsed(log: Log) -> None:
    first, second = collapsed(log(probabilities=early))
    assert (first.severity, first.evidence["source"], first.evidence["step"]) == ("problem", "a", 21)
    assert second.evidence["seed"] == 1
    assert first.evidence["entropy"] < 0.3
    assert "sampler.entropy" in first.settings


def test_a_policy_that_its_rewards_bear_out_is_only_noted(log: Log) -> None:
    reports = collapsed(log(probabilities=early, reward=lambda t, s: 0.05 if s == "a" else 0.0))
    assert {f.severity for f in reports} == {"note"}


def test_the_same_decision_late_is_no_collapse(log: Log) -> None:
    assert collapsed(log(probabilities=lambda t: early(t - 60))) == []


def test_the_floor_is_taken_off_before_the_policy_is_judged(log: Log) -> None:
    """With a floor of 0.2 over four sources, no probability can exceed 0.85."""
    config = {"sampler": {"kind": "reinforce", "floor": 0.2}}
    floored = log(probabilities=lambda t: [0.8 * p + 0.05 for p in early(t)], config=config)
    assert len(collapsed(floored)) == 2


def test_a_policy_that_stays_uniform_despite_clear_rewards_never_learned(log: Log) -> None:
    (found,) = never_learned(
        log(probabilities=lambda t: [0.25] * 4, reward=lambda t, s: 0.03 if s == "a" else 0.0)
    )
    assert found.severity == "problem"
    assert found.evidence["p_rewards_differ"] < 0.01
    assert "sampler.lr" in found.settings


def test_with_rewards_that_tell_nothing_apart_it_had_nothing_to_learn(log: Log) -> None:
    (found,) = never_learned(log(probabilities=lambda t: [0.25] * 4))
    assert found.severity == "note"
    assert "nothing to learn" in found.says


@pytest.mark.parametrize("kind", ["uniform", "proportional", "temperature"])
def test_samplers_that_never_learn_are_not_blamed_for_it(log: Log, kind: str) -> None:
    evidence = log(probabilities=lambda t: [0.25] * 4, config={"sampler": {"kind": kind}})
    assert never_learned(evidence) == []


@pytest.mark.parametrize(("steps", "reported"), [(39, True), (40, False)])
def test_a_sampler_with_few_rewards_cannot_know(log: Log, steps: int, reported: bool) -> None:
    """Ten rewards for each of the four sources are enough, in every seed."""
    found = too_few_rewards(log(steps=steps, probabilities=lambda t: [0.25] * 4))
    assert [f.rule for f in found] == ["too-few-rewards"] * reported
    if reported:
        assert "39 rewards for 4 sources" in found[0].says


def test_without_rewards_nothing_was_asked_of_the_policy(log: Log) -> None:
    evidence = log(probabilities=lambda t: [0.25] * 4)
    for event in evidence.events:
        event["reward"] = None
    assert never_learned(evidence) == []


def test_short_logs_and_per_language_runs_say_nothing_about_the_policy(log: Log) -> None:
    assert never_learned(log(steps=20, probabilities=lambda t: [0.25] * 4)) == []
    assert collapsed(log(steps=20, probabilities=lambda t: [0.97, 0.01, 0.01, 0.01])) == []


def test_rewards_of_all_sources_are_all_evidence(log: Log) -> None:
    evidence = log()
    for event in evidence.events:
        event["rewards"] = {s: -0.02 + 0.001 * (event["step"] % 7) if s == "d" else 0.01 for s in "abcd"}
        event["reward"] = None
    (found,) = mismatched_sources(evidence)
    assert found.evidence["source"] == "d"
    assert found.evidence["episodes"] == 240


def test_weakly_aligned_languages_are_named_worst_first(log: Log) -> None:
    (found,) = weak_alignment(log(alignment={"it": 0.1, "sw": 0.7, "qu": 0.9}))
    assert list(found.evidence) == ["qu", "sw"]
    assert "far apart in qu 0.9" in found.says
    assert "ctml.alignment" in found.settings


def test_well_aligned_languages_and_logs_without_alignment_say_nothing(log: Log) -> None:
    assert weak_alignment(log(alignment={"it": 0.1, "sw": 0.45})) == []
    evidence = log()
    for event in evidence.events:
        del event["alignment_loss"]
    assert weak_alignment(evidence) == []


def test_only_the_end_of_the_training_counts(log: Log) -> None:
    evidence = log(alignment={"sw": 0.9})
    for event in evidence.events:
        if event["step"] > 80:
            event["alignment_loss"] -= 0.8
    assert weak_alignment(evidence) == []


def measured(language: str, share: float, stack: str, layer: int = 2) -> dict[str, Any]:
    interval = [share - 0.03, share + 0.03]
    return {
        "language": language,
        "layer": layer,
        "stack": stack,
        "retrieval": share,
        "ci95": interval,
        "n": 1012,
    }


def test_what_was_measured_counts_more_than_the_training_loss(log: Log) -> None:
    """With the task adapter, where it was measured, and after the last layer."""
    rows = [measured("sw", 0.2, "encoder"), measured("sw", 0.8, "task"), measured("qu", 0.9, "task", 1)]
    rows.append(measured("qu", 0.3, "task"))
    (found,) = weak_alignment(dataclasses.replace(log(alignment={"sw": 0.9}), alignment=rows))
    assert "among 1012 (task): qu 30 %" in found.says
    assert found.evidence.keys() == {"qu"}
    fine = [measured("sw", 0.48, "task"), measured("it", 0.9, "task")]
    assert weak_alignment(dataclasses.replace(log(alignment={"sw": 0.9}), alignment=fine)) == []


def finetuned(loss: float) -> tuple[dict[str, Any], ...]:
    about = {"stage": "finetune", "language": "sw", "k": 16}
    path = [0.9, 0.8, 0.7, loss]
    return tuple(
        {**about, "seed": seed, "step": step, "loss": x} for seed in (0, 1) for step, x in enumerate(path)
    )


def difference(mean: float, half: float) -> dict[str, Any]:
    row = {"a": "few-shot/finetune/k=16", "b": "zero-shot/ctml", "data": "repaired"}
    return {"differences": [row | {"mean": mean, "ci95": [mean - half, mean + half]}]}


@pytest.mark.parametrize(
    ("loss", "results", "severity"),
    [
        (0.01, {}, "note"),  # known by heart, and nothing speaks for it yet
        (0.01, difference(0.03, 0.01), None),  # by heart, and it helped
        (0.01, difference(-0.01, 0.02), "note"),
        (0.01, difference(-0.05, 0.02), "problem"),
        (0.60, difference(-0.05, 0.02), "problem"),  # surely worse, whatever the loss
        (0.60, difference(-0.01, 0.02), None),
        (0.60, {}, None),
    ],
)
def test_shots_by_heart(log: Log, loss: float, results: dict[str, Any], severity: str | None) -> None:
    found = overfitted_shots(log(extra=finetuned(loss), results=results))
    assert [f.severity for f in found] == ([severity] if severity else [])
    if found:
        assert found[0].evidence["loss"] == pytest.approx(loss)
        assert found[0].evidence["fine_tunings"] == 2
        assert "finetune.lr" in found[0].settings


def test_without_fine_tuning_there_is_nothing_to_say(log: Log) -> None:
    assert overfitted_shots(log(results=difference(-0.05, 0.02))) == []


def test_problems_come_before_notes_and_all_are_plain_data(log: Log) -> None:
    evidence = log(
        query=lambda t: 1.0 - t / 400,
        probabilities=lambda t: [0.25] * 4,
        reward=lambda t, s: -0.02 if s == "b" else 0.01,
        alignment={"qu": 0.9},
        extra=(STOPPED,),
    )
    found = diagnose(evidence)
    assert [(f.severity, f.rule) for f in found] == [
        ("problem", "diverged"),
        ("problem", "source-mismatch"),
        ("problem", "sampler-never-learned"),
        ("problem", "weak-alignment"),
        ("note", "too-few-steps"),
    ]
    assert json.loads(json.dumps([f.record() for f in found]))[0]["settings"] == STOPPED["change"]


def test_healthy_empty_and_unfinished_runs_are_no_trouble(log: Log) -> None:
    assert diagnose(log()) == []
    assert diagnose(log(steps=3)) == []
    for rule in RULES:
        assert rule(Evidence([])) == []


def test_the_rules_leave_the_evidence_alone(log: Log) -> None:
    evidence = log(extra=(STOPPED,))
    before = json.dumps(dataclasses.asdict(evidence))
    diagnose(evidence)
    assert json.dumps(dataclasses.asdict(evidence)) == before


def test_old_events_without_newer_keys_can_be_read(log: Log) -> None:
    evidence = log()
    for event in evidence.events:
        for name in ("inner_losses", "alignment_loss", "alignment_language"):
            del event[name]
    assert diagnose(evidence) == []


@pytest.mark.parametrize("kind", SAMPLERS)
def test_the_samplers_that_should_learn_are_those_that_want_rewards(kind: Any) -> None:
    assert make_sampler(SamplerSettings(kind=kind), [1, 2]).wants_reward == (kind in LEARNING_SAMPLERS)
