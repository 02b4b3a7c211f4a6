from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from metaxcr.sampling import reinforce, reward_stats
from metaxcr.sampling.reinforce import Reinforce
from metaxcr.sampling.sampler import Feedback, State


def test_it_is_an_lstm_with_two_linear_heads() -> None:
    """Against torch's cell, over three episodes."""
    n, hidden = 3, 5
    psi = reinforce.init_policy(n, hidden, seed=1)
    psi |= {name: torch.randn(psi[name].shape) for name in ("logits", "value")}
    width = reinforce.input_width(n)
    cell = torch.nn.LSTMCell(width, hidden)
    with torch.no_grad():
        cell.weight_ih.copy_(psi["cell"][:, :width])
        cell.weight_hh.copy_(psi["cell"][:, width:-1])
        cell.bias_ih.copy_(psi["cell"][:, -1])
        cell.bias_hh.zero_()
    h = c = torch.zeros(hidden)
    hx = (torch.zeros(1, hidden), torch.zeros(1, hidden))
    for _ in range(3):
        x = torch.randn(width)
        logits, value, h, c = reinforce.policy_step(psi, x, h, c)
        hx = cell(x[None], hx)
        assert torch.allclose(h, hx[0][0], atol=1e-6) and torch.allclose(c, hx[1][0], atol=1e-6)
        assert torch.allclose(logits, psi["logits"][:, :-1] @ h + psi["logits"][:, -1], atol=1e-6)
        assert float(value) == pytest.approx(float(psi["value"][:-1] @ h + psi["value"][-1]), abs=1e-6)


def test_it_starts_uniform_from_a_seed() -> None:
    one, again, other = (reinforce.init_policy(4, 6, seed) for seed in (0, 0, 1))
    assert torch.equal(one["cell"], again["cell"]) and not torch.equal(one["cell"], other["cell"])
    assert float(one["cell"].abs().max()) <= 6**-0.5
    assert not one["logits"].any() and not one["value"].any()


def test_the_input_tells_the_last_episode_and_what_each_source_gave() -> None:
    x = reinforce.next_input(torch.zeros(reinforce.input_width(3)), 1, 2.0, 0.75)
    assert x.tolist() == pytest.approx([0, 1, 0, 2.0, -0.25, 0, 0.4, 0])
    x = reinforce.next_input(x, 2, -1.0, 1.5)
    assert x.tolist() == pytest.approx([0, 0, 1, -1.0, 0.5, 0, 0.4, -0.2])


REWARDS = [0.3, -0.1, 0.25, 0.8, -0.6, 0.05, 0.4, 0.0, 0.15]


def feed(sampler: Reinforce, state: State, rewards: Sequence[float], first: int = 0) -> State:
    """Pick the sources in turn."""
    for n, reward in enumerate(rewards, start=first):
        source = n % sampler.sources
        told = Feedback(source, sampler.probabilities(state), {source: reward}, 1 - 0.01 * n)
        state = sampler.update(state, told)
    return state


@pytest.mark.parametrize("sources", [1, 2, 7])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_policy_starts_uniform(sources: int, seed: int) -> None:
    sampler = Reinforce(sources)
    p = sampler.probabilities(sampler.init(seed))
    assert p.tolist() == pytest.approx([1 / sources] * sources)
    assert sampler.wants_reward


def objective_by_hand(sampler: Reinforce, psi: State, begin: State, told: Sequence[Feedback]) -> torch.Tensor:
    """The docstring's sum over one window, from the state at its start."""
    state, h, c, x = dict(begin), begin["h"], begin["c"], begin["x"]
    total = torch.zeros(())
    for feedback in told:
        (source, reward), *_ = feedback.rewards.items()
        z = reward_stats.normalise(state, reward, sampler.s_min)
        state |= reward_stats.update_normalizer(state, reward, sampler.memory)
        state |= reward_stats.update_stats(state, source, z, 1 - 1 / sampler.horizon)
        logits, value, h, c = reinforce.policy_step(psi, x, h, c)
        v = float(value.detach()) if sampler.baseline == "learned" else 0.0
        weight = (sampler.sources * feedback.probabilities[source]) ** -sampler.balance
        p = torch.softmax(logits, 0)
        entropy = -(p * torch.log(p)).sum()
        total = total + reward_stats.shrinkage(state) * weight * (z - v) * torch.log(p[source])
        total = total + sampler.entropy * entropy + sampler.barrier * torch.log(p).mean()
        if sampler.baseline == "learned":
            total = total - (value - z) ** 2 / 2
        x = reinforce.next_input(x, source, z - v, feedback.loss)
    return total


@pytest.mark.parametrize("baseline", ["running", "learned"])
def test_a_window_is_one_step_up_the_gradient_of_the_definition(baseline: str) -> None:
    """Three windows: each begins with the hidden state of the one before, through which no gradient flows."""
    sampler = Reinforce(3, hidden=5, window=4, lr=0.5, baseline=baseline)  # type: ignore[arg-type]
    state = sampler.init(7)
    generator = torch.Generator().manual_seed(0)
    for name in ("psi.logits", "psi.value"):  # away from the start, where much of the gradient is zero
        state[name] = 0.5 * torch.randn(state[name].shape, generator=generator)
    for window in range(3):
        begin, told = state, []
        for n, source in enumerate((0, 1, 1, 2)):
            reward = REWARDS[(4 * window + n) % len(REWARDS)]
            q = np.array([0.5, 0.3, 0.2])
            told.append(Feedback(source, q, {source: reward}, 0.9))
            state = sampler.update(state, told[-1])
        psi = {
            n.removeprefix("psi."): p.clone().requires_grad_() for n, p in begin.items() if n[:4] == "psi."
        }
        objective_by_hand(sampler, psi, begin, told).backward()
        for name, p in psi.items():
            assert p.grad is not None or (name == "value" and baseline == "running")
            expected = p.detach() + 0.5 * (p.grad if p.grad is not None else 0)
            assert torch.allclose(state[f"psi.{name}"], expected, atol=1e-5), (window, name)
        assert len(state["inputs"]) == len(state["pulls"]) == len(state["targets"]) == 0
    assert reward_stats.shrinkage(state) > 0.01, "the advantages had no part in it"


def test_the_policy_learns_at_the_end_of_a_window_only() -> None:
    sampler = Reinforce(3, window=8)
    begin = sampler.init(0)
    seven, eight = (feed(sampler, begin, REWARDS[:n]) for n in (7, 8))
    assert all(torch.equal(seven[n], begin[n]) for n in begin if n.startswith("psi."))
    assert not torch.equal(eight["psi.logits"], begin["psi.logits"])


def test_an_episode_without_reward_changes_nothing() -> None:
    sampler = Reinforce(3)
    state = feed(sampler, sampler.init(0), REWARDS[:3])
    after = sampler.update(state, Feedback(1, np.full(3, 1 / 3), {}, 0.5))
    assert after.keys() == state.keys() and all(torch.equal(after[n], state[n]) for n in state)


def test_rewards_of_all_sources_are_the_expectation_over_draws() -> None:
    """One step with all of them is, pull for pull, the mean of the steps with one, weighted by q."""
    sampler, q = Reinforce(3, window=100, balance=0.5), np.array([0.5, 0.2, 0.3])
    state = sampler.init(0)
    for n in range(12):
        state = sampler.update(state, Feedback(0, q, dict(enumerate([0.3 + 0.1 * (n % 3), 0.0, -0.1]))))
    rewards = {0: 0.5, 1: 0.1, 2: -0.3}
    new = sampler.update(state, Feedback(0, q, rewards))
    z = {j: reward_stats.normalise(state, r, sampler.s_min) for j, r in rewards.items()}
    centre = sum(q[j] * z[j] for j in z)
    trust = reward_stats.shrinkage(new)
    expected = [trust * q[j] * (3 * q[j]) ** -0.5 * (z[j] - centre) for j in range(3)]
    assert new["pulls"][-1].tolist() == pytest.approx(expected, rel=1e-5)
    assert trust > 0.5


def test_entropy_bonus_and_barrier_push_towards_uniform() -> None:
    peak = {}
    for entropy, barrier in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5)):
        sampler = Reinforce(3, entropy=entropy, barrier=barrier)
        state = sampler.init(0)
        state["psi.logits"][:, -1] = torch.tensor([2.0, 0.0, -1.0])
        begin = sampler.probabilities(state).max()
        peak[entropy, barrier] = sampler.probabilities(feed(sampler, state, [0.1] * 160)).max()
    assert peak[0.0, 0.0] == pytest.approx(begin, abs=0.02)  # what is left is the LSTM's input
    assert peak[0.5, 0.0] < 0.6 < begin and peak[0.0, 0.5] < 0.5


@pytest.mark.parametrize("baseline", ["running", "learned"])
def test_a_saved_sampler_goes_on_exactly_as_if_it_had_not_stopped(tmp_path: Path, baseline: str) -> None:
    sampler = Reinforce(3, hidden=4, window=3, baseline=baseline)  # type: ignore[arg-type]
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
    state = feed(sampler, sampler.init(0), REWARDS[:5])
    before = {n: t.clone() for n, t in state.items()}

    sampler.probabilities(state)
    feed(sampler, state, [0.1])  # ends the window

    assert state.keys() == before.keys()
    assert all(torch.equal(state[n], before[n]) for n in before)


def test_one_source_alone_is_always_drawn() -> None:
    sampler = Reinforce(1, hidden=4, window=2)
    state = feed(sampler, sampler.init(0), REWARDS)
    assert sampler.probabilities(state).tolist() == [1.0]
    assert all(bool(torch.isfinite(t).all()) for t in state.values())
