import pytest

from metaxcr.reporting.accuracies import Average, Difference, Estimate, Place, Setting
from metaxcr.reporting.headline import headline

PLACE = Place("xcopa", "test", "repaired")
BASELINE = Setting("none", "similarity", 0)
ZERO, FEW = Setting("zero-shot", "ctml", 0), Setting("few-shot", "finetune", 16)


def average(setting, mean=0.55):
    value = Estimate(mean, mean - 0.02, mean + 0.02)
    return Average(PLACE, setting, value, ("sw", "qu"), 3, "items x seeds", 0.03, setting.k)


def difference(setting, low, high):
    return Difference(setting.label, "similarity", PLACE, Estimate((low + high) / 2, low, high), 0.04, 0.02)


def test_better_where_the_interval_excludes_zero():
    found = headline(
        [average(BASELINE, 0.54), average(ZERO, 0.563)], [difference(ZERO, 0.004, 0.038)], "xcopa"
    )
    assert found is not None and found.languages == 2
    assert found.sentence == "The trained setting is better than the untrained baseline."
    assert [(card.mean, card.interval, card.verdict) for card in found.cards] == [
        ("54.0", "52.0 to 56.0", "baseline"),
        ("56.3", "54.3 to 58.3", "better"),
    ]
    assert found.cards[1].sentence == "+2.10 points; interval +0.40 to +3.80 excludes zero"


def test_a_higher_mean_alone_is_not_better():
    found = headline([average(BASELINE, 0.50), average(ZERO, 0.60)], [difference(ZERO, -0.001, 0.2)], "xcopa")
    assert found is not None
    assert "better" not in found.sentence and "worse" not in found.sentence
    assert "not shown to differ" in found.sentence and "includes zero" in found.sentence
    assert found.cards[1].verdict == "no difference shown"


def test_mixed_outcomes_are_counted_and_named():
    means = [average(BASELINE), average(ZERO), average(FEW)]
    found = headline(means, [difference(ZERO, 0.01, 0.02), difference(FEW, -0.02, -0.01)], "xcopa")
    assert found is not None
    assert found.sentence == (
        "One of the two trained settings (zero-shot, ctml) is better than the untrained baseline. "
        "One of the two trained settings (few-shot, finetune, 16 shots) is worse than the untrained baseline."
    )


def test_all_alike():
    means = [average(BASELINE), average(ZERO), average(FEW)]
    found = headline(means, [difference(setting, -0.02, -0.01) for setting in (ZERO, FEW)], "xcopa")
    assert (
        found is not None and found.sentence == "Both trained settings are worse than the untrained baseline."
    )


@pytest.mark.parametrize("elsewhere", [PLACE._replace(data="raw"), PLACE._replace(task="other")])
def test_a_difference_from_another_place_does_not_count(elsewhere):
    foreign = Difference(ZERO.label, "similarity", elsewhere, Estimate(0.1, 0.05, 0.15), 0.0, 0.02)
    found = headline([average(BASELINE), average(ZERO)], [foreign], "xcopa")
    assert found is not None and found.cards[1].verdict == "not compared"
    assert "without a paired comparison" in found.sentence


def test_only_the_baseline_or_nothing():
    found = headline([average(BASELINE)], [], "xcopa")
    assert found is not None and found.sentence == "Only the untrained baseline was evaluated."
    assert headline([average(BASELINE)], [], "other") is None
