"""The calibration that times every stage."""

from collections import Counter

import pytest
import torch
from tests.runs.test_cost_model import amounts, settings

from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.runs.cost_model import works
from metaxcr.runs.data_amounts import Amounts
from metaxcr.runs.timing import calibrate, timing_key


def test_everything_that_is_done_is_timed(toy_encoder: FrozenEncoder) -> None:
    config = settings("ctml.steps=3", "clml.few_shot_steps=3")
    data = amounts(config=config)
    data = Amounts(**{**vars(data), "baseline": data.evaluation})
    done = works(config, data)
    found = calibrate(config, data, toy_encoder, torch.float32, done, 0.5)
    for work in done:
        timing = found[timing_key(work)]
        assert timing.seconds(work.steps, work.parts) > 0
        assert timing.memory_mb > 10
    ctml, twice = found["ctml", ""], Counter(done[0].parts)
    twice.update(done[0].parts)
    assert ctml.seconds(6, twice) == pytest.approx(2 * ctml.seconds(3, done[0].parts))
