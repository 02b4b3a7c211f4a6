"""Tables as CSV and LaTeX that are what they say; names, numbers, terms and licences."""

import csv
import io

import pytest

from metaxcr.config.regimes import REGIMES
from metaxcr.reports.tables import (
    GLOSSARY,
    ReportTable,
    amount,
    as_csv,
    as_latex,
    duration,
    interval,
    known,
    language,
    licences,
    p_value,
    percent,
    points,
)

TABLE = ReportTable(("method", "a − b, %"), [("x_y & z", "−1.50"), ("“{#}”", "2 < 3")], (1,), "t", "Title")


def test_csv_is_read_back_with_numbers_as_computers_write_them() -> None:
    rows = list(csv.reader(io.StringIO(as_csv(TABLE))))
    assert rows == [["method", "a − b, %"], ["x_y & z", "-1.50"], ["“{#}”", "2 < 3"]]


def test_latex_is_escaped_and_aligned() -> None:
    lines = as_latex(TABLE).splitlines()
    assert lines[1] == r"\begin{tabular}{lr}" and lines[-1] == r"\end{tabular}"
    assert lines[3] == r"method & a $-$ b, \% \\"
    assert lines[5:7] == [r"x\_y \& z & $-$1.50 \\", r"``\{\#\}'' & 2 \textless{} 3 \\"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(6.24, "6.2 s"), (61, "1 min 01 s"), (421.4, "7 min 01 s"), (3720, "1 h 02 min")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (812, "812"), (999.6, "1 k"), (141_200, "141 k"), (3.5e6, "3.5 M"), (2.7e9, "2.7 G")],
)
def test_amount(value, text):
    assert amount(value) == text


def test_points_have_a_sign_and_percent_one_digit():
    assert points(0.0213) == "+2.13"
    assert points(-0.004) == "\N{MINUS SIGN}0.40"
    assert percent(0.5404) == "54.0"


def test_every_regime_is_explained():
    assert set(REGIMES) <= {word for word, _ in GLOSSARY}


def test_unknown_language_keeps_its_code():
    assert (language("sw"), language("xx")) == ("Swahili", "xx")


def test_licences_are_listed_once_and_unknown_tasks_are_named() -> None:
    rows = licences(["xcopa", "copa", "xcopa", "somebodys"])
    assert [row["task"] for row in rows] == ["xcopa", "copa", "somebodys"]
    assert all(row["licence"] and row["citation"] and row["url"] for row in rows[:2])
    assert rows[2]["licence"] == "not declared here"


def test_intervals() -> None:
    assert interval([-0.01, 0.02], "+") == "-1.0 to +2.0"
    assert interval([0.1, 0.25]) == "10.0 to 25.0" and interval([None, None]) == ""
    assert interval(None) == ""


def test_what_is_not_known_is_a_dash() -> None:
    assert [known(0), known(None), known(0.5, percent)] == ["0", "–", "50.0"]
    assert [p_value(0.0004), p_value(0.0456), p_value(None)] == ["< 0.001", "0.046", "–"]
