import pytest
import torch
from tests.meta.problems import adapt, close, descend, flat, gradient, point, quadratic, regression, unflat

from metaxcr.meta.learners.base import Losses

ALPHA = 0.2
STEPS = [1, 2, 5]


@pytest.mark.parametrize("steps", STEPS)
def test_maml_on_quadratics_has_its_closed_form(steps: int) -> None:
    """grad = (I - alpha A)^K A_q (x_K - b_q) with x_K = b + (I - alpha A)^K (x - b)."""
    support, query, phi = quadratic(1), quadratic(2), point()

    adapted = adapt("maml", Losses(support, query), phi, inner_steps=steps)

    shrink = torch.linalg.matrix_power(torch.eye(5, dtype=torch.float64) - ALPHA * support.a, steps)
    end = support.b + shrink @ (flat(phi) - support.b)
    assert close(adapted.phi, unflat(end))
    assert close(adapted.meta_grad, unflat(shrink @ query.gradient(end)))
    assert adapted.query_loss == pytest.approx(float(query(unflat(end))))


@pytest.mark.parametrize("steps", STEPS)
def test_fomaml_on_quadratics_has_its_closed_form(steps: int) -> None:
    support, query, phi = quadratic(1), quadratic(2), point()

    adapted = adapt("fomaml", Losses(support, query), phi, inner_steps=steps)

    shrink = torch.linalg.matrix_power(torch.eye(5, dtype=torch.float64) - ALPHA * support.a, steps)
    end = support.b + shrink @ (flat(phi) - support.b)
    assert close(adapted.meta_grad, unflat(query.gradient(end)))


@pytest.mark.parametrize("steps", STEPS)
def test_fomaml_is_the_query_gradient_at_the_adapted_parameters(steps: int) -> None:
    support, query, phi = regression(0), regression(1), point()

    adapted = adapt("fomaml", Losses(support, query), phi, inner_steps=steps)

    end = descend(support, phi, steps)
    assert close(adapted.phi, end)
    assert close(adapted.meta_grad, gradient(query, end))
    assert not close(adapted.meta_grad, gradient(query, phi), 1e-3)
    walk = [float(support(descend(support, phi, k))) for k in range(steps)]
    assert adapted.inner_losses == pytest.approx(walk)


@pytest.mark.parametrize("steps", STEPS)
def test_the_first_order_switch_gives_fomaml_to_the_bit_and_another_gradient_than_maml(steps: int) -> None:
    losses, phi = Losses(regression(0), regression(1)), point()
    whole, switched, fomaml = (
        adapt(name, losses, phi, inner_steps=steps, **extra)
        for name, extra in (("maml", {}), ("maml", {"first_order": True}), ("fomaml", {}))
    )
    assert all(torch.equal(switched.meta_grad[n], fomaml.meta_grad[n]) for n in phi)
    assert not close(whole.meta_grad, fomaml.meta_grad, 1e-2)
    assert close(whole.phi, fomaml.phi, 0)
    assert switched.passes == fomaml.passes == {"support": 3 * steps, "query": 3}
    assert whole.passes == {"support": 12 * steps, "query": 3}


def test_on_a_linear_support_loss_both_orders_agree() -> None:
    losses = Losses(lambda phi: flat(phi).sum(), quadratic(2))
    one, other = (adapt(name, losses, point(), inner_steps=3) for name in ("maml", "fomaml"))
    assert close(one.meta_grad, other.meta_grad, 1e-15)
