"""Plain words: only what the intervals allow."""

from typing import Any

import pytest

from metaxcr.fewshot.words import advice, interval, percent, threshold_words


def account(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"inverted": None, "suspects": [], "forecast": None, "examples": 40}
    return base | changes


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ([0.01, 0.05], "likely to buy +3.0 points"),
        ([-0.05, -0.01], "seem to harm"),
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
    found = {"wished": 0.9, "probability": 0.82, "answered": 0.4, "right": 0.95, "low": 0.9}
    said = threshold_words({"calibration": {"threshold": found}})
    assert "--abstain 0.82" in said and "40% are answered" in said
    none = threshold_words({"calibration": {"threshold": {**found, "probability": None}}})
    assert "no threshold can be vouched for" in none


def test_numbers_as_words() -> None:
    assert percent(0.1234) == "12.3"
    assert interval([-0.01, 0.02], "+") == "-1.0 to +2.0"
