import pytest
import torch
from torch import Tensor

from metaxcr.meta.inner import Objective, Params
from metaxcr.meta.learners import LEARNERS, fomaml, reptile

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


def gradient(objective: Objective, at: Params) -> Params:
    leaves = {name: p.clone().requires_grad_() for name, p in at.items()}
    objective(leaves).backward()
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}


def descend(objective: Objective, phi: Params, steps: int) -> Params:
    for _ in range(steps):
        slope = gradient(objective, phi)
        phi = {name: p - ALPHA * slope[name] for name, p in phi.items()}
    return phi


def close(one: Params, other: Params, atol: float = 1e-6) -> bool:
    return one.keys() == other.keys() and all(torch.allclose(one[n], other[n], atol=atol) for n in one)


@pytest.mark.parametrize("steps", [1, 3])
def test_fomaml_direction_is_the_query_gradient_at_the_adapted_parameters(phi: Params, steps: int) -> None:
    support, query = regression(0), regression(1)

    adapted = fomaml(support, query, phi, steps, ALPHA)

    end = descend(support, phi, steps)
    assert close(adapted.direction, gradient(query, end))
    assert not close(adapted.direction, gradient(query, phi), atol=1e-3)
    assert close(adapted.phi, end)
    assert adapted.query_loss == pytest.approx(float(query(end)), abs=1e-6)
    assert adapted.support_loss == pytest.approx(float(support(phi)), abs=1e-6)


@pytest.mark.parametrize("steps", [1, 3])
def test_reptile_walks_over_support_and_then_query(phi: Params, steps: int) -> None:
    support, query = regression(0), regression(1)

    adapted = reptile(support, query, phi, steps, ALPHA)

    after_support = descend(support, phi, steps)
    end = descend(query, after_support, 1)
    walked = {name: p - ALPHA * adapted.direction[name] for name, p in phi.items()}
    assert close(walked, end)
    assert close(adapted.phi, after_support), "rewards look at the parameters before the query step"
    assert adapted.query_loss == pytest.approx(float(query(after_support)), abs=1e-6)
    assert adapted.support_loss == pytest.approx(float(support(phi)), abs=1e-6)


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_another_query_batch_changes_the_direction_but_not_the_adapted_parameters(
    phi: Params, name: str
) -> None:
    one, other = (LEARNERS[name](regression(0), regression(q), phi, 2, ALPHA) for q in (1, 2))

    assert not close(one.direction, other.direction, atol=1e-3)
    assert close(one.phi, other.phi, atol=0)


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_another_support_batch_changes_the_direction(phi: Params, name: str) -> None:
    one, other = (LEARNERS[name](regression(s), regression(5), phi, 2, ALPHA) for s in (1, 2))
    assert not close(one.direction, other.direction, atol=1e-3)


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_phi_is_left_alone(phi: Params, name: str) -> None:
    before = {n: p.clone() for n, p in phi.items()}

    adapted = LEARNERS[name](regression(0), regression(1), phi, 2, ALPHA)

    assert close(phi, before, atol=0)
    assert not any(t.requires_grad for t in (*adapted.direction.values(), *adapted.phi.values()))
