import dataclasses
import json

from metaxcr.diagnosis import RULES, Evidence, diagnose

from .conftest import Log
from .test_training import STOPPED


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
