"""Sizes of the data of a run."""

import pytest

from metaxcr.config.io import load_config
from metaxcr.runs.data_amounts import Pool, typical


def test_texts_that_questions_share_are_held_once() -> None:
    shared = Pool("source", "task", 1600, 10.0, growth=0.5)
    assert shared.distinct(8) == 80
    assert shared.distinct(64) == 320
    assert shared.all_tokens == 1600


def test_distinct_texts_grow_more_slowly_the_smaller_the_exponent() -> None:
    grown = [Pool("source", "task", 1600, 10.0, growth=g).distinct(640) for g in (0.0, 0.5, 1.0)]
    assert grown == sorted(grown) and grown[-1] == 6400


def test_typical_amounts_have_what_the_settings_name() -> None:
    config = load_config("starter", ["target.k=8"])
    found = typical(config)
    assert set(found.shots) == set(config.target.languages)
    assert all(pool.items == 8 for pool in found.shots.values())
    assert list(found.sources)[-1] == config.target.english.task
    assert found.target.items == pytest.approx(found.sources[config.target.english.task].items)
