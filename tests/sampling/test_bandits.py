import math

import numpy as np
import pytest
import torch
from tests.sampling.conftest import Tell

from metaxcr.sampling.bandits import UCB, Exp3, Thompson
from metaxcr.sampling.sampler import Feedback


def test_weights_grow_by_the_reward_over_the_probability(tell: Tell) -> None:
    sampler = Exp3(3, lr=0.2)
    state = sampler.update(sampler.init(0), Feedback(1, np.array([0.5, 0.1, 0.4]), {1: 7.0}))
    # the first reward is neither good nor bad: 1/2, over the probability 0.1
    w = np.array([1.0, math.exp(0.2 * 0.5 / 0.1), 1.0])
    assert sampler.probabilities(state) == pytest.approx(w / w.sum())


def test_rewards_of_all_sources_are_not_divided(tell: Tell) -> None:
    sampler = Exp3(2, lr=0.2)
    state = sampler.init(0)
    for rewards in ({0: 0.0, 1: 0.0}, {0: 1.0, 1: -1.0}, {0: 1.0, 1: -1.0}):
        state = sampler.update(state, tell(2, 0, rewards))
    # mean 0 and deviation 0 at the second call: clipped at +-3; sqrt(1/2) at the third
    gain = 3 / 6 - 0 / 6 + 3 / 6 + math.sqrt(2) / 6 - (-math.sqrt(2) / 6)
    assert sampler.probabilities(state)[0] == pytest.approx(1 / (1 + math.exp(-0.2 * gain)))


def test_a_long_run_does_not_overflow(tell: Tell) -> None:
    sampler, state = Exp3(3, lr=100.0), Exp3(3).init(0)
    for n in range(200):
        state = sampler.update(state, tell(3, 1, float(n)))
    assert np.isfinite(sampler.probabilities(state)).all()


def test_sources_never_drawn_come_first(tell: Tell) -> None:
    sampler = UCB(3)
    state = sampler.update(sampler.init(0), tell(3, 1, 5.0))
    assert sampler.probabilities(state).tolist() == [0.5, 0.0, 0.5]


def test_then_the_highest_bound(tell: Tell) -> None:
    sampler, state = UCB(2, bonus=0.7, discount=0.9), UCB(2).init(0)
    rewards = [(0, 0.1), (1, 0.4), (0, 0.3), (0, 0.6), (1, -0.2), (0, 0.2)]
    for source, reward in rewards:
        state = sampler.update(state, tell(2, source, reward))
    n, total, past = [0.0, 0.0], [0.0, 0.0], []
    for source, reward in rewards:
        n, total = [0.9 * v for v in n], [0.9 * v for v in total]
        mean = sum(past) / max(1, len(past))
        deviation = max(1e-9, math.sqrt(sum((r - mean) ** 2 for r in past) / max(1, len(past))))
        n[source] += 1
        total[source] += max(-3.0, min(3.0, (reward - mean) / deviation)) if past else 0.0
        past.append(reward)
    bound = [total[j] / n[j] + 0.7 * math.sqrt(2 * math.log(max(math.e, sum(n))) / n[j]) for j in (0, 1)]
    assert abs(bound[0] - bound[1]) > 0.01
    assert sampler.probabilities(state)[0] == float(bound[0] > bound[1])


@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_it_comes_back_to_a_source_that_it_left(discount: float, tell: Tell) -> None:
    sampler, state, drawn = UCB(3, discount=discount), UCB(3).init(0), []
    for step in range(80):
        source = int(sampler.probabilities(state).argmax())
        drawn.append(source)
        state = sampler.update(state, tell(3, source, (source == 1) + 0.01 * (step % 2)))
    assert drawn[-20:].count(1) > 8
    assert discount == 1.0 or set(drawn[20:]) == {0, 1, 2}


def test_the_prior_is_uniform() -> None:
    sampler = Thompson(5)
    assert sampler.probabilities(sampler.init(0)).tolist() == pytest.approx([0.2] * 5)


def test_probabilities_are_those_of_drawing_from_the_posterior(tell: Tell) -> None:
    sampler, state = Thompson(3, discount=0.95), Thompson(3).init(0)
    generator = np.random.default_rng(0)
    for step in range(30):
        state = sampler.update(state, tell(3, step % 3, generator.standard_normal() + 0.5 * (step % 3 == 1)))
    n = state["evidence.n"].numpy()
    mean = n * (state["evidence.sum"] / state["evidence.n"]).numpy() / (n + 1)
    draws = mean + generator.standard_normal((400_000, 3)) / np.sqrt(n + 1)
    share = np.bincount(draws.argmax(1), minlength=3) / len(draws)
    assert sampler.probabilities(state) == pytest.approx(share, abs=3e-3)


def test_a_hopeless_source_has_a_probability_of_zero_and_no_nan() -> None:
    sampler, state = Thompson(2), Thompson(2).init(0)
    state["evidence.n"] = torch.tensor([1000.0, 1000.0], dtype=torch.float64)
    state["evidence.sum"] = torch.tensor([3000.0, -3000.0], dtype=torch.float64)
    assert sampler.probabilities(state).tolist() == pytest.approx([1.0, 0.0])
