"""Figures: drawn at both widths, with a mark for every number."""

import pytest

from metaxcr.fewshot.account import Account
from metaxcr.fewshot.figures import chance, learning, reliability, systems
from metaxcr.reporting import canvas


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
