"""Messages: nothing that the intervals do not allow."""

from typing import Any

import pytest

from metaxcr.fewshot.messages import advice, calibration_message, p_value, threshold_message


def summary(**changes: Any) -> dict[str, Any]:
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
    (line,) = advice(summary(forecast={"more": 30, "mean": mean, "ci95": ends}))
    assert text in line


def test_the_most_urgent_comes_first() -> None:
    inverted = {"system": "similarity", "right": 8, "p": 1e-4}
    forecast = {"more": 30, "mean": 0.0, "ci95": [-0.1, 0.1]}
    lines = advice(summary(inverted=inverted, suspects=[{}, {}], forecast=forecast))
    assert "inverted" in lines[0] and "only 8 of 40" in lines[0]
    assert "2 examples" in lines[1] and "30 more" in lines[2]
    assert advice(summary()) == []


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
