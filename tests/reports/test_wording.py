"""Licences: of every task that the settings name, once; unknown ones are listed, too."""

import pytest
from jinja2 import UndefinedError

from metaxcr.config.io import load_config
from metaxcr.evaluation.predictions import REGIMES
from metaxcr.reports import canvas
from metaxcr.reports.wording import (
    GLOSSARY,
    amount,
    duration,
    interval,
    language,
    licences,
    percent,
    picture,
    points,
    render,
    tasks_of,
)


def test_picture_is_drawn_at_both_widths():
    widths = []

    def draw(width):
        widths.append(width)
        fig = canvas.figure(width, 50)
        canvas.place(fig, 10, 10, width - 20, 20).plot([0, 1])
        return fig

    found = picture("key", 'a "quoted" <alt>', "caption", draw)
    assert found is not None and widths == [canvas.WIDE, canvas.NARROW]
    assert 'aria-label="a &quot;quoted&quot; &lt;alt&gt;"' in found.wide
    assert 'viewBox="0 0 960 50"' in found.wide and 'viewBox="0 0 358 50"' in found.narrow


def test_nothing_to_draw_is_no_picture():
    assert picture("key", "alt", "caption", lambda width: None) is None


def test_a_forgotten_name_is_an_error():
    with pytest.raises(UndefinedError):
        render({"target": "xcopa"})


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


def test_every_task_of_a_run_is_listed_once() -> None:
    config = load_config("xcopa-embedded").model_dump(mode="json")
    rows = licences(tasks_of(config))
    names = [row["task"] for row in rows]
    assert names[:2] == ["xcopa", "copa"] and {"ecare", "socialiqa", "xstorycloze"} <= set(names)
    assert len(names) == len(set(names))
    assert all(row["licence"] and row["citation"] and row["url"] for row in rows)


def test_unknown_tasks_and_no_settings() -> None:
    assert licences(["somebodys"])[0]["licence"] == "not declared here"
    assert tasks_of({}) == [] and tasks_of({"target": "xcopa"}) == []


def test_intervals() -> None:
    assert interval([-0.01, 0.02], "+") == "-1.0 to +2.0"
    assert interval([0.1, 0.25]) == "10.0 to 25.0" and interval([None, None]) == ""
