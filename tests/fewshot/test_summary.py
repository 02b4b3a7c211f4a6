"""The summary of an adaptation, and its sentences."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.fewshot.conftest import SETTINGS

from metaxcr.fewshot.adaptation import AdaptedModel
from metaxcr.fewshot.model_selection import SYSTEMS, p_value
from metaxcr.fewshot.summary import (
    Summary,
    adaptation_summary,
    advice,
    calibration_message,
    certainty,
    data_issues,
    threshold_message,
)


def test_it_is_plain_data_and_names_everything(summary: Summary) -> None:
    assert json.loads(json.dumps(summary)) == summary
    assert [s["name"] for s in summary["systems"]] == list(SYSTEMS)
    assert summary["examples"] == summary["different"] == 36 and summary["choices"] == [2]
    assert set(summary["differences"]) == {"adapted minus unadapted", "adapted minus similarity"}
    assert all(0 <= low <= mean <= high <= 1 for s in summary["systems"] for low, high in [s["ci95"]]
               for mean in [s["mean"]])  # fmt: skip
    assert [p["n"] for p in summary["curve"]] == [0, 6, 13, 27]
    assert summary["forecast"]["more"] == SETTINGS.more


def test_numbers_are_those_of_the_held_out_answers(summary: Summary, adapted: AdaptedModel) -> None:
    by_name = {s["name"]: s["mean"] for s in summary["systems"]}
    assert by_name["adapted"] == round(float(adapted.systems["adapted"].correct.mean()), 6)
    gain = summary["differences"]["adapted minus unadapted"]["mean"]
    assert abs(gain - (by_name["adapted"] - by_name["unadapted"])) < 2e-6
    assert sum(b["n"] for b in summary["calibration"]["bins"]) == 36


def test_agreement_of_all_answers_is_no_certainty(adapted: AdaptedModel) -> None:
    sure = replace(adapted.systems["unadapted"], probabilities=[[[1.0, 0.0]] * 36], labels=[0] * 36)
    systems = {**adapted.systems, "unadapted": sure}
    found = adaptation_summary(replace(adapted, systems=systems), SETTINGS)["systems"][1]
    assert found["mean"] == 1 and 0.85 < found["ci95"][0] < 0.95 and found["ci95"][1] == 1


def with_answers(adapted: AdaptedModel, table: list[list[float]], labels: list[int]) -> AdaptedModel:
    """The same, but for the held-out answers of the model that is kept."""
    kept = replace(adapted.kept, probabilities=[table], labels=labels)
    return replace(adapted, systems={**adapted.systems, adapted.selection.kept: kept})


def test_probabilities_that_say_nothing_are_not_called_calibrated(adapted: AdaptedModel) -> None:
    noise = with_answers(adapted, [[0.99, 0.01]] * 18 + [[0.01, 0.99]] * 18, [0, 1] * 18)
    summary = adaptation_summary(noise, SETTINGS)
    found = summary["calibration"]
    assert found["state"] == "unknown" and found["temperature"] is None and found["error_after"] is None
    assert found["threshold"]["probability"] is None and summary["suspects"] == []
    assert found["sentence"].startswith("The probabilities are not reliable: 36 held-out examples")
    assert all(b["stated"] == pytest.approx(0.99) for b in found["bins"])  # as the model computes them
    assert json.loads(json.dumps(summary)) == summary


def test_answers_that_are_all_right_are_given_with_caution(adapted: AdaptedModel) -> None:
    found = adaptation_summary(with_answers(adapted, [[0.99, 0.01]] * 36, [0] * 36), SETTINGS)["calibration"]
    assert found["state"] == "cautious" and "most cautious" in found["sentence"]
    assert all(0.9 < b["stated"] < 0.96 for b in found["bins"])  # exp(-1.92 / 36) = 0.948


def test_informative_answers_are_calibrated(adapted: AdaptedModel) -> None:
    found = adaptation_summary(with_answers(adapted, [[0.99, 0.01]] * 36, [0, 0, 0, 0, 0, 1] * 6), SETTINGS)[
        "calibration"
    ]
    assert found["state"] == "fitted" and found["low"] < found["temperature"] < found["high"]
    assert found["bins"][0]["stated"] == pytest.approx(30 / 36, abs=1e-3)  # as often as they are right
    assert found["error_after"] < found["error_before"]
    assert f"temperature {found['temperature']:.2f}" in found["sentence"]


def test_duplicates_do_not_count(adapted: AdaptedModel) -> None:
    twins = [*range(18), *range(18)]
    summary = adaptation_summary(replace(adapted, group=twins), SETTINGS)
    assert (summary["examples"], summary["different"]) == (36, 18)
    assert sum(b["n"] for b in summary["calibration"]["bins"]) == 18
    half = adapted.systems["unadapted"].at(range(18))
    assert summary["systems"][1]["mean"] == round(float(half.correct.mean()), 6)


def test_a_doubted_label_and_a_duplicate_are_found(adapted: AdaptedModel) -> None:
    sure = [[0.99, 0.01] if label == 0 else [0.01, 0.99] for label in adapted.kept.labels]
    sure[10].reverse()  # whose label is thus the only one that the model is sure against
    kept = replace(adapted.kept, probabilities=[sure])
    twin = [*adapted.group[:20], 4, *adapted.group[21:]]
    found = replace(adapted, systems={**adapted.systems, adapted.selection.kept: kept}, group=twin)
    issues = {s.row: s.reason for s in data_issues(found, 1.0)}
    assert set(issues) == {10, 20}
    assert "labelled" in issues[10] and issues[20] == "says nearly the same as q4"


def test_all_labels_flipped_are_noticed(adapted: AdaptedModel) -> None:
    wrong = [[0.1, 0.9]] * 34 + [[0.9, 0.1]] * 2
    unadapted = replace(adapted.systems["unadapted"], probabilities=[wrong], labels=[0] * 36)
    systems = {**adapted.systems, "unadapted": unadapted}
    found = adaptation_summary(replace(adapted, systems=systems), SETTINGS)["inverted"]
    assert found["system"] == "unadapted" and found["right"] == 2 and found["p"] < 1e-6


def test_certainty_is_that_of_the_chosen_choice(adapted: AdaptedModel) -> None:
    certain, right = certainty(adapted, 1.0)
    assert certain.min() >= 0.5 and right.mean() > 0.6


def part_of_summary(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"inverted": None, "suspects": [], "forecast": None, "different": 40}
    return base | changes


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ([0.01, 0.05], "30 more examples gain +3.0 points"),
        ([-0.05, -0.01], "examples harm: -3.0 points"),
        ([-0.02, 0.08], "is not shown"),
    ],
)
def test_a_forecast_says_what_its_interval_allows(ends: list[float], text: str) -> None:
    mean = sum(ends) / 2
    (line,) = advice(part_of_summary(forecast={"more": 30, "mean": mean, "ci95": ends}))
    assert text in line


def test_the_most_urgent_comes_first() -> None:
    inverted = {"system": "similarity", "right": 8, "p": 1e-4}
    forecast = {"more": 30, "mean": 0.0, "ci95": [-0.1, 0.1]}
    lines = advice(part_of_summary(inverted=inverted, suspects=[{}, {}], forecast=forecast))
    assert "inverted" in lines[0] and "only 8 of 40" in lines[0]
    assert "2 examples" in lines[1] and "30 more" in lines[2]
    assert advice(part_of_summary()) == []


def test_a_threshold_is_a_promise_only_where_it_can_be_kept() -> None:
    found = {"target_accuracy": 0.9, "probability": 0.824631, "answered": 0.4, "right": 0.95, "low": 0.9}
    known = {"threshold": found, "temperature": 2.0, "sentence": "Calibrated."}
    text = threshold_message({"calibration": known})
    assert "--abstain 0.824631" in text and "40% are answered" in text and text.startswith("Calibrated.")
    none = threshold_message({"calibration": {**known, "threshold": {**found, "probability": None}}})
    assert "too few examples for a reliable threshold" in none and none.startswith("Calibrated.")
    nothing = threshold_message({"calibration": {**known, "temperature": None, "sentence": "Nothing."}})
    assert nothing == "Nothing."
    former = {"wished": 0.9, **{key: found[key] for key in found if key != "target_accuracy"}}
    assert threshold_message({"calibration": {**known, "threshold": former}}) == text


@pytest.mark.parametrize(
    ("state", "text", "absent"),
    [
        ("unknown", "The probabilities are not reliable", "temperature"),
        ("cautious", "temperature 2.00, the most cautious one that 40", "are calibrated"),
        ("fitted", "are calibrated on 40 held-out examples: temperature 2.00", "not reliable"),
    ],
)
def test_a_calibration_says_what_is_known(state: str, text: str, absent: str) -> None:
    low = None if state == "cautious" else 1.0
    found = {"state": state, "temperature": 2.0, "low": low, "high": 3.0, "p": 0.01}
    if state == "unknown":
        found |= {"temperature": None, "high": None, "p": 0.4}
    message = calibration_message(found, 40)
    assert text in message and absent not in message


def test_p_values_have_the_digits_that_matter() -> None:
    shown = [p_value(p) for p in (0.0001, 0.0312, 0.5, 1.0)]
    assert shown == ["p < 0.001", "p = 0.031", "p = 0.50", "p = 1.00"]
