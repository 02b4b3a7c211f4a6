import numpy as np
import pytest
import torch

from metaxcr.sampling.fixed import Uniform
from metaxcr.sampling.reinforce import Reinforce
from metaxcr.sampling.sampler import Feedback, SourcesAndLanguages, softmax


def test_softmax_sums_to_one_in_float64() -> None:
    logits = torch.tensor([0.1, -20.0, 3.0, 3.0])
    p = softmax(logits)
    assert p.dtype == np.float64
    assert p.sum() == pytest.approx(1.0, abs=1e-15)
    expected = np.exp(logits.double().numpy())
    assert p == pytest.approx(expected / expected.sum())


def is_cross_task(step: int) -> bool:
    return step % 3 != 2


@pytest.fixture
def both() -> SourcesAndLanguages:
    return SourcesAndLanguages(Reinforce(2, window=4), Reinforce(3, window=4), is_cross_task)


def test_each_acts_in_its_own_episodes(both: SourcesAndLanguages) -> None:
    state = both.init(0)
    for step in range(9):
        p = both.probabilities(state)
        asked, idle = (p[:2], p[2:]) if is_cross_task(step) else (p[2:], p[:2])
        assert asked.sum() == pytest.approx(1)
        assert not idle.any()
        arm = int(np.argmax(p))
        state = both.update(state, Feedback(arm, p, {arm: 0.1}))


def test_each_is_what_it_would_be_alone(both: SourcesAndLanguages) -> None:
    """Arms, rewards and states of either one are untouched by the other one's episodes."""
    state = both.init(5)
    alone = {"source/": both.sources.init(5), "language/": both.languages.init(5)}
    draw = np.random.default_rng(0)
    for step in range(60):
        prefix, first, sampler = (
            ("source/", 0, both.sources) if is_cross_task(step) else ("language/", 2, both.languages)
        )
        p = both.probabilities(state)
        expected = sampler.probabilities(alone[prefix])
        assert np.allclose(p[first : first + len(expected)], expected)
        arm, reward = int(draw.choice(len(p), p=p)), float(draw.normal())
        state = both.update(state, Feedback(arm, p, {arm: reward}, 0.8))
        told = Feedback(arm - first, expected, {arm - first: reward}, 0.8)
        alone[prefix] = sampler.update(alone[prefix], told)
    for prefix, part in alone.items():
        assert all(torch.equal(state[prefix + name], tensor) for name, tensor in part.items())


def test_the_better_language_is_found(both: SourcesAndLanguages) -> None:
    sampler = SourcesAndLanguages(Uniform(2), Reinforce(3), is_cross_task)
    assert sampler.wants_reward
    state, draw = sampler.init(0), np.random.default_rng(1)
    for _ in range(900):
        p = sampler.probabilities(state)
        arm = int(draw.choice(5, p=p))
        reward = 0.1 * (arm == 3) + 0.05 * float(draw.normal())
        state = sampler.update(state, Feedback(arm, p, {arm: reward}))
    state["episodes"] = torch.tensor(2)
    assert sampler.probabilities(state)[3] > 0.6


def test_ctml_state_is_taken_over(both: SourcesAndLanguages) -> None:
    trained = both.sources.init(3)
    for _ in range(8):
        trained = both.sources.update(trained, Feedback(1, np.full(2, 0.5), {1: 1.0}))
    state = both.join(trained, 0)
    assert torch.equal(state["source/scale.mean"], trained["scale.mean"])
    assert not SourcesAndLanguages(Uniform(2), Uniform(2), is_cross_task).wants_reward
