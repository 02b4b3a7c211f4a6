import numpy as np
import pytest
import torch
from tests.sampling.conftest import Tell

from metaxcr.sampling import Fixed, Uniform, temperature


@pytest.mark.parametrize("sources", [1, 2, 7])
def test_uniform_is_uniform_whatever_it_is_paid(sources: int, tell: Tell) -> None:
    sampler = Uniform(sources)
    state = sampler.init(0)
    for _ in range(5):
        state = sampler.update(state, tell(sources, 0, 100.0))

    p = sampler.probabilities(state)

    assert p.dtype == np.float64
    assert p.tolist() == pytest.approx([1 / sources] * sources)
    assert not sampler.wants_reward


def test_episodes_are_counted_and_the_old_state_is_left_alone(tell: Tell) -> None:
    sampler = Fixed((1.0, 2.0, 1.0))
    first = sampler.init(0)
    second = sampler.update(first, tell(3, 1, 0.0))
    assert (int(first["episodes"]), int(second["episodes"])) == (0, 1)
    assert second["episodes"].dtype == torch.int64
    assert sampler.probabilities(second).tolist() == [0.25, 0.5, 0.25]


@pytest.mark.parametrize(
    ("t", "expected"), [(1.0, [0.1, 0.3, 0.6]), (2.0, np.sqrt([1, 3, 6]) / np.sqrt([1, 3, 6]).sum())]
)
def test_temperature(t: float, expected: list[float]) -> None:
    sampler = temperature([1000, 3000, 6000], t)
    assert sampler.probabilities(sampler.init(0)) == pytest.approx(expected)


def test_a_high_temperature_is_uniform_and_large_sizes_do_not_overflow() -> None:
    assert temperature([1, 10**6], 1e6).probabilities({}) == pytest.approx([0.5, 0.5], abs=1e-5)
    assert temperature([10**200, 10**200], 0.5).probabilities({}).tolist() == [0.5, 0.5]
