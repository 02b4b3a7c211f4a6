import pytest

from metaxcr.evaluation.results import Place, Setting
from metaxcr.evaluation.statistics import Estimate
from metaxcr.reports import run_tables
from metaxcr.reports.run_records import (
    AccuracyDifference,
    Average,
    averages,
    differences,
    language_points,
    read_run,
)
from metaxcr.reports.run_tables import headline

PLACE = Place("xcopa", "test", "repaired")
BASELINE = Setting("none", "similarity", 0)
ZERO, FEW = Setting("zero-shot", "ctml", 0), Setting("few-shot", "finetune", 16)


def average(setting, mean=0.55):
    value = Estimate(mean, mean - 0.02, mean + 0.02, "items x seeds", mdd=0.03)
    return Average(PLACE, setting, value, ("sw", "qu"), 3, setting.k)


def difference(setting, low, high):
    value = Estimate((low + high) / 2, low, high, mdd=0.02, p=0.04)
    return AccuracyDifference(setting.label, "similarity", PLACE, value)


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
    foreign = AccuracyDifference(ZERO.label, "similarity", elsewhere, Estimate(0.1, 0.05, 0.15, p=0.0))
    found = headline([average(BASELINE), average(ZERO)], [foreign], "xcopa")
    assert found is not None and found.cards[1].verdict == "not compared"
    assert "without a paired comparison" in found.sentence


def test_only_the_baseline_or_nothing():
    found = headline([average(BASELINE)], [], "xcopa")
    assert found is not None and found.sentence == "Only the untrained baseline was evaluated."
    assert headline([average(BASELINE)], [], "other") is None


@pytest.fixture(scope="module")
def run(full_run):
    return read_run(full_run)


def test_averages_show_the_numbers_of_the_results(run):
    table = run_tables.averages_table(averages(run.results))
    assert table.head[0] == "data" and "task" not in table.head  # one task: no column that never changes
    shown = {(row[0], row[1]): row for row in table.rows}
    for item in run.results["averages"]:
        row = shown[item["data"], item["regime"]]
        low, high = item["ci95"]
        assert row[table.head.index("mean, %")] == f"{100 * item['mean']:.1f}"
        assert row[table.head.index("95 % interval")] == f"{100 * low:.1f} to {100 * high:.1f}"
        assert row[table.head.index("mdd, points")] == f"{100 * item['mdd']:.2f}"
        assert row[table.head.index("total labels")] == str(item["total_labels"])
        assert row[table.head.index("seeds")] == (str(len(item["seeds"])) if item["seeds"] else "–")
        assert row[table.head.index("interval over")] == item["ci_kind"]


def test_differences_show_the_numbers_of_the_results(run):
    table = run_tables.differences_table(differences(run.results))
    shown = {row[:3]: row for row in table.rows}
    assert len(shown) == len(run.results["differences"])
    for item in run.results["differences"]:
        row = shown[item["data"], item["a"], item["b"]]
        low, high = item["ci95"]
        assert row[3].replace("\N{MINUS SIGN}", "-") == f"{100 * item['mean']:+.2f}"
        assert row[4].replace("\N{MINUS SIGN}", "-") == f"{100 * low:+.2f} to {100 * high:+.2f}"
        assert row[-1] == ("better" if low > 0 else "worse" if high < 0 else "no difference shown")


def test_raw_beside_repaired(run):
    table = run_tables.raw_table(averages(run.results))
    assert table is not None and len(table.rows) == 5
    means = {(item["regime"], item["data"]): item["mean"] for item in run.results["averages"]}
    assert table.rows[0][:3] == (
        "similarity (untrained)",
        f"{100 * means['none', 'raw']:.1f}",
        f"{100 * means['none', 'repaired']:.1f}",
    )
    assert run_tables.raw_table([item for item in averages(run.results) if item.place.data == "raw"]) is None


def test_every_row_of_the_results_is_there(run):
    table = run_tables.rows_table(run.results)
    assert len(table.rows) == len(run.results["rows"])
    for row, item in zip(table.rows, run.results["rows"], strict=True):
        assert row[9] == f"{100 * item['acc']:.1f}" and row[10] == str(item["n"])
        assert row[8] == ("–" if item["seed"] is None else str(item["seed"]))


def test_languages_by_settings(run):
    points = language_points(run.results, Place("xcopa", "test", "repaired"))
    table = run_tables.languages_table(points)
    assert len(table.rows) == 11 and len(table.head) == 6
    for point in points:
        column = table.head.index(point.setting.title)
        cells = [row[column] for row in table.rows if row[0] == {"sw": "Swahili"}.get(point.lang)]
        assert all(cell.startswith(f"{100 * point.value.mean:.1f} [") for cell in cells)


def test_costs_add_up_seeds(run):
    table = run_tables.costs_table(run.costs)
    assert table is not None
    assert ("CTML", "15 min 31 s", "5.7 M", "1720") in table.rows
    assert table.rows[-1] == ("whole run", "26 min 00 s", "10.5 M", "")
    assert run_tables.costs_table({}) is None


def test_trunk_sentence(run):
    sentence = run_tables.trunk_sentence(run.costs)
    assert "141 k texts, 3.5 M tokens, 350 k of them needed, 270 MB" in sentence
    assert "6.2 s to read the rest" in sentence
    assert run_tables.trunk_sentence({}) == ""


def test_shares_are_per_cent(run):
    table = run_tables.shares_table(run.results["shares"])
    assert table is not None and ("ctml / of_all", "1.61 %") in table.rows
    assert run_tables.shares_table({}) is None


def test_shots_list_the_ids(run):
    table = run_tables.shots_table(run.shots)
    assert table is not None and table.rows[1] == ("xcopa", "16", "1", ", ".join(str(i) for i in range(16)))
    assert run_tables.shots_table([]) is None
