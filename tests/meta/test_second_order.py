from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metaxcr.meta.inner import Objective, Params, inner_path, value_and_grad
from metaxcr.meta.second_order import hessian_product, pull_back
from metaxcr.scoring.batch import Batch, TaskData, make_batch
from metaxcr.scoring.model import ChoiceModel

from .problems import close, flat, gradient, point, quadratic, regression, unflat

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
    return pull_back([support] * steps, path, ALPHA, value_and_grad(query, path.end)[1])[0]


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
