import numpy as np
import pytest
import torch

from metaxcr.sampling import Uniform


@pytest.mark.parametrize("sources", [1, 2, 7])
def test_uniform_gives_every_source_the_same_probability_whatever_it_is_paid(sources: int) -> None:
    sampler = Uniform(sources)
    state = sampler.init(0)
    for _ in range(5):
        state = sampler.update(state, 0, 100.0)

    p = sampler.probabilities(state)

    assert p.dtype == np.float64
    assert p.tolist() == pytest.approx([1 / sources] * sources)
    assert not sampler.wants_reward


def test_uniform_counts_episodes_and_leaves_the_old_state_alone() -> None:
    sampler = Uniform(3)
    first = sampler.init(0)
    second = sampler.update(first, 1, 0.0)
    assert (int(first["episodes"]), int(second["episodes"])) == (0, 1)
    assert second["episodes"].dtype == torch.int64
