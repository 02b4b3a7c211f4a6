"""The estimate of a run: rows that add up, with and without times."""

from typing import Any

import pytest
import torch

from metaxcr.config.io import load_config
from metaxcr.config.schema import Config
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.runs.cost_model import StageWork
from metaxcr.runs.estimate import _add_times, estimate_run
from metaxcr.runs.timing import Timing

TINY = (
    "run.seeds=[0]", "run.threads=1", "target.languages=[sw]", "target.parallel.languages=[sw]",
    "adapters.bottleneck=4", "encoder.max_tokens=48", "encoder.dtype=float32", "ctml.steps=3",
    "ctml.support=4", "ctml.query=4", "ctml.pairs=2", "clml.few_shot_steps=2", "finetune.steps=2",
)  # fmt: skip


@pytest.fixture
def config() -> Config:
    return load_config("starter", TINY)


def keys(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(row["stage"], row["regime"]) for row in found["rows"]]


def test_without_times_no_weights_are_needed(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaxcr.runs.estimate.load_encoder", None)
    found = estimate_run(config, timed=False)
    assert keys(found) == [
        ("trunk", ""), ("ctml", ""), ("clml", "few-shot"), ("finetune", "few-shot"),
        ("evaluate", "none"), ("evaluate", "zero-shot"), ("evaluate", "few-shot"),
    ]  # fmt: skip
    assert found["encoder"] == "no weights" and found["calibration"] is None
    assert found["total"]["token_passes"] == sum(row["token_passes"] for row in found["rows"])
    assert {row["seconds"] for row in [*found["rows"], found["total"]]} == {None}
    assert found["total"]["disk_bytes"] == found["rows"][0]["disk_bytes"] > 0


def test_timed_rows_add_up_and_the_settings_of_the_process_stay(
    config: Config, toy_encoder: FrozenEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaxcr.runs.estimate.load_encoder", lambda *_, **__: toy_encoder)
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    found = estimate_run(config, seconds=0.2)
    assert before == (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    rows, total = found["rows"], found["total"]
    assert total["seconds"] == pytest.approx(sum(row["seconds"] for row in rows), abs=0.02)
    memory = [row["memory_mb"] for row in rows]
    assert memory == sorted(memory) and total["memory_mb"] == memory[-1]
    assert {"trunk", "ctml", "clml few-shot", "finetune few-shot", "evaluate"} == set(
        found["calibration"]["steps"]
    )


def test_a_warm_cache_saves_the_trunk_and_memory_never_falls() -> None:
    done = [StageWork("trunk", "", parts={"texts": 100.0}), StageWork("ctml", "", 2, {"support": 10.0})]
    rows: list[dict[str, Any]] = [{"disk_bytes": 2_000_000}, {"disk_bytes": 0}]
    timings = {
        ("trunk", ""): Timing({}, 0.5, 0.0, 1, 900.0),
        ("ctml", ""): Timing({"support": 0.1}, 0.2, 3.0, 2, 100.0),
    }
    total = _add_times(rows, done, timings, loading=4.0, prepared=0.5)
    assert [row["seconds"] for row in rows] == [54.0, 7.0]
    assert (total["seconds"], total["warm_seconds"], rows[0]["warm_seconds"]) == (61.0, 11.0, 4.0)
    if not torch.cuda.is_available():
        assert [row["memory_mb"] for row in rows] == [901, 901]


def test_settings_without_effect_are_refused(config: Config) -> None:
    with pytest.raises(UserError, match="would have no effect"):
        estimate_run(load_config("starter", [*TINY, "clml.per_language=true"]), timed=False)
