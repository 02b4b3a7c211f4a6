"""Plain words: only what the intervals allow."""

from typing import Any

import pytest

from metaxcr.fewshot.messages import advice, calibration_words, interval, p_value, percent, threshold_words


def account(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"inverted": None, "suspects": [], "forecast": None, "different": 40}
    return base | changes


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ([0.01, 0.05], "30 more examples buy +3.0 points"),
        ([-0.05, -0.01], "examples harm: -3.0 points"),
        ([-0.02, 0.08], "is not shown"),
    ],
)
def test_a_forecast_says_what_its_interval_allows(ends: list[float], said: str) -> None:
    mean = sum(ends) / 2
    (line,) = advice(account(forecast={"more": 30, "mean": mean, "ci95": ends}))
    assert said in line


def test_the_most_urgent_comes_first() -> None:
    inverted = {"system": "similarity", "right": 8, "p": 1e-4}
    told = {"more": 30, "mean": 0.0, "ci95": [-0.1, 0.1]}
    lines = advice(account(inverted=inverted, suspects=[{}, {}], forecast=told))
    assert "inverted" in lines[0] and "only 8 of 40" in lines[0]
    assert "2 examples" in lines[1] and "30 more" in lines[2]
    assert advice(account()) == []


def test_a_threshold_is_a_promise_only_where_it_can_be_kept() -> None:
    found = {"wished": 0.9, "probability": 0.824631, "answered": 0.4, "right": 0.95, "low": 0.9}
    known = {"threshold": found, "temperature": 2.0, "sentence": "Calibrated."}
    said = threshold_words({"calibration": known})
    assert "--abstain 0.824631" in said and "40% are answered" in said and said.startswith("Calibrated.")
    none = threshold_words({"calibration": {**known, "threshold": {**found, "probability": None}}})
    assert "too few examples for a reliable threshold" in none and none.startswith("Calibrated.")
    nothing = threshold_words({"calibration": {**known, "temperature": None, "sentence": "Nothing."}})
    assert nothing == "Nothing."


@pytest.mark.parametrize(
    ("state", "said", "not_said"),
    [
        ("unknown", "Nothing can be told from the probabilities", "temperature"),
        ("cautious", "temperature 2.00, the most cautious one that 40", "are calibrated"),
        ("fitted", "are calibrated on 40 held-out examples: temperature 2.00", "Nothing"),
    ],
)
def test_a_calibration_says_what_is_known(state: str, said: str, not_said: str) -> None:
    low = None if state == "cautious" else 1.0
    found = {"state": state, "temperature": 2.0, "low": low, "high": 3.0, "p": 0.01}
    if state == "unknown":
        found |= {"temperature": None, "high": None, "p": 0.4}
    words = calibration_words(found, 40)
    assert said in words and not_said not in words


def test_p_values_have_the_digits_that_matter() -> None:
    shown = [p_value(p) for p in (0.0001, 0.0312, 0.5, 1.0)]
    assert shown == ["p < 0.001", "p = 0.031", "p = 0.50", "p = 1.00"]


def test_numbers_as_words() -> None:
    assert percent(0.1234) == "12.3"
    assert interval([-0.01, 0.02], "+") == "-1.0 to +2.0"
