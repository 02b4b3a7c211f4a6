import numpy as np
import pytest
from scipy.stats import f_oneway

from metaxcr.sampling import reward_stats
from metaxcr.sampling.sampler import State

REWARDS = [0.3, -0.1, 0.25, 0.8, -0.6, 0.05, 0.4, 0.0, 0.15]


def seen(rewards: list[float], memory: float = 0.99) -> State:
    state = reward_stats.init_normalizer()
    for reward in rewards:
        state |= reward_stats.update_normalizer(state, reward, memory)
    return state


def test_earlier_rewards_are_the_measure() -> None:
    for n in range(2, len(REWARDS)):
        earlier = np.array(REWARDS[:n])
        expected = np.clip((REWARDS[n] - earlier.mean()) / earlier.std(), -3, 3)
        assert reward_stats.normalise(seen(REWARDS[:n]), REWARDS[n], 1e-9) == pytest.approx(
            expected, abs=1e-9
        )


def test_the_first_reward_is_neither_good_nor_bad() -> None:
    assert reward_stats.normalise(reward_stats.init_normalizer(), 123.0, 1e-9) == 0.0


@pytest.mark.parametrize(("reward", "z"), [(100.0, 3.0), (-100.0, -3.0)])
def test_outliers_are_clipped(reward: float, z: float) -> None:
    assert reward_stats.normalise(seen(REWARDS), reward, 1e-9) == z


def test_a_small_deviation_is_replaced_by_s_min() -> None:
    state = seen([1.0, 1.0, 1.0])
    assert reward_stats.normalise(state, 1.25, 0.5) == pytest.approx(0.5)
    assert reward_stats.normalise(state, 1.0, 0.5) == 0.0


def test_old_rewards_fade() -> None:
    """After the memory is full, mean and variance decay by its rate."""
    mean, var, rewards = 1.0, 0.0, [1.0, 3.0, 2.0, 7.0]
    for reward in rewards[1:]:
        mean, var = 0.5 * mean + 0.5 * reward, 0.5 * (var + 0.5 * (reward - mean) ** 2)
    state = seen(rewards, memory=0.5)
    assert float(state["scale.mean"]) == pytest.approx(mean)
    assert float(state["scale.var"]) == pytest.approx(var)


def seen_evidence(values: np.ndarray, decay: float = 1.0) -> State:
    """Values of each source: (sources, values), told in turn."""
    state = reward_stats.init_stats(len(values))
    for column in values.T:
        for source, value in enumerate(column):
            state |= reward_stats.update_stats(state, source, float(value), decay)
    return state


def test_means_and_counts_fade() -> None:
    state = seen_evidence(np.array([[1.0, 5.0]]), decay=0.5)
    assert float(reward_stats.counts(state)[0]) == 1.5
    assert float(reward_stats.means(state)[0]) == pytest.approx((0.5 * 1.0 + 5.0) / 1.5)


def test_trust_follows_fishers_f() -> None:
    values = np.random.default_rng(0).standard_normal((4, 9))
    values += np.array([0.0, 0.2, 0.4, 0.9])[:, None]
    f = f_oneway(*values).statistic
    assert reward_stats.shrinkage(seen_evidence(values)) == pytest.approx(f**2 / (1 + f**2))


def test_noise_is_trusted_half_on_average_and_a_difference_fully() -> None:
    noise = np.random.default_rng(1).standard_normal((200, 5, 20))
    gap = np.array([1.0, 0, 0, 0, 0])[:, None]
    assert np.median([reward_stats.shrinkage(seen_evidence(v)) for v in noise]) < 0.5
    assert np.median([reward_stats.shrinkage(seen_evidence(v + gap)) for v in noise]) > 0.9


@pytest.mark.parametrize("values", [np.zeros((5, 0)), np.ones((5, 1)), np.ones((5, 9)), np.ones((1, 9))])
def test_without_evidence_there_is_no_trust(values: np.ndarray) -> None:
    assert reward_stats.shrinkage(seen_evidence(values)) == 0.0
