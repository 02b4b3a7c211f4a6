import pytest
import torch
from tests.meta.problems import adapt, close, flat, point, quadratic, unflat

from metaxcr.errors import UserError
from metaxcr.meta.learners.base import Losses

ALPHA = 0.2


@pytest.mark.parametrize("steps", [1, 3])
def test_anil_on_quadratics_has_its_closed_form(steps: int) -> None:
    """x_k = x_(k-1) - alpha P g and v <- (I - alpha A P) v, with P the projection on the scorer."""
    support, query, phi = quadratic(1), quadratic(2), point()
    project = torch.diag(flat({"adapter": torch.zeros(3), "scorer": torch.ones(2)}).double())
    end = flat(phi)
    for _ in range(steps):
        end = end - ALPHA * project @ support.gradient(end)
    back = torch.linalg.matrix_power(torch.eye(5, dtype=torch.float64) - ALPHA * support.a @ project, steps)

    adapted = adapt("anil", Losses(support, query), phi, inner_steps=steps)
    first = adapt("anil", Losses(support, query), phi, inner_steps=steps, first_order=True)

    assert close(adapted.phi, unflat(end))
    assert torch.equal(adapted.phi["adapter"], phi["adapter"])
    assert close(adapted.meta_grad, unflat(back @ query.gradient(end)))
    assert close(first.meta_grad, unflat(query.gradient(end)))
    assert not close(first.meta_grad, adapted.meta_grad, 1e-3)


def test_inner_steps_cost_a_forward_pass_alone() -> None:
    losses = Losses(quadratic(1), quadratic(2))
    assert adapt("anil", losses, point(), inner_steps=4, first_order=True).passes == {
        "support": 4,
        "query": 3,
    }
    assert adapt("anil", losses, point(), inner_steps=4).passes == {"support": 16, "query": 3}


def test_without_a_scorer_there_is_nothing_to_move() -> None:
    with pytest.raises(UserError, match="no scorer"):
        adapt("anil", Losses(lambda p: p["w"].sum(), lambda p: p["w"].sum()), {"w": torch.ones(2)})
