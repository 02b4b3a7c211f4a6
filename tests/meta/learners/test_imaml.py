import pytest
import torch
from tests.meta.problems import Quadratic, adapt, close, flat, point, quadratic, unflat

from metaxcr.meta.learners.base import Losses
from metaxcr.meta.learners.imaml import conjugate_gradients

ONE = torch.eye(5, dtype=torch.float64)


@pytest.mark.parametrize("strength", [0.5, 2.0])
@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_imaml_on_quadratics_is_the_exact_solution(strength: float, damping: float) -> None:
    """x* = (A + lambda I)^-1 (A b + lambda x)

    direction = (dx*/dx)' grad L_q = (I + A / lambda)^-1 grad L_q(x*).
    """
    support, query, phi = quadratic(1), quadratic(2), point()
    imaml = {"strength": strength, "cg_steps": 10, "damping": damping}

    adapted = adapt("imaml", Losses(support, query), phi, inner_steps=200, imaml=imaml)

    solution = torch.linalg.solve(support.a + strength * ONE, support.a @ support.b + strength * flat(phi))
    system = (1 + damping) * ONE + support.a / strength
    assert close(adapted.phi, unflat(solution))
    assert close(adapted.meta_grad, unflat(torch.linalg.solve(system, query.gradient(solution))), 1e-5)
    assert adapted.notes["cg_residual"] <= 1e-6


def test_the_inner_steps_descend_the_support_loss_with_the_pull_towards_phi() -> None:
    support, phi = quadratic(1), point()
    adapted = adapt("imaml", Losses(support, quadratic(2)), phi, inner_steps=2, imaml={"strength": 3.0})
    x = flat(phi)
    losses = []
    for _ in range(2):
        losses.append(float(support(unflat(x))))
        x = x - 0.2 * (support.gradient(x) + 3.0 * (x - flat(phi)))
    assert close(adapted.phi, unflat(x))
    assert adapted.inner_losses == pytest.approx(losses)


def test_fewer_iterations_leave_a_larger_residual_and_cost_less() -> None:
    runs = [
        adapt("imaml", Losses(quadratic(1), quadratic(2)), point(), inner_steps=3, imaml={"cg_steps": n})
        for n in (1, 2, 3)
    ]
    residuals = [run.notes["cg_residual"] for run in runs]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[-1] > 1e-12
    # a product an iteration, 9 passes each; 3 passes an inner step
    assert [run.passes["support"] for run in runs] == [9 + 9 * n for n in (1, 2, 3)]


def test_conjugate_gradients_solve_a_positive_system_in_as_many_steps_as_unknowns() -> None:
    a, b = quadratic(3).a, flat(point(4))
    x, products, residual = conjugate_gradients(lambda v: unflat(a @ flat(v)), unflat(b), 5, 0.0)
    assert torch.allclose(flat(x), torch.linalg.solve(a, b), atol=1e-8)
    assert residual < 1e-8
    assert products == 5


def test_they_stop_as_soon_as_the_system_is_solved() -> None:
    x, products, residual = conjugate_gradients(lambda v: v, point(), 5)
    assert (products, residual) == (1, 0.0)
    assert close(x, point(), 0)
    zero = {n: torch.zeros_like(p) for n, p in point().items()}
    nothing, products, residual = conjugate_gradients(lambda v: v, zero, 5)
    assert (products, residual) == (0, 0.0)
    assert close(nothing, zero, 0)


def test_they_stop_at_negative_curvature_with_a_direction_that_descends() -> None:
    bowl = torch.diag(torch.tensor([1.0, 2.0, 0.5, -3.0, 1.0], dtype=torch.float64))
    start = torch.tensor([1.0, 1.0, 1.0, 0.1, 1.0], dtype=torch.float64)
    x, products, residual = conjugate_gradients(lambda v: unflat(bowl @ flat(v)), unflat(start), 50)
    assert 1 < products < 50
    assert residual > 1e-6
    assert float(flat(x) @ start) > 0
    at_once, products, residual = conjugate_gradients(lambda v: unflat(-flat(v)), unflat(start), 50)
    assert (products, residual) == (1, 1.0)
    assert close(at_once, unflat(start), 0)


def test_a_saddle_gives_a_finite_direction() -> None:
    saddle = Quadratic(-quadratic(1).a, torch.zeros(5, dtype=torch.float64))
    adapted = adapt("imaml", Losses(saddle, quadratic(2)), point(), imaml={"strength": 0.1})
    assert bool(torch.isfinite(flat(adapted.meta_grad)).all())
    assert float(flat(adapted.meta_grad).norm()) > 0
