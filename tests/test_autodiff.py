from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tests.meta.problems import close, flat, gradient, point, quadratic, regression, unflat
from torch import Tensor

from metaxcr.autodiff import (
    Objective,
    Params,
    backprop_through_inner_loop,
    descend,
    hessian_product,
    inner_loop,
    inner_path,
    value_and_grad,
)
from metaxcr.model.batch import Batch, TaskData, make_batch
from metaxcr.model.choice_model import ChoiceModel


def quadratic_inner(centre: Tensor, curvature: float) -> Objective:
    """curvature / 2 * |w - centre|^2: gradient curvature * (w - centre)."""
    return lambda phi_of_inner: curvature / 2 * ((phi_of_inner["w"] - centre) ** 2).sum()


@pytest.fixture
def phi_of_inner() -> Params:
    return {"w": torch.tensor([1.0, -2.0, 3.0]), "unused": torch.ones(2)}


def test_value_and_grad_of_a_quadratic(phi_of_inner: Params) -> None:
    loss, gradient = value_and_grad(quadratic_inner(torch.tensor([0.0, 0.0, 1.0]), 3.0), phi_of_inner)

    assert loss == pytest.approx(1.5 * (1 + 4 + 4))
    assert torch.equal(gradient["w"], torch.tensor([3.0, -6.0, 6.0]))


def test_parameters_that_an_objective_does_not_touch_have_a_zero_gradient(phi_of_inner: Params) -> None:
    assert torch.equal(
        value_and_grad(quadratic_inner(torch.zeros(3), 1.0), phi_of_inner)[1]["unused"], torch.zeros(2)
    )


def test_value_and_grad_agrees_with_autograd() -> None:
    generator = torch.Generator().manual_seed(1)
    phi_of_inner = {"a": torch.randn(4, 3, generator=generator), "b": torch.randn(3, generator=generator)}
    x = torch.randn(5, 4, generator=generator)
    leaves = {name: p.clone().requires_grad_() for name, p in phi_of_inner.items()}
    by_hand = torch.tanh(x @ leaves["a"] + leaves["b"]).pow(2).sum()
    by_hand.backward()

    loss, gradient = value_and_grad(lambda p: torch.tanh(x @ p["a"] + p["b"]).pow(2).sum(), phi_of_inner)

    assert loss == by_hand.item()
    for name, leaf in leaves.items():
        assert torch.equal(gradient[name], leaf.grad)


def test_gradients_carry_no_graph(phi_of_inner: Params) -> None:
    _, gradient = value_and_grad(quadratic_inner(torch.zeros(3), 1.0), phi_of_inner)
    assert not any(g.requires_grad for g in gradient.values())


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_inner_loop_on_a_quadratic_has_its_closed_form(phi_of_inner: Params, steps: int) -> None:
    centre, curvature, alpha = torch.tensor([2.0, 2.0, -1.0]), 0.8, 0.25

    adapted, losses = inner_loop([quadratic_inner(centre, curvature)] * steps, phi_of_inner, alpha)

    shrink = (1 - alpha * curvature) ** steps
    assert torch.allclose(adapted["w"], centre + shrink * (phi_of_inner["w"] - centre), atol=1e-6)
    start = curvature / 2 * float(((phi_of_inner["w"] - centre) ** 2).sum())
    assert losses == pytest.approx([start * (1 - alpha * curvature) ** (2 * k) for k in range(steps)])


def test_inner_loop_takes_one_objective_a_step_in_their_order(phi_of_inner: Params) -> None:
    first, second = quadratic_inner(torch.full((3,), 5.0), 1.0), quadratic_inner(torch.full((3,), -5.0), 0.5)

    there, _ = inner_loop([first, second], phi_of_inner, 0.1)
    half_way, _ = inner_loop([first], phi_of_inner, 0.1)
    in_steps, _ = inner_loop([second], half_way, 0.1)
    back, _ = inner_loop([second, first], phi_of_inner, 0.1)

    assert torch.equal(there["w"], in_steps["w"])
    assert not torch.allclose(there["w"], back["w"])


def test_arguments_stay_as_they_were(phi_of_inner: Params) -> None:
    before = {name: p.clone() for name, p in phi_of_inner.items()}

    value_and_grad(quadratic_inner(torch.zeros(3), 1.0), phi_of_inner)
    adapted, _ = inner_loop([quadratic_inner(torch.zeros(3), 1.0)] * 3, phi_of_inner, 0.1)

    assert all(
        torch.equal(phi_of_inner[name], before[name]) and not phi_of_inner[name].requires_grad
        for name in phi_of_inner
    )
    assert not any(p.requires_grad for p in adapted.values())


def test_the_path_holds_every_point_gradient_and_loss(phi_of_inner: Params) -> None:
    objectives = [quadratic_inner(torch.tensor([2.0, 2.0, -1.0]), c) for c in (0.8, 0.4, 0.2)]

    path = inner_path(objectives, phi_of_inner, 0.25)

    end, losses = inner_loop(objectives, phi_of_inner, 0.25)
    assert torch.equal(path.end["w"], end["w"])
    assert path.losses == losses
    assert len(path.points) == len(path.gradients) + 1 == 4
    for objective, start, slope, after in zip(
        objectives, path.points, path.gradients, path.points[1:], strict=False
    ):
        assert torch.equal(slope["w"], value_and_grad(objective, start)[1]["w"])
        assert torch.equal(after["w"], start["w"] - 0.25 * slope["w"])


def test_only_the_named_parameters_move_and_have_a_gradient() -> None:
    phi_of_inner = {"a": torch.ones(2), "b": torch.ones(2)}

    def objective(p: Params) -> Tensor:
        return (p["a"] * p["b"]).sum()

    assert value_and_grad(objective, phi_of_inner, ["b"])[1].keys() == {"b"}
    end = inner_path([objective] * 2, phi_of_inner, 0.1, ["b"]).end
    assert torch.equal(end["a"], phi_of_inner["a"])
    assert torch.allclose(end["b"], torch.full((2,), 0.8))


def test_rates_may_differ_from_element_to_element() -> None:
    phi_of_inner, slope = {"w": torch.tensor([1.0, 1.0])}, {"w": torch.tensor([2.0, 2.0])}
    moved = descend(phi_of_inner, slope, {"w": torch.tensor([0.5, -0.25])})
    assert torch.equal(moved["w"], torch.tensor([0.0, 1.5]))


ALPHA = 0.2


def unrolled(support: Objective, query: Objective, steps: int) -> Objective:
    """The query loss at the end of the inner loop with all its steps in one graph, as usually written."""

    def loss(phi: Params) -> Tensor:
        for _ in range(steps):
            slope = torch.autograd.grad(support(phi), list(phi.values()), create_graph=True)
            phi = {n: p - ALPHA * g for (n, p), g in zip(phi.items(), slope, strict=True)}
        return query(phi)

    return loss


def recomputed(support: Objective, query: Objective, phi: Params, steps: int) -> Params:
    path = inner_path([support] * steps, phi, ALPHA)
    return backprop_through_inner_loop([support] * steps, path, ALPHA, value_and_grad(query, path.end)[1])[0]


def test_a_hessian_product_of_a_quadratic_is_a_matrix_product() -> None:
    problem, vector = quadratic(1), point(5)
    assert close(hessian_product(problem, point(), vector), unflat(problem.a @ flat(vector)))


def test_some_columns_of_the_hessian() -> None:
    problem, vector = quadratic(1), point(5)
    ours = hessian_product(problem, point(), {"scorer": vector["scorer"]})
    assert close(ours, unflat(problem.a[:, 3:] @ vector["scorer"]))


def test_a_loss_that_is_linear_or_does_not_touch_a_parameter_has_no_curvature_there() -> None:
    zero = {n: torch.zeros_like(p) for n, p in point().items()}
    assert close(hessian_product(lambda phi: flat(phi).sum(), point(), point(5)), zero, 0)
    assert close(hessian_product(lambda phi: phi["scorer"].sum(), point(), point(5)), zero, 0)


@pytest.mark.parametrize("steps", [1, 4])
def test_recomputing_every_step_gives_the_gradient_of_the_whole_graph(steps: int) -> None:
    support, query = regression(0), regression(1)
    assert close(
        recomputed(support, query, point(), steps), gradient(unrolled(support, query, steps), point()), 1e-12
    )


def test_fused_attention_is_replaced_by_one_that_has_a_second_derivative() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 5, 8, generator=generator)

    def fused(phi: Params) -> Tensor:
        return F.scaled_dot_product_attention(q * phi["w"], k, v).pow(3).sum()

    def written_out(phi: Params) -> Tensor:
        return (torch.softmax(q * phi["w"] @ k.transpose(-1, -2) * 8**-0.5, -1) @ v).pow(3).sum()

    phi, vector = {"w": torch.ones(8)}, {"w": torch.linspace(-1, 1, 8)}
    with pytest.raises(RuntimeError, match=r"not implemented|does not require grad"):
        leaf = phi["w"].clone().requires_grad_()
        slope = torch.autograd.grad(fused({"w": leaf}), leaf, create_graph=True)[0]
        torch.autograd.grad((slope * vector["w"]).sum(), leaf)
    assert close(hessian_product(fused, phi, vector), hessian_product(written_out, phi, vector), 1e-5)


# --- on the model ---


@pytest.fixture
def batches(toy_task: Callable[..., TaskData], toy_store: object) -> Callable[[str], tuple[Batch, Batch]]:
    def build(kind: str) -> tuple[Batch, Batch]:
        data = toy_task(kind=kind, choices=(2, 3))
        return tuple(make_batch(data, range(n, n + 6), toy_store) for n in (0, 6))  # type: ignore[return-value]

    return build


def saved_bytes(run: Callable[[], object]) -> int:
    """Largest number of bytes of distinct storages that autograd's graphs held at the same time."""
    held: dict[int, int] = {}
    peak = 0

    class Saved:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal peak
            self.tensor, self.key = tensor, tensor.untyped_storage().data_ptr()
            self.size = tensor.untyped_storage().nbytes()
            held[self.key] = held.get(self.key, 0) + 1
            sizes[self.key] = self.size
            peak = max(peak, sum(sizes[key] for key in held))

        def __del__(self) -> None:
            held[self.key] -= 1
            if not held[self.key]:
                del held[self.key]

    sizes: dict[int, int] = {}
    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        run()
    return peak


@pytest.mark.parametrize("kind", ["dual", "cross"])
def test_memory_does_not_grow_with_the_inner_steps(
    toy_model: Callable[..., ChoiceModel], batches: Callable[[str], tuple[Batch, Batch]], kind: str
) -> None:
    model, (one, other) = toy_model(kind), batches(kind)
    phi = {n: p + 0.01 for n, p in model.params().items()}

    def support(p: Params) -> Tensor:
        return model.loss(p, one)

    def query(p: Params) -> Tensor:
        return model.loss(p, other)

    flat_memory = [saved_bytes(lambda k=k: recomputed(support, query, phi, k)) for k in (1, 2, 4, 8)]
    whole = [saved_bytes(lambda k=k: gradient(unrolled(support, query, k), phi)) for k in (1, 2, 4, 8)]

    assert max(flat_memory) <= 1.1 * min(flat_memory), flat_memory
    assert whole[-1] > 4 * whole[0], whole
    assert flat_memory[-1] < whole[0] * 1.1


@pytest.mark.parametrize("kind", ["dual", "cross"])
@pytest.mark.parametrize("steps", [1, 3])
def test_on_the_model_too_recomputing_changes_nothing(
    toy_model: Callable[..., ChoiceModel],
    batches: Callable[[str], tuple[Batch, Batch]],
    kind: str,
    steps: int,
) -> None:
    model, (one, other) = toy_model(kind), batches(kind)
    phi = {n: p + 0.01 for n, p in model.params().items()}
    losses: list[Objective] = [lambda p: model.loss(p, one), lambda p: model.loss(p, other)]
    ours = recomputed(*losses, phi, steps)
    assert close(ours, gradient(unrolled(*losses, steps), phi), 1e-4)
    assert not close(
        ours, value_and_grad(losses[1], inner_path([losses[0]] * steps, phi, ALPHA).end)[1], 1e-3
    )


def test_in_bfloat16_parameters_and_gradients_stay_in_float32(
    toy_model: Callable[..., ChoiceModel], batches: Callable[[str], tuple[Batch, Batch]]
) -> None:
    coarse, exact, (one, other) = toy_model(dtype=torch.bfloat16), toy_model(), batches("dual")
    phi = {n: p + 0.01 for n, p in exact.params().items()}
    ours, reference = (
        recomputed(lambda p, m=m: m.loss(p, one), lambda p, m=m: m.loss(p, other), phi, 2)
        for m in (coarse, exact)
    )
    assert all(g.dtype == torch.float32 for g in ours.values())
    cosine = F.cosine_similarity(
        *(torch.cat([g[n].reshape(-1) for n in phi]) for g in (ours, reference)), dim=0
    )
    assert float(cosine) > 0.99
