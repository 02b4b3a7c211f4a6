import pytest
import torch
from torch import Tensor

from metaxcr.meta.inner import Objective, Params, descend, inner_loop, inner_path, value_and_grad


def quadratic(centre: Tensor, curvature: float) -> Objective:
    """curvature / 2 * |w - centre|^2: gradient curvature * (w - centre)."""
    return lambda phi: curvature / 2 * ((phi["w"] - centre) ** 2).sum()


@pytest.fixture
def phi() -> Params:
    return {"w": torch.tensor([1.0, -2.0, 3.0]), "unused": torch.ones(2)}


def test_value_and_grad_of_a_quadratic(phi: Params) -> None:
    loss, gradient = value_and_grad(quadratic(torch.tensor([0.0, 0.0, 1.0]), 3.0), phi)

    assert loss == pytest.approx(1.5 * (1 + 4 + 4))
    assert torch.equal(gradient["w"], torch.tensor([3.0, -6.0, 6.0]))


def test_parameters_that_an_objective_does_not_touch_have_a_zero_gradient(phi: Params) -> None:
    assert torch.equal(value_and_grad(quadratic(torch.zeros(3), 1.0), phi)[1]["unused"], torch.zeros(2))


def test_value_and_grad_agrees_with_autograd() -> None:
    generator = torch.Generator().manual_seed(1)
    phi = {"a": torch.randn(4, 3, generator=generator), "b": torch.randn(3, generator=generator)}
    x = torch.randn(5, 4, generator=generator)
    leaves = {name: p.clone().requires_grad_() for name, p in phi.items()}
    by_hand = torch.tanh(x @ leaves["a"] + leaves["b"]).pow(2).sum()
    by_hand.backward()

    loss, gradient = value_and_grad(lambda p: torch.tanh(x @ p["a"] + p["b"]).pow(2).sum(), phi)

    assert loss == by_hand.item()
    for name, leaf in leaves.items():
        assert torch.equal(gradient[name], leaf.grad)


def test_gradients_carry_no_graph(phi: Params) -> None:
    _, gradient = value_and_grad(quadratic(torch.zeros(3), 1.0), phi)
    assert not any(g.requires_grad for g in gradient.values())


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_inner_loop_on_a_quadratic_has_its_closed_form(phi: Params, steps: int) -> None:
    centre, curvature, alpha = torch.tensor([2.0, 2.0, -1.0]), 0.8, 0.25

    adapted, losses = inner_loop([quadratic(centre, curvature)] * steps, phi, alpha)

    shrink = (1 - alpha * curvature) ** steps
    assert torch.allclose(adapted["w"], centre + shrink * (phi["w"] - centre), atol=1e-6)
    start = curvature / 2 * float(((phi["w"] - centre) ** 2).sum())
    assert losses == pytest.approx([start * (1 - alpha * curvature) ** (2 * k) for k in range(steps)])


def test_inner_loop_takes_one_objective_a_step_in_their_order(phi: Params) -> None:
    first, second = quadratic(torch.full((3,), 5.0), 1.0), quadratic(torch.full((3,), -5.0), 0.5)

    there, _ = inner_loop([first, second], phi, 0.1)
    half_way, _ = inner_loop([first], phi, 0.1)
    in_steps, _ = inner_loop([second], half_way, 0.1)
    back, _ = inner_loop([second, first], phi, 0.1)

    assert torch.equal(there["w"], in_steps["w"])
    assert not torch.allclose(there["w"], back["w"])


def test_arguments_stay_as_they_were(phi: Params) -> None:
    before = {name: p.clone() for name, p in phi.items()}

    value_and_grad(quadratic(torch.zeros(3), 1.0), phi)
    adapted, _ = inner_loop([quadratic(torch.zeros(3), 1.0)] * 3, phi, 0.1)

    assert all(torch.equal(phi[name], before[name]) and not phi[name].requires_grad for name in phi)
    assert not any(p.requires_grad for p in adapted.values())


def test_the_path_holds_every_point_gradient_and_loss(phi: Params) -> None:
    objectives = [quadratic(torch.tensor([2.0, 2.0, -1.0]), c) for c in (0.8, 0.4, 0.2)]

    path = inner_path(objectives, phi, 0.25)

    end, losses = inner_loop(objectives, phi, 0.25)
    assert torch.equal(path.end["w"], end["w"])
    assert path.losses == losses
    assert len(path.points) == len(path.gradients) + 1 == 4
    for objective, start, gradient, after in zip(
        objectives, path.points, path.gradients, path.points[1:], strict=False
    ):
        assert torch.equal(gradient["w"], value_and_grad(objective, start)[1]["w"])
        assert torch.equal(after["w"], start["w"] - 0.25 * gradient["w"])


def test_only_the_named_parameters_move_and_have_a_gradient() -> None:
    phi = {"a": torch.ones(2), "b": torch.ones(2)}

    def objective(p: Params) -> Tensor:
        return (p["a"] * p["b"]).sum()

    assert value_and_grad(objective, phi, ["b"])[1].keys() == {"b"}
    end = inner_path([objective] * 2, phi, 0.1, ["b"]).end
    assert torch.equal(end["a"], phi["a"])
    assert torch.allclose(end["b"], torch.full((2,), 0.8))


def test_rates_may_differ_from_element_to_element() -> None:
    phi, slope = {"w": torch.tensor([1.0, 1.0])}, {"w": torch.tensor([2.0, 2.0])}
    moved = descend(phi, slope, {"w": torch.tensor([0.5, -0.25])})
    assert torch.equal(moved["w"], torch.tensor([0.0, 1.5]))
