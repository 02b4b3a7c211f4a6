import pytest
import torch
from tests.meta.problems import adapt, close, descend, flat, point, quadratic, regression, unflat

from metaxcr.meta.learners.base import Losses

ALPHA = 0.2


@pytest.mark.parametrize("steps", [1, 3])
def test_reptile_walks_over_support_and_then_query(steps: int) -> None:
    support, query, phi = regression(0), regression(1), point()

    adapted = adapt("reptile", Losses(support, query), phi, inner_steps=steps)

    after_support = descend(support, phi, steps)
    walked = {name: p - ALPHA * adapted.meta_grad[name] for name, p in phi.items()}
    assert close(walked, descend(query, after_support, 1))
    assert close(adapted.phi, after_support), "rewards look at the parameters before the query step"
    assert adapted.query_loss == pytest.approx(float(query(after_support)))


@pytest.mark.parametrize("steps", [1, 4])
def test_reptile_on_quadratics_has_its_closed_form(steps: int) -> None:
    support, query, phi = quadratic(1), quadratic(2), point()
    adapted = adapt("reptile", Losses(support, query), phi, inner_steps=steps)
    one = torch.eye(5, dtype=torch.float64)
    middle = support.b + torch.linalg.matrix_power(one - ALPHA * support.a, steps) @ (flat(phi) - support.b)
    end = query.b + (one - ALPHA * query.a) @ (middle - query.b)
    assert close(adapted.meta_grad, unflat((flat(phi) - end) / ALPHA))


def test_in_expectation_reptile_also_raises_the_agreement_of_the_two_gradients() -> None:
    """Over both orders: g_s + g_q - alpha / 2 * grad <g_s, g_q> (Nichol et al. 2018, section 5.1)."""
    one, other, phi = quadratic(1), quadratic(2), point()
    there, back = (adapt("reptile", Losses(*pair), phi) for pair in ((one, other), (other, one)))
    mean = {n: (there.meta_grad[n] + back.meta_grad[n]) / 2 for n in phi}

    first, second = one.gradient(flat(phi)), other.gradient(flat(phi))
    agreement = one.a @ second + other.a @ first  # grad <g_s, g_q>
    assert close(mean, unflat(first + second - ALPHA / 2 * agreement))


def test_plain_descent_along_the_direction_is_reptile_s_own_update() -> None:
    """phi - (beta alpha) * direction = phi + beta (phi'_end - phi)."""
    support, query, phi = regression(0), regression(1), point()
    adapted, beta = adapt("reptile", Losses(support, query), phi), 0.3
    end = descend(query, descend(support, phi, 1), 1)
    ours = {n: p - beta * ALPHA * adapted.meta_grad[n] for n, p in phi.items()}
    assert close(ours, {n: p + beta * (end[n] - p) for n, p in phi.items()})
