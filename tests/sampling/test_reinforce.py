import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from metaxcr.sampling import Reinforce, State

REWARDS = [0.3, -0.1, 0.25, 0.8, -0.6, 0.05, 0.4, 0.0, 0.15]


def feed(sampler: Reinforce, state: State, rewards: Sequence[float], first: int = 0) -> State:
    """Pick the sources in turn."""
    for n, reward in enumerate(rewards, start=first):
        state = sampler.update(state, n % sampler.sources, reward)
    return state


def play(sampler: Reinforce, pay: Sequence[float], noise: float, seed: int, episodes: int) -> np.ndarray:
    """A bandit; returns the mean probabilities of its last 50 episodes."""
    generator, state, history = np.random.default_rng(seed), sampler.init(seed), []
    for _ in range(episodes):
        p = sampler.probabilities(state)
        history.append(p)
        source = int(generator.choice(len(pay), p=p))
        state = sampler.update(state, source, pay[source] + noise * generator.standard_normal())
    return np.mean(history[-50:], axis=0)


@pytest.mark.parametrize("sources", [1, 2, 7])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_policy_starts_uniform(sources: int, seed: int) -> None:
    sampler = Reinforce(sources)
    p = sampler.probabilities(sampler.init(seed))
    assert p.tolist() == pytest.approx([1 / sources] * sources)
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    assert sampler.wants_reward


def test_a_seed_decides_the_initial_policy() -> None:
    sampler = Reinforce(3)
    name = "psi.cell.weight_ih"
    assert torch.equal(sampler.init(1)[name], sampler.init(1)[name])
    assert not torch.equal(sampler.init(1)[name], sampler.init(2)[name])


def test_the_advantage_uses_earlier_rewards_only() -> None:
    sampler = Reinforce(3, window=100)
    for n in range(2, len(REWARDS)):
        state = feed(sampler, sampler.init(0), REWARDS[:n])
        earlier = np.array(REWARDS[:n])
        expected = (REWARDS[n] - earlier.mean()) / earlier.std()
        assert sampler.advantage(state, REWARDS[n]) == pytest.approx(np.clip(expected, -3, 3), abs=1e-9)
        used = sampler.update(state, 0, REWARDS[n])["advantages"][-1]
        assert float(used) == pytest.approx(np.clip(expected, -3, 3), abs=1e-6)


def test_the_first_advantage_is_zero() -> None:
    sampler = Reinforce(3)
    assert sampler.advantage(sampler.init(0), 123.0) == 0.0


@pytest.mark.parametrize(("reward", "advantage"), [(100.0, 3.0), (-100.0, -3.0)])
def test_the_advantage_is_clipped(reward: float, advantage: float) -> None:
    sampler = Reinforce(3, window=100)
    assert sampler.advantage(feed(sampler, sampler.init(0), REWARDS), reward) == advantage


def test_a_small_deviation_is_replaced_by_s_min() -> None:
    sampler = Reinforce(3, s_min=0.5, window=100)
    state = feed(sampler, sampler.init(0), [1.0, 1.0, 1.0])
    assert sampler.advantage(state, 1.25) == pytest.approx(0.5)
    assert sampler.advantage(state, 1.0) == 0.0


def test_old_rewards_fade() -> None:
    """After the memory is full, mean and variance decay by its rate."""
    sampler = Reinforce(2, window=1000, memory=0.5)
    rewards = [1.0, 3.0, 2.0, 7.0]
    state, mean, var = sampler.init(0), 0.0, 0.0
    for n, reward in enumerate(rewards):
        weight = 1.0 if n == 0 else 0.5
        mean, var = (
            (1 - weight) * mean + weight * reward,
            (1 - weight) * (var + weight * (reward - mean) ** 2),
        )
        state = sampler.update(state, 0, reward)
        assert float(state["reward_mean"]) == pytest.approx(mean)
        assert float(state["reward_var"]) == pytest.approx(var)


def lstm(psi: State, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """An LSTM cell and a linear layer, written out; gates in the order input, forget, cell, output."""
    gates = psi["cell.weight_ih"] @ x + psi["cell.bias_ih"]
    gates = gates + psi["cell.weight_hh"] @ h + psi["cell.bias_hh"]
    i, f, g, o = gates.chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return psi["out.weight"] @ h + psi["out.bias"], h, c


def psi_of(state: State) -> State:
    return {n.removeprefix("psi."): p for n, p in state.items() if n.startswith("psi.")}


def hand_window(
    sampler: Reinforce,
    psi: State,
    sources: Sequence[int],
    advantages: Sequence[float],
    begin: dict[str, Tensor],
) -> tuple[State, State]:
    """Gradient of minus the mean of advantage * log pi(i) + entropy bonus; and where the window ends."""
    n = sampler.sources
    leaves = {name: p.clone().requires_grad_() for name, p in psi.items()}
    h, c, x, total = begin["h"], begin["c"], begin["x"], torch.zeros(())
    for source, advantage in zip(sources, advantages, strict=True):
        logits, h, c = lstm(leaves, x, h, c)
        p = torch.softmax(logits, 0)
        entropy = -(p * torch.log(p)).sum() / math.log(n)
        total = total + advantage * torch.log(p[source]) + sampler.entropy * entropy
        means = x[n + 1 :].clone()
        means[source] = 0.8 * means[source] + 0.2 * advantage
        x = torch.cat([torch.eye(n)[source], torch.tensor([advantage]), means])
    (-total / len(sources)).backward()
    end = {"h": h.detach(), "c": c.detach(), "x": x}
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}, end


def test_the_reinforce_gradient_is_that_of_the_definition() -> None:
    """Two windows: the second begins with the hidden state of the first, through which no gradient flows."""
    sampler = Reinforce(3, hidden=5, window=4, entropy=0.3)
    state = sampler.init(7)
    generator = torch.Generator().manual_seed(0)
    for name in ("psi.out.weight", "psi.out.bias"):  # away from uniform, where much of the gradient is zero
        state[name] = 0.5 * torch.randn(state[name].shape, generator=generator)
    begin = {name: state[name] for name in ("h", "c", "x")}
    first_moments = {name: torch.zeros_like(p) for name, p in psi_of(state).items()}
    for window in range(2):
        psi, sources, advantages = psi_of(state), [(2 * window + n) % 3 for n in (0, 1, 1, 2)], []
        for n, source in enumerate(sources):
            advantages.append(sampler.advantage(state, REWARDS[4 * window + n]))
            state = sampler.update(state, source, REWARDS[4 * window + n])
        gradient, begin = hand_window(sampler, psi, sources, advantages, begin)
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradient.values()))
        for name, g in gradient.items():
            first_moments[name] = 0.9 * first_moments[name] + 0.1 * g * min(1.0, 1.0 / norm)
            assert torch.allclose(state[f"adam.m.{name}"], first_moments[name], atol=1e-6), name
        assert any(float(g.abs().max()) > 1e-3 for g in gradient.values())
        assert torch.allclose(state["h"], begin["h"], atol=1e-6)
        assert torch.equal(state["x"], begin["x"])
        assert len(state["actions"]) == 0


def test_the_policy_learns_at_the_end_of_a_window_only() -> None:
    sampler = Reinforce(3, window=4)
    begin = sampler.init(0)
    three = feed(sampler, begin, REWARDS[:3])
    four = feed(sampler, begin, REWARDS[:4])
    assert all(torch.equal(three[n], begin[n]) for n in begin if n.startswith("psi."))
    assert not torch.equal(four["psi.out.weight"], begin["psi.out.weight"])


def test_a_good_reward_raises_the_probability_and_a_bad_one_lowers_it() -> None:
    for sign in (1, -1):
        sampler = Reinforce(4, window=2, entropy=0.0)
        state = sampler.init(0)
        state = sampler.update(state, 0, 0.0)
        state = sampler.update(state, 2, sign * 1.0)
        assert sign * (sampler.probabilities(state)[2] - 0.25) > 0


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_the_source_that_pays_more(seed: int) -> None:
    best = seed % 5
    pay = [0.004 * (source == best) for source in range(5)]

    p = play(Reinforce(5), pay, noise=0.004, seed=seed, episodes=300)

    assert p.argmax() == best
    assert p[best] > 0.6


@pytest.mark.parametrize("seed", range(4))
def test_it_stays_uniform_when_all_sources_pay_the_same(seed: int) -> None:
    p = play(Reinforce(5), [0.01] * 5, noise=0.0, seed=seed, episodes=300)
    assert p.tolist() == pytest.approx([0.2] * 5, abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_noise_alone_does_not_make_it_give_up_a_source(seed: int) -> None:
    sampler = Reinforce(5, entropy=0.2)
    p = play(sampler, [0.0] * 5, noise=0.004, seed=seed, episodes=300)
    assert 0.08 < p.min() < p.max() < 0.4


def test_the_entropy_bonus_pushes_towards_uniform() -> None:
    spread = {}
    for entropy in (0.0, 0.5):
        sampler = Reinforce(3, entropy=entropy)
        state = sampler.init(0)
        state["psi.out.bias"] = torch.tensor([2.0, 0.0, -1.0])
        begin = sampler.probabilities(state).max()
        state = feed(sampler, state, [0.1] * 800)
        spread[entropy] = sampler.probabilities(state).max()
    assert spread[0.0] == pytest.approx(begin, abs=1e-6)
    assert spread[0.5] < 0.5 < begin


def test_a_saved_sampler_goes_on_exactly_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    sampler = Reinforce(3, hidden=4, window=3)
    rewards = REWARDS * 2
    whole = feed(sampler, sampler.init(0), rewards)
    for stop in range(len(rewards)):  # within windows, at their ends, and before the first episode
        save_file(feed(sampler, sampler.init(0), rewards[:stop]), tmp_path / f"{stop}.safetensors")
        loaded = {n: t.clone() for n, t in load_file(tmp_path / f"{stop}.safetensors").items()}
        resumed = feed(sampler, loaded, rewards[stop:], first=stop)
        assert sampler.probabilities(resumed).tobytes() == sampler.probabilities(whole).tobytes()
        assert all(torch.equal(resumed[n], whole[n]) for n in whole)


def test_states_are_left_alone() -> None:
    sampler = Reinforce(3, hidden=4, window=2)
    state = sampler.update(sampler.init(0), 1, 0.5)
    before = {n: t.clone() for n, t in state.items()}

    sampler.probabilities(state)
    sampler.update(state, 2, 0.1)  # ends the window

    assert state.keys() == before.keys()
    assert all(torch.equal(state[n], before[n]) for n in before)


def test_one_source_alone_is_always_drawn() -> None:
    sampler = Reinforce(1, hidden=4, window=2)
    state = feed(sampler, sampler.init(0), REWARDS)
    assert sampler.probabilities(state).tolist() == [1.0]
    assert all(bool(torch.isfinite(t).all()) for t in state.values())
