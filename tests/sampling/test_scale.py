import numpy as np
import pytest

from metaxcr.sampling import State, scale

REWARDS = [0.3, -0.1, 0.25, 0.8, -0.6, 0.05, 0.4, 0.0, 0.15]


def seen(rewards: list[float], memory: float = 0.99) -> State:
    state = scale.init_scale()
    for reward in rewards:
        state |= scale.observe(state, reward, memory)
    return state


def test_earlier_rewards_are_the_measure() -> None:
    for n in range(2, len(REWARDS)):
        earlier = np.array(REWARDS[:n])
        expected = np.clip((REWARDS[n] - earlier.mean()) / earlier.std(), -3, 3)
        assert scale.standardise(seen(REWARDS[:n]), REWARDS[n], 1e-9) == pytest.approx(expected, abs=1e-9)


def test_the_first_reward_is_neither_good_nor_bad() -> None:
    assert scale.standardise(scale.init_scale(), 123.0, 1e-9) == 0.0


@pytest.mark.parametrize(("reward", "z"), [(100.0, 3.0), (-100.0, -3.0)])
def test_outliers_are_clipped(reward: float, z: float) -> None:
    assert scale.standardise(seen(REWARDS), reward, 1e-9) == z


def test_a_small_deviation_is_replaced_by_s_min() -> None:
    state = seen([1.0, 1.0, 1.0])
    assert scale.standardise(state, 1.25, 0.5) == pytest.approx(0.5)
    assert scale.standardise(state, 1.0, 0.5) == 0.0


def test_old_rewards_fade() -> None:
    """After the memory is full, mean and variance decay by its rate."""
    mean, var, rewards = 1.0, 0.0, [1.0, 3.0, 2.0, 7.0]
    for reward in rewards[1:]:
        mean, var = 0.5 * mean + 0.5 * reward, 0.5 * (var + 0.5 * (reward - mean) ** 2)
    state = seen(rewards, memory=0.5)
    assert float(state["scale.mean"]) == pytest.approx(mean)
    assert float(state["scale.var"]) == pytest.approx(var)
