import pytest

from metaxcr.experiments import environment
from metaxcr.experiments.environment import Costs


def test_the_clock_books_the_time_until_the_next_part(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 11.0, 13.5, 14.0, 20.0])
    monkeypatch.setattr(environment.time, "perf_counter", lambda: next(now))
    costs = Costs({})
    clock = costs.clock("ctml")
    for part in ("support", "query", "support", "reward", "files"):
        clock(part)
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
