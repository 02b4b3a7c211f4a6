import dataclasses
from typing import Any

import pytest

from metaxcr.diagnosis.transfer import overfitted_shots, weak_alignment

from .conftest import Log


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
        assert "finetune.rate" in found[0].settings


def test_without_fine_tuning_there_is_nothing_to_say(log: Log) -> None:
    assert overfitted_shots(log(results=difference(-0.05, 0.02))) == []
