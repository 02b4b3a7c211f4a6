"""The ledger of test openings: kept where a path is given, not for demonstration data."""

import json
from pathlib import Path

import pytest

from metaxcr.encoders.activation_cache import CacheStats
from metaxcr.runs import environment
from metaxcr.runs.environment import Costs, record_opening


def test_the_clock_books_the_time_until_the_next_part(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 11.0, 13.5, 14.0, 20.0])
    monkeypatch.setattr(environment.time, "perf_counter", lambda: next(now))
    costs = Costs({})
    timer = costs.timer("ctml")
    for part in ("support", "query", "support", "reward", "files"):
        timer(part)
    parts = costs.summary()["stages"][0]["parts"]
    assert {name: part["seconds"] for name, part in parts.items()} == {
        "support": 1.0 + 0.5,
        "query": 2.5,
        "reward": 6.0,
    }


def test_parts_add_up_over_interruptions() -> None:
    costs = Costs({})
    costs.add_passes("ctml", 30, {"support": 20, "reward": 10})
    resumed = Costs(costs.summary())
    resumed.add_passes("ctml", 5, {"support": 5})
    (stage,) = resumed.summary()["stages"]
    assert stage["token_passes"] == 35
    assert {name: part["token_passes"] for name, part in stage["parts"].items()} == {
        "support": 25,
        "reward": 10,
    }
    (before,) = costs.summary()["stages"]
    assert before["parts"]["support"]["token_passes"] == 20


def test_the_trunks_time_within_a_stage_is_the_trunks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(environment.time, "perf_counter", lambda: now[0])
    costs, stats = Costs({}), CacheStats()
    with costs.stage("trunk"):
        costs.follow(stats)
        now[0], stats.cold_seconds, stats.computed_tokens = 5.0, 4.0, 40
    with costs.stage("ctml"):
        timer = costs.timer("ctml")
        timer("batches")
        now[0], stats.cold_seconds, stats.warm_seconds, stats.computed_tokens = 9.0, 6.5, 0.5, 65
        timer("query")
        now[0] = 11.0
        timer("files")
    summary = costs.summary()
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    assert (stages["trunk"]["seconds"], stages["trunk"]["token_passes"]) == (8.0, 65)
    assert stages["ctml"]["seconds"] == 3.0
    assert {name: part["seconds"] for name, part in stages["ctml"]["parts"].items()} == {
        "batches": 1.0,
        "query": 2.0,
    }
    assert summary["trunk"]["cold_seconds"] == 6.5 and summary["total_seconds"] == 11.0


def test_an_interrupted_run_counts_the_trunk_once_and_unfinished_steps_not_at_all() -> None:
    costs, stats = Costs({}), CacheStats(computed_tokens=10)
    with costs.stage("trunk"):
        costs.follow(stats)
    costs.add_passes("ctml", 30)
    costs.summary()  # at a checkpoint
    costs.add_passes("ctml", 7)
    stats.computed_tokens, stats.cold_seconds = 15, 2.0
    left = costs.interrupted()
    assert left == costs.interrupted()
    resumed, more = Costs(left), CacheStats(computed_tokens=4, cold_seconds=1.0)
    resumed.follow(more)
    resumed.add_passes("ctml", 7)
    summary = resumed.summary()
    assert {s["stage"]: s["token_passes"] for s in summary["stages"]} == {"trunk": 19, "ctml": 37}
    assert (summary["trunk"]["computed_tokens"], summary["trunk"]["cold_seconds"]) == (19, 3.0)


def test_a_line_for_real_tasks_where_a_ledger_is_named(tmp_path: Path) -> None:
    ledger = tmp_path / "results" / "openings.jsonl"
    record_opening(None, ["xcopa"], "metaxcr run")
    record_opening(ledger, [], "metaxcr run")
    record_opening(ledger, ["starter_target"], "metaxcr run")
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        record_opening(ledger, ["xcopa", "starter_target"], "metaxcr compare", grid="g", cells=["k"])
    first, second = (json.loads(line) for line in ledger.read_text().splitlines())
    assert list(first) == ["time", "commit", "grid", "cells", "task", "command"]
    assert first["task"] == second["task"] == "xcopa" and first["cells"] == ["k"]
