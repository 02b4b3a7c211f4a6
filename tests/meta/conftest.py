"""Fixtures of the meta-training tests."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.meta.world import World

from metaxcr.config.schema import Ctml, Meta
from metaxcr.encoders.activation_cache import TrunkStore
from metaxcr.encoders.encoder import Text
from metaxcr.model.batch import TaskData
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.sampling.reinforce import Reinforce
from metaxcr.sampling.sampler import Sampler
from metaxcr.training.episodes import Curriculum, Draw, English, cross_task


@pytest.fixture
def english(toy_task: Callable[..., TaskData]) -> English:
    sources = {name: toy_task(name, choices=(n,)) for name, n in (("one", 2), ("two", 3), ("three", 5))}
    return English(sources, toy_task("query"), toy_task("reward"), "one")


@pytest.fixture
def parallel(toy_store: TrunkStore) -> dict[str, list[int]]:
    return {lang: toy_store.ensure([Text(f"{lang} line {n}") for n in range(9)]) for lang in ("en", "sw")}


@pytest.fixture
def make_world(
    english: English,
    parallel: dict[str, list[int]],
    toy_store: TrunkStore,
    toy_model: Callable[..., ChoiceModel],
) -> Callable[..., World]:
    def build(sampler: Sampler | None = None, **model: Any) -> World:
        def curriculum(settings: Meta, seed: int) -> Curriculum:
            assert isinstance(settings, Ctml)
            return cross_task(english, parallel, settings, Draw(toy_store, seed, "ctml"))

        return World(toy_model(**model), curriculum, sampler or Reinforce(3, hidden=4, window=3))

    return build
