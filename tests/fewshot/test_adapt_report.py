"""The report of an adaptation: complete, self-contained, and true to the summary."""

import re
from html import unescape

import pytest

from metaxcr.fewshot.adapt_report import (
    adaptation_report,
    chance,
    issues_table,
    learning_figure,
    reliability_figure,
    systems_figure,
    systems_table,
)
from metaxcr.fewshot.summary import Summary
from metaxcr.reports import canvas

ISSUE = {
    "row": 3,
    "line": 5,
    "id": "x",
    "context": "<b>c</b>",
    "choices": ["d", "e"],
    "label": 1,
    "reason": "why",
}


def test_the_page_loads_nothing_and_says_the_sentence(summary: Summary) -> None:
    page = adaptation_report(summary)
    assert page.startswith("<!DOCTYPE html>") and page.count("<svg") == 6  # three figures, two layouts each
    assert not re.search(r'(src|href)="(?!#|data:|https://arxiv)', page)
    assert summary["sentence"] in unescape(page) and summary["rule"] in unescape(page)
    assert "Examples to check" not in page


def test_issues_are_listed_and_escaped(summary: Summary) -> None:
    page = adaptation_report({**summary, "suspects": [ISSUE], "file": "own.csv"})
    assert "Examples to check" in page and "&lt;b&gt;c&lt;/b&gt;" in page and "<b>c</b>" not in page
    table = issues_table({**summary, "suspects": [ISSUE], "file": "own.csv"})
    assert table is not None and table.rows == [("5", "why", "<b>c</b>", "d / *e")]
    assert issues_table(summary) is None


def test_numbers_have_every_system_and_difference(summary: Summary) -> None:
    rows = systems_table(summary).rows
    assert [row[0] for row in rows[:3]] == ["similarity", "unadapted", "adapted"]
    assert len(rows) == 5 and rows[3][1][0] in "+-"


def test_a_curve_without_a_forecast_is_drawn(summary: Summary) -> None:
    assert adaptation_report({**summary, "forecast": None}).count("<svg") == 6


def test_the_page_says_that_probabilities_are_not_reliable(summary: Summary) -> None:
    found = summary["calibration"] | {"state": "unknown", "temperature": None, "low": None, "high": None}
    found |= {"error_after": None, "sentence": "The probabilities are not reliable."}
    page = unescape(adaptation_report({**summary, "calibration": found}))
    assert "The probabilities are not reliable." in page
    assert (
        "without calibration" in page
        and "after calibration" not in page
        and "no temperature was fitted" in page
    )
    assert "after calibration" in adaptation_report(
        summary
    ) and "chosen on these answers" in adaptation_report(summary)


def test_the_page_says_that_duplicates_do_not_count(summary: Summary) -> None:
    assert "repeat another one" not in adaptation_report(summary)
    assert "Of 36 examples 4 repeat another one" in adaptation_report({**summary, "different": 32})


@pytest.mark.parametrize("width", [canvas.WIDE, canvas.NARROW])
def test_every_system_has_its_mark(summary: Summary, width: int) -> None:
    with canvas.drawing():
        axes = systems_figure(summary, width).axes[0]
    labels = [t.get_text() for t in axes.get_yticklabels()]
    assert labels == ["similarity", "unadapted", "adapted"]
    assert {t.get_text() for t in axes.texts} == {f"{100 * s['mean']:.1f}" for s in summary["systems"]}


def test_the_curve_goes_through_its_points_to_the_forecast(summary: Summary) -> None:
    with canvas.drawing():
        axes = learning_figure(summary, canvas.WIDE).axes[0]
    drawn = axes.lines[0]
    assert list(drawn.get_xdata()) == [p["n"] for p in summary["curve"]]
    ahead = summary["examples"] + summary["forecast"]["more"]
    assert any(ahead in list(line.get_xdata()) for line in axes.lines)
    with canvas.drawing():
        axes = learning_figure({**summary, "forecast": None}, canvas.WIDE).axes[0]
    assert all(ahead not in list(line.get_xdata()) for line in axes.lines)


def test_reliability_has_a_mark_for_each_group(summary: Summary) -> None:
    with canvas.drawing():
        axes = reliability_figure(summary, canvas.NARROW).axes[0]
    assert len(axes.lines) == 1 + len(summary["calibration"]["bins"])


def test_chance_is_that_of_the_fewest_choices(summary: Summary) -> None:
    assert chance(summary) == 0.5
    assert chance({**summary, "choices": [4, 5]}) == 0.25
