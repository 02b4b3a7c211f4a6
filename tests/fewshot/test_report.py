"""The page: complete, self-contained, and it says what the account says."""

import re
from html import unescape

from metaxcr.fewshot.account import Account
from metaxcr.fewshot.report import numbers, report, suspects

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
