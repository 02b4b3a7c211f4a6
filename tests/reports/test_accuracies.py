import numpy as np
import pytest

from metaxcr.evaluation.results import Place, Setting
from metaxcr.reports.accuracies import averages, baseline_difference, differences, language_points, main_place
from metaxcr.reports.run_records import read_run

REPAIRED = Place("xcopa", "test", "repaired")


@pytest.fixture(scope="module")
def results(full_run):
    return read_run(full_run).results


def test_averages_keep_numbers_and_put_repaired_baseline_first(results):
    found = averages(results)
    assert found[0].setting.method == "similarity" and found[0].place == REPAIRED
    assert [item.place.data for item in found] == ["repaired"] * 5 + ["raw"] * 5
    stored = {
        (item["data"], item["regime"]): (
            item["mean"],
            *item["ci95"],
            len(item["seeds"]),
            item["total_labels"],
        )
        for item in results["averages"]
    }
    for item in found:
        value = item.value
        row = (value.mean, value.low, value.high, item.seeds, item.total_labels)
        assert row == stored[item.place.data, item.setting.regime]


def test_every_trained_average_finds_its_difference(results):
    diffs = differences(results)
    for average in averages(results):
        found = baseline_difference(average, diffs)
        if average.setting.regime == "none":
            assert found is None
        else:
            assert found is not None and found.place == average.place and found.b == "similarity"


def test_main_place_prefers_repaired_test(results):
    assert main_place(averages(results), "xcopa") == REPAIRED
    raw = [item for item in averages(results) if item.place.data == "raw"]
    assert main_place(raw, "xcopa") == REPAIRED._replace(data="raw")
    assert main_place(raw, "other") is None


def test_points_are_means_over_seeds(results):
    accs = [
        row["acc"]
        for row in results["rows"]
        if (row["task"], row["lang"], row["data"], row["regime"]) == ("xcopa", "sw", "repaired", "few-shot")
    ]
    setting = Setting("few-shot", "finetune", 16)
    [point] = [p for p in language_points(results, REPAIRED) if (p.lang, p.setting) == ("sw", setting)]
    assert point.value.mean == pytest.approx(np.mean(accs))
    assert (point.seeds, point.n) == (3, 100)
    assert point.value.low < point.value.mean < point.value.high


def test_a_single_row_keeps_its_own_interval(results):
    [row] = [
        row
        for row in results["rows"]
        if (row["task"], row["lang"], row["data"], row["regime"]) == ("xcopa", "sw", "raw", "none")
    ]
    place = REPAIRED._replace(data="raw")
    [point] = [p for p in language_points(results, place) if p.lang == "sw" and p.setting.regime == "none"]
    assert [point.value.low, point.value.high] == row["ci95"]


def test_interval_over_seeds_covers_the_truth():
    """Items and seeds both vary; the interval errs on the wide side, so it covers at least 95 %."""
    rng, covered = np.random.default_rng(0), 0
    common = {"task": "t", "split": "test", "lang": "sw", "regime": "few-shot", "method": "m", "k": 1}
    for _ in range(300):
        items, effects = rng.normal(0.56, 0.2, (200, 1)), rng.normal(0, 0.05, 3)
        right = rng.random((200, 3)) < np.clip(items + effects, 0, 1)
        rows = [{**common, "seed": seed, "acc": float(right[:, seed].mean()), "n": 200} for seed in range(3)]
        value = language_points({"rows": rows}, Place("t", "test", "repaired"))[0].value
        covered += value.low <= 0.56 <= value.high
    assert 0.93 <= covered / 300 <= 1.0
