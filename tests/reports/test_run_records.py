"""Run folders as far as they can be read, and the accuracies of their results."""

import json
from pathlib import Path

import numpy as np
import pytest

from metaxcr.errors import UserError
from metaxcr.evaluation.results import Place, Setting
from metaxcr.reports.run_records import (
    averages,
    differences,
    language_points,
    main_place,
    read_run,
    stage_totals,
)


def test_reads_every_part(full_run):
    run = read_run(full_run)
    assert run.missing == []
    assert run.target == "xcopa" and not run.demonstration
    assert run.environment["threads"] == 2
    assert run.costs["total_seconds"] == 1560.0
    assert len(run.all_of("ctml")) == 3 * 60
    assert [(shot["task"], shot["seed"], len(shot["ids"])) for shot in run.shots] == [
        ("xcopa", s, 16) for s in range(3)
    ]


def test_names_what_is_missing(make_run):
    run = read_run(make_run(omit=("results.json", "costs.json", "config.yaml")))
    text = " ".join(run.missing)
    assert (
        "results.json is missing" in text
        and "costs.json is missing" in text
        and "config.yaml is missing" in text
    )
    assert run.events and run.environment
    assert run.target == ""


def test_target_from_results_without_settings(make_run):
    assert read_run(make_run(omit=("config.yaml",), raw=False)).target == "xcopa"


def test_half_a_line_at_the_end_is_counted_and_left_out(make_run):
    folder = make_run(steps=4)
    whole = len(read_run(folder).events)
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"stage": "ctml", "st')
    run = read_run(folder)
    assert len(run.events) == whole
    assert run.missing == [f"events.jsonl: 1 unreadable line left out ({whole + 1})."]


def test_damaged_json_is_named_with_its_line(make_run):
    folder = make_run(steps=4)
    (folder / "results.json").write_text('{"rows": [\n}')
    (folder / "config.yaml").write_text("a: [")
    run = read_run(folder)
    assert run.results == {} and run.config == {}
    assert any("results.json is damaged (line 2)" in note for note in run.missing)
    assert any("config.yaml is damaged (line 1): not valid YAML" in note for note in run.missing)


def test_damaged_shots_are_named(make_run):
    folder = make_run(steps=4)
    (folder / "shots" / "xcopa.seed1.json").write_text("nothing")
    run = read_run(folder)
    assert [shot["seed"] for shot in run.shots] == [0, 2]
    assert run.missing == ["shots/xcopa.seed1.json is damaged and left out."]


def test_starter_target_is_a_demonstration(make_run):
    assert read_run(make_run(task="starter_target", steps=4, omit=("results.json",))).demonstration
    assert read_run(
        make_run("other", task="starter_target", steps=4, raw=False, omit=("config.yaml",))
    ).demonstration


def test_refuses_what_is_not_a_run_folder(tmp_path: Path):
    with pytest.raises(UserError, match="no such run folder"):
        read_run(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match="not a run folder"):
        read_run(tmp_path)
    (tmp_path / "costs.json").write_text(json.dumps({}))
    assert read_run(tmp_path).costs == {}


def test_costs_are_added_up_over_seeds(full_run):
    totals = stage_totals(read_run(full_run).costs)
    assert totals["ctml"] == pytest.approx((3 * 310.2, 3 * 1_900_000, 1720))
    assert next(iter(totals)) == "trunk" and stage_totals({}) == {}


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


def test_every_trained_average_has_a_difference_from_the_baseline_and_these_come_first(results):
    found = differences(results)
    against = [(item.place, item.a) for item in found if item.against_baseline]
    trained = [item for item in averages(results) if item.setting.regime != "none"]
    assert sorted(against) == sorted((item.place, item.setting.label) for item in trained)
    repaired = [item.against_baseline for item in found if item.place == REPAIRED]
    assert repaired == sorted(repaired, reverse=True)


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
    assert point.value.n == 100
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
