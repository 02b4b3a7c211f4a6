import pytest
import torch
from tests.meta.problems import adapt, close, flat, gradient, point, quadratic, regression, unflat

from metaxcr.autodiff import Params
from metaxcr.meta.learners.base import Losses

ALPHA = 0.2


def multipliers() -> Params:
    return unflat(torch.tensor([0.5, 1.0, -0.25, 2.0, 1.5], dtype=torch.float64))


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_meta_sgd_on_quadratics_has_its_closed_form(steps: int) -> None:
    """With D = diag(alpha c): v_(k-1) = (I - A D) v_k, and dL/dc = - alpha sum g_k v_k."""
    support, query, phi = quadratic(1), quadratic(2), point()
    rates = torch.diag(ALPHA * flat(multipliers()))
    points = [flat(phi)]
    for _ in range(steps):
        points.append(points[-1] - rates @ support.gradient(points[-1]))
    v, slope = query.gradient(points[-1]), torch.zeros(5, dtype=torch.float64)
    for x in reversed(points[:-1]):
        slope -= ALPHA * support.gradient(x) * v
        v = v - support.a @ (rates @ v)

    adapted = adapt("meta-sgd", Losses(support, query), phi, multipliers(), inner_steps=steps)

    assert close(adapted.phi, unflat(points[-1]))
    assert close(adapted.meta_grad, unflat(v))
    assert close(adapted.meta_params_grad, unflat(slope))


@pytest.mark.parametrize("steps", [1, 3])
def test_both_meta_gradients_are_what_autograd_finds_through_the_unrolled_loop(steps: int) -> None:
    support, query = regression(0), regression(1)

    def unrolled(variables: Params) -> torch.Tensor:
        phi = {n: variables[f"phi.{n}"] for n in ("adapter", "scorer")}
        for _ in range(steps):
            slope = torch.autograd.grad(support(phi), list(phi.values()), create_graph=True)
            phi = {
                n: p - ALPHA * variables[f"c.{n}"] * g for (n, p), g in zip(phi.items(), slope, strict=True)
            }
        return query(phi)

    c = multipliers()
    theirs = gradient(
        unrolled, {f"phi.{n}": p for n, p in point().items()} | {f"c.{n}": p for n, p in c.items()}
    )
    adapted = adapt("meta-sgd", Losses(support, query), point(), c, inner_steps=steps)
    ours = {f"phi.{n}": g for n, g in adapted.meta_grad.items()} | {
        f"c.{n}": g for n, g in adapted.meta_params_grad.items()
    }
    assert close(ours, theirs)


def test_with_all_multipliers_one_it_is_maml() -> None:
    losses = Losses(regression(0), regression(1))
    ours, maml = (adapt(name, losses, point(), inner_steps=3) for name in ("meta-sgd", "maml"))
    assert close(ours.meta_grad, maml.meta_grad)
    assert close(ours.phi, maml.phi)


@pytest.mark.parametrize("steps", [1, 3])
def test_in_first_order_the_rates_are_learned_all_the_same(steps: int) -> None:
    support, query, phi = quadratic(1), quadratic(2), point()
    rates, x, total = ALPHA * flat(multipliers()), flat(phi), torch.zeros(5, dtype=torch.float64)
    for _ in range(steps):
        total += support.gradient(x)
        x = x - rates * support.gradient(x)

    adapted = adapt(
        "meta-sgd", Losses(support, query), phi, multipliers(), inner_steps=steps, first_order=True
    )

    assert close(adapted.meta_grad, unflat(query.gradient(x)))
    assert close(adapted.meta_params_grad, unflat(-ALPHA * total * query.gradient(x)))
    whole = adapt("meta-sgd", Losses(support, query), phi, multipliers(), inner_steps=steps)
    assert not close(adapted.meta_grad, whole.meta_grad, 1e-3)
    assert close(adapted.meta_params_grad, whole.meta_params_grad, 1e-9) == (steps == 1), (
        "the last step needs no second derivative"
    )
