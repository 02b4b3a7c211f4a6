import math

import numpy as np
import pytest
from tests.sampling.conftest import Tell

from metaxcr.sampling import Exp3, Feedback


def test_weights_grow_by_the_reward_over_the_probability(tell: Tell) -> None:
    sampler = Exp3(3, rate=0.2)
    state = sampler.update(sampler.init(0), Feedback(1, np.array([0.5, 0.1, 0.4]), {1: 7.0}))
    # the first reward is neither good nor bad: 1/2, over the probability 0.1
    w = np.array([1.0, math.exp(0.2 * 0.5 / 0.1), 1.0])
    assert sampler.probabilities(state) == pytest.approx(w / w.sum())


def test_rewards_of_all_sources_are_not_divided(tell: Tell) -> None:
    sampler = Exp3(2, rate=0.2)
    state = sampler.init(0)
    for rewards in ({0: 0.0, 1: 0.0}, {0: 1.0, 1: -1.0}, {0: 1.0, 1: -1.0}):
        state = sampler.update(state, tell(2, 0, rewards))
    # mean 0 and deviation 0 at the second call: clipped at +-3; sqrt(1/2) at the third
    gain = 3 / 6 - 0 / 6 + 3 / 6 + math.sqrt(2) / 6 - (-math.sqrt(2) / 6)
    assert sampler.probabilities(state)[0] == pytest.approx(1 / (1 + math.exp(-0.2 * gain)))


def test_a_long_run_does_not_overflow(tell: Tell) -> None:
    sampler, state = Exp3(3, rate=100.0), Exp3(3).init(0)
    for n in range(200):
        state = sampler.update(state, tell(3, 1, float(n)))
    assert np.isfinite(sampler.probabilities(state)).all()
