import numpy as np
import pytest
import torch
from tests.sampling.conftest import Tell

from metaxcr.sampling import Thompson


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
