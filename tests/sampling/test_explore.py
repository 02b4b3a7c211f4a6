import pytest
import torch
from tests.sampling.conftest import Tell

from metaxcr.sampling import Exp3, Explore, State


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
