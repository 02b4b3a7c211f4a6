"""The page: complete, self-contained, and it says what the account says."""

import re
from html import unescape

import pytest

from metaxcr.fewshot.adapt_report import chance, learning, numbers, reliability, report, suspects, systems
from metaxcr.fewshot.summary import Account
from metaxcr.reports import canvas

SUSPECT = {
    "row": 3,
    "line": 5,
    "id": "x",
    "context": "<b>c</b>",
    "choices": ["d", "e"],
    "label": 1,
    "reason": "why",
}


def test_the_page_loads_nothing_and_says_the_sentence(account: Account) -> None:
    page = report(account)
    assert page.startswith("<!DOCTYPE html>") and page.count("<svg") == 6  # three figures, two layouts each
    assert not re.search(r'(src|href)="(?!#|data:|https://arxiv)', page)
    assert account["sentence"] in unescape(page) and account["rule"] in unescape(page)
    assert "second look" not in page


def test_suspects_are_listed_and_escaped(account: Account) -> None:
    page = report({**account, "suspects": [SUSPECT], "file": "own.csv"})
    assert "second look" in page and "&lt;b&gt;c&lt;/b&gt;" in page and "<b>c</b>" not in page
    table = suspects({**account, "suspects": [SUSPECT], "file": "own.csv"})
    assert table is not None and table.rows == [("5", "why", "<b>c</b>", "d / *e")]
    assert suspects(account) is None


def test_numbers_have_every_system_and_difference(account: Account) -> None:
    rows = numbers(account).rows
    assert [row[0] for row in rows[:3]] == ["similarity", "unadapted", "adapted"]
    assert len(rows) == 5 and rows[3][1][0] in "+-"


def test_a_curve_without_a_forecast_is_drawn(account: Account) -> None:
    assert report({**account, "forecast": None}).count("<svg") == 6


def test_the_page_says_that_nothing_can_be_told(account: Account) -> None:
    found = account["calibration"] | {"state": "unknown", "temperature": None, "low": None, "high": None}
    found |= {"error_after": None, "sentence": "Nothing can be told from the probabilities."}
    page = unescape(report({**account, "calibration": found}))
    assert "Nothing can be told from the probabilities." in page
    assert "without calibration" in page and "after calibration" not in page and "nothing was fitted" in page
    assert "after calibration" in report(account) and "chosen on these answers" in report(account)


def test_the_page_says_that_duplicates_do_not_count(account: Account) -> None:
    assert "repeat another one" not in report(account)
    assert "Of 36 examples 4 repeat another one" in report({**account, "different": 32})


@pytest.mark.parametrize("width", [canvas.WIDE, canvas.NARROW])
def test_every_system_has_its_mark(account: Account, width: int) -> None:
    with canvas.drawing():
        axes = systems(account, width).axes[0]
    labels = [t.get_text() for t in axes.get_yticklabels()]
    assert labels == ["similarity", "unadapted", "adapted"]
    assert {t.get_text() for t in axes.texts} == {f"{100 * s['mean']:.1f}" for s in account["systems"]}


def test_the_curve_goes_through_its_points_to_the_forecast(account: Account) -> None:
    with canvas.drawing():
        axes = learning(account, canvas.WIDE).axes[0]
    drawn = axes.lines[0]
    assert list(drawn.get_xdata()) == [p["n"] for p in account["curve"]]
    ahead = account["examples"] + account["forecast"]["more"]
    assert any(ahead in list(line.get_xdata()) for line in axes.lines)
    with canvas.drawing():
        axes = learning({**account, "forecast": None}, canvas.WIDE).axes[0]
    assert all(ahead not in list(line.get_xdata()) for line in axes.lines)


def test_reliability_has_a_mark_for_each_group(account: Account) -> None:
    with canvas.drawing():
        axes = reliability(account, canvas.NARROW).axes[0]
    assert len(axes.lines) == 1 + len(account["calibration"]["bins"])


def test_chance_is_that_of_the_fewest_choices(account: Account) -> None:
    assert chance(account) == 0.5
    assert chance({**account, "choices": [4, 5]}) == 0.25
