import pytest

from metaxcr.diagnosis.sampler import collapsed, mismatched_sources, never_learned

from .conftest import Log


def test_a_healthy_log_gives_nothing(log: Log) -> None:
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
    assert "sampler.rate" in found.settings


def test_with_rewards_that_tell_nothing_apart_it_had_nothing_to_learn(log: Log) -> None:
    (found,) = never_learned(log(probabilities=lambda t: [0.25] * 4))
    assert found.severity == "note"
    assert "nothing to learn" in found.says


@pytest.mark.parametrize("kind", ["uniform", "proportional", "temperature"])
def test_samplers_that_never_learn_are_not_blamed_for_it(log: Log, kind: str) -> None:
    evidence = log(probabilities=lambda t: [0.25] * 4, config={"sampler": {"kind": kind}})
    assert never_learned(evidence) == []


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
