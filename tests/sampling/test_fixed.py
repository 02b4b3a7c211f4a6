import numpy as np
import pytest
import torch
from tests.sampling.conftest import Tell

from metaxcr.sampling.bandits import Exp3
from metaxcr.sampling.fixed import Explore, Fixed, Uniform, temperature
from metaxcr.sampling.sampler import State


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


def test_warm_up_is_uniform_and_taught_from(tell: Tell) -> None:
    sampler = Explore(Exp3(3), floor=0.3, warmup=2)
    state = sampler.init(0)
    for reward in (0.0, 5.0):
        assert sampler.probabilities(state).tolist() == pytest.approx([1 / 3] * 3)
        state = sampler.update(state, tell(3, 1, reward))
    assert sampler.probabilities(state)[1] > 0.34


def test_no_source_falls_below_the_floor() -> None:
    class Stubborn(Exp3):
        def probabilities(self, state: State):  # type: ignore[no-untyped-def]
            return super().probabilities(state) * [0.0, 0.0, 3.0]

    sampler = Explore(Stubborn(3), floor=0.3, warmup=0)
    assert sampler.probabilities(sampler.init(0)).tolist() == pytest.approx([0.1, 0.1, 0.8])
    assert sampler.wants_reward


def test_the_state_of_the_sampler_inside_is_kept_apart(tell: Tell) -> None:
    inner = Exp3(3)
    outer = Explore(inner, floor=0.1, warmup=1)
    one, other, told = inner.init(0), outer.init(0), tell(3, 2, 1.0)
    for _ in range(3):
        one, other = inner.update(one, told), outer.update(other, told)
    assert int(other.pop("explore.episodes")) == 3
    assert one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)
