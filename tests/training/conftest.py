"""Episodes whose batches can be traced back to the examples they were made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from metaxcr.encoders.activation_cache import TrunkStore
from metaxcr.model.batch import Batch, TaskData
from metaxcr.training import batch_sampler
from metaxcr.training.batch_sampler import English


@dataclass(frozen=True)
class Drawn:
    """Where a batch comes from."""

    task: str
    language: str
    ids: list[str]


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Callable[[Batch], Drawn]:
    """Tell the task, language and example ids of a batch that was drawn in this test."""
    known: dict[int, tuple[Batch, Drawn]] = {}
    make = batch_sampler.make_batch

    def recording(data: TaskData, rows: Sequence[int], store: TrunkStore) -> Batch:
        batch = make(data, rows, store)
        known[id(batch)] = (batch, Drawn(data.task, data.language, [data.ids[r] for r in rows]))
        return batch

    monkeypatch.setattr(batch_sampler, "make_batch", recording)
    return lambda batch: known[id(batch)][1]


@pytest.fixture
def english(toy_task: Callable[..., TaskData]) -> English:
    """Three sources, of which ``target`` is the target task's own."""
    sources = {name: toy_task(name) for name in ("one", "two", "target")}
    return English(sources, toy_task("queries"), toy_task("rewards"), "target")
