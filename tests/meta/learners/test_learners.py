"""What holds for every learner."""

from typing import Any

import pytest
import torch
from torch import Tensor

from metaxcr.config import Meta
from metaxcr.meta.inner import Objective, Params
from metaxcr.meta.learners import LEARNERS, Adapted, Losses, make_learner

ALPHA = 0.3


def regression(seed: int) -> Objective:
    """A small non-linear regression problem: gradients differ from point to point."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(6, 3, generator=generator), torch.randn(6, generator=generator)

    def loss(phi: Params) -> Tensor:
        return (torch.tanh(x @ phi["a"]) * phi["b"] - y).pow(2).mean()

    return loss


@pytest.fixture
def phi() -> Params:
    return {"a": torch.tensor([0.5, -0.3, 0.8]), "b": torch.tensor(0.7)}


def close(one: Params, other: Params, atol: float = 1e-6) -> bool:
    return one.keys() == other.keys() and all(torch.allclose(one[n], other[n], atol=atol) for n in one)


def adapt(name: str, support: Objective, query: Objective, phi: Params, **settings: Any) -> Adapted:
    learner = make_learner(Meta.model_validate({"learner": name, "inner_rate": ALPHA, **settings}))
    return learner.adapt(Losses(support, query, (regression(8), regression(9))), phi, learner.init(phi))


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_another_query_batch_changes_the_direction_but_not_the_adapted_parameters(
    phi: Params, name: str
) -> None:
    one, other = (adapt(name, regression(0), regression(q), phi) for q in (1, 2))

    assert not close(one.direction, other.direction, atol=1e-3)
    assert close(one.phi, other.phi, atol=0)


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_another_support_batch_changes_the_direction(phi: Params, name: str) -> None:
    one, other = (adapt(name, regression(s), regression(5), phi) for s in (1, 2))
    assert not close(one.direction, other.direction, atol=1e-3)


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_phi_is_left_alone_and_nothing_carries_a_graph(phi: Params, name: str) -> None:
    before = {n: p.clone() for n, p in phi.items()}

    adapted = adapt(name, regression(0), regression(1), phi)

    assert close(phi, before, atol=0)
    tensors = (*adapted.direction.values(), *adapted.phi.values(), *adapted.own.values())
    assert not any(t.requires_grad for t in tensors)


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_the_adapted_parameters_are_a_step_down_the_support_loss(phi: Params, name: str) -> None:
    adapted = adapt(name, regression(0), regression(1), phi)
    assert adapted.support_loss == pytest.approx(float(regression(0)(phi)), abs=1e-6)
    assert float(regression(0)(adapted.phi)) < adapted.support_loss
    assert adapted.direction.keys() == phi.keys() == adapted.phi.keys()
