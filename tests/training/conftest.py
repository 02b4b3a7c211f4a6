"""Episodes whose batches can be traced back to their examples, and small worlds to train in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from tests.training.world import World

from metaxcr.config.schema import Ctml, Meta
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import Text
from metaxcr.model.batch import Batch, TaskData
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.runs.ctml import CrossTaskEpisodes
from metaxcr.sampling.reinforce import Reinforce
from metaxcr.sampling.sampler import Sampler
from metaxcr.training import batch_sampler
from metaxcr.training.batch_sampler import BatchSampler, English

Origin = Callable[[Batch], "Drawn"]


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

    def recording(data: TaskData, rows: Sequence[int], store: ActivationCache) -> Batch:
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


@pytest.fixture
def choice_sources(toy_task: Callable[..., TaskData]) -> English:
    sources = {name: toy_task(name, choices=(n,)) for name, n in (("one", 2), ("two", 3), ("three", 5))}
    return English(sources, toy_task("query"), toy_task("reward"), "one")


@pytest.fixture
def parallel(toy_store: ActivationCache) -> dict[str, list[int]]:
    return {lang: toy_store.ensure([Text(f"{lang} line {n}") for n in range(9)]) for lang in ("en", "sw")}


@pytest.fixture
def make_world(
    choice_sources: English,
    parallel: dict[str, list[int]],
    toy_store: ActivationCache,
    toy_model: Callable[..., ChoiceModel],
) -> Callable[..., World]:
    def build(sampler: Sampler | None = None, **model: Any) -> World:
        def episodes(settings: Meta, seed: int) -> CrossTaskEpisodes:
            assert isinstance(settings, Ctml)
            return CrossTaskEpisodes(
                choice_sources, parallel, settings, BatchSampler(toy_store, seed, "ctml")
            )

        return World(toy_model(**model), episodes, sampler or Reinforce(3, hidden=4, window=3))

    return build


@pytest.fixture
def batches(toy_store: ActivationCache) -> BatchSampler:
    return BatchSampler(toy_store, 0, "stage")


@pytest.fixture
def auxiliary(toy_task: Callable[..., TaskData]) -> dict[str, TaskData]:
    return {language: toy_task("target", language) for language in ("sw", "th", "ta")}


@pytest.fixture
def shots(toy_task: Callable[..., TaskData]) -> TaskData:
    return toy_task("target", "et", size=16)
