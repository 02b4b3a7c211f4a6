import pytest

from metaxcr.evaluation.predictions import REGIMES
from metaxcr.reporting.words import GLOSSARY, amount, duration, language, percent, points


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
