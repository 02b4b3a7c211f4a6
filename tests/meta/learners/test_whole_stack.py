"""Learners on the real model, adapters and both kinds of scoring, in float64.

Against central finite differences, and against ``higher`` (Grefenstette et al. 2019), written by others.
"""

from collections.abc import Callable
from typing import Any

import higher
import pytest
import torch
from tests.meta.problems import adapt
from torch import Tensor, nn

from metaxcr.adapters.adapted_encoder import AdaptedEncoder
from metaxcr.adapters.layers import AdapterShape
from metaxcr.autodiff import Params, inner_loop
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.meta.learners.base import Losses
from metaxcr.model.batch import Batch, TaskData, make_batch
from metaxcr.model.choice_model import SCORER, ChoiceModel

ALPHA, STEPS = 1.0, 3


class Problem:
    """A model with smooth adapters that are not at their start, and the two batches of an episode."""

    def __init__(self, encoder: FrozenEncoder, kind: str, adapter: str, support: Batch, query: Batch) -> None:
        generator = torch.Generator().manual_seed(1)
        adapted = AdaptedEncoder(encoder, [1, 2], AdapterShape(adapter, 4, "swish"), generator)
        self.model = ChoiceModel(adapted, kind, 0.5, 0.5, torch.float64)
        self.support, self.query = support, query
        self.phi = {
            n: (p + 0.2 * torch.randn(p.shape, generator=generator)).double()
            for n, p in self.model.params().items()
        }
        self.losses = Losses(lambda p: self.model.loss(p, support), lambda p: self.model.loss(p, query))

    def difference(self, after: Callable[[Params], Params], along: Params, h: float = 1e-5) -> float:
        """Slope of L(B_q; after(phi)) along a direction, by central finite differences."""
        up, down = (
            float(self.losses.query(after({n: p + s * h * along[n] for n, p in self.phi.items()})))
            for s in (1, -1)
        )
        return (up - down) / (2 * h)


CASES = [
    ("dual", "pfeiffer"),
    ("cross", "pfeiffer"),
    ("dual", "lora"),
    ("cross", "houlsby"),
    ("dual", "parallel"),
]


@pytest.fixture(params=CASES, ids="-".join)
def problem(
    request: pytest.FixtureRequest,
    toy_encoder: FrozenEncoder,
    toy_store: ActivationCache,
    toy_task: Callable[..., TaskData],
) -> Problem:
    kind, adapter = request.param
    data = toy_task(kind=kind, choices=(2, 3))
    support, query = (make_batch(data, range(n, n + 5), toy_store) for n in (0, 5))
    return Problem(toy_encoder, kind, adapter, support, query)


def directions(phi: Params) -> list[Params]:
    generator = torch.Generator().manual_seed(7)
    return [
        {n: torch.randn(p.shape, generator=generator, dtype=torch.float64) for n, p in phi.items()}
        for _ in range(3)
    ]


def slope(gradient: Params, along: Params) -> float:
    return sum(float((gradient[n] * along[n]).sum()) for n in along)


def descend(problem: Problem, moved: Callable[[str], bool] = lambda name: True) -> Callable[[Params], Params]:
    rates = {n: torch.full_like(p, ALPHA * moved(n)) for n, p in problem.phi.items()}
    return lambda phi: inner_loop([problem.losses.support] * STEPS, phi, rates)[0]


@pytest.mark.parametrize("name", ["maml", "anil", "meta-sgd"])
def test_meta_gradients_are_what_finite_differences_say(problem: Problem, name: str) -> None:
    adapted = adapt(name, problem.losses, problem.phi, inner_steps=STEPS, inner_lr=ALPHA)
    after = descend(problem, (lambda n: n == SCORER) if name == "anil" else (lambda n: True))
    first = adapt("fomaml", problem.losses, problem.phi, inner_steps=STEPS, inner_lr=ALPHA)
    gap = {n: g - adapted.meta_grad[n] for n, g in first.meta_grad.items()}
    assert slope(gap, gap) > 1e-4 * slope(adapted.meta_grad, adapted.meta_grad), "second order has to matter"
    for along in directions(problem.phi):
        expected = problem.difference(after, along)
        assert slope(adapted.meta_grad, along) == pytest.approx(expected, rel=1e-6, abs=1e-8)
        assert slope(first.meta_grad, along) != pytest.approx(expected, rel=1e-3), (
            "second order has to matter"
        )


def test_so_are_meta_sgd_s_gradients_of_its_rates(problem: Problem) -> None:
    ones = {n: torch.ones_like(p) for n, p in problem.phi.items()}
    adapted = adapt("meta-sgd", problem.losses, problem.phi, ones, inner_steps=STEPS, inner_lr=ALPHA)

    def loss(multipliers: Params) -> float:
        rates = {n: ALPHA * c for n, c in multipliers.items()}
        end, _ = inner_loop([problem.losses.support] * STEPS, problem.phi, rates)
        return float(problem.losses.query(end))

    h = 1e-4
    for along in directions(problem.phi):
        up, down = (loss({n: ones[n] + s * h * along[n] for n in ones}) for s in (1, -1))
        assert slope(adapted.meta_params_grad, along) == pytest.approx(
            (up - down) / (2 * h), rel=1e-5, abs=1e-8
        )


def test_so_is_imaml_s_meta_gradient_where_the_inner_problem_is_solved(problem: Problem) -> None:
    strength, steps, alpha = 4.0, 30, 0.2
    imaml = {"strength": strength, "cg_steps": 20}
    adapted = adapt("imaml", problem.losses, problem.phi, inner_steps=steps, inner_lr=alpha, imaml=imaml)

    def solve(phi: Params) -> Params:
        def objective(at: Params) -> Tensor:
            distance = torch.stack([((at[n] - phi[n]) ** 2).sum() for n in phi]).sum()
            return problem.losses.support(at) + strength / 2 * distance

        return inner_loop([objective] * steps, phi, alpha)[0]

    assert adapted.notes["cg_residual"] < 1e-5
    along = directions(problem.phi)[0]
    expected = problem.difference(solve, along, 1e-4)
    assert slope(adapted.meta_grad, along) == pytest.approx(expected, rel=1e-4)


class Scored(nn.Module):
    """The loss of a batch as a module, which is what ``higher`` takes apart."""

    def __init__(self, model: ChoiceModel, phi: Params) -> None:
        super().__init__()
        self.names = list(phi)
        self.values = nn.ParameterList(p.clone() for p in phi.values())
        self.model = [model]  # hidden from higher: the parameters that count are ours

    def forward(self, batch: Batch) -> Tensor:
        return self.model[0].loss(dict(zip(self.names, self.values, strict=True)), batch)


def by_higher(problem: Problem, moved: Callable[[str], bool], rates: Any = None) -> list[Tensor]:
    """Meta-gradient with respect to phi (and the rates, where given) by ``higher``."""
    module = Scored(problem.model, problem.phi)
    groups = [
        {"params": [p], "lr": ALPHA * moved(n)} for n, p in zip(module.names, module.values, strict=True)
    ]
    override = None if rates is None else {"lr": rates}
    with higher.innerloop_ctx(
        module, torch.optim.SGD(groups, lr=ALPHA), copy_initial_weights=False, override=override
    ) as (functional, optimizer):
        for _ in range(STEPS):
            optimizer.step(functional(problem.support))
        wanted = [*functional.parameters(time=0), *(rates or [])]
        return list(torch.autograd.grad(functional(problem.query), wanted))


@pytest.mark.parametrize("name", ["maml", "anil"])
def test_maml_and_anil_agree_with_an_independent_implementation(problem: Problem, name: str) -> None:
    theirs = by_higher(problem, (lambda n: n == SCORER) if name == "anil" else (lambda n: True))
    ours = adapt(name, problem.losses, problem.phi, inner_steps=STEPS, inner_lr=ALPHA).meta_grad
    for n, gradient in zip(problem.phi, theirs, strict=True):
        assert torch.allclose(ours[n], gradient, rtol=1e-9, atol=1e-11), n


def test_meta_sgd_agrees_with_it_too(problem: Problem) -> None:
    """``higher`` learns one rate a tensor: the sum of ours over the tensor's elements."""
    rates = [torch.tensor(ALPHA, dtype=torch.float64, requires_grad=True) for _ in problem.phi]
    theirs = by_higher(problem, lambda n: True, rates)
    adapted = adapt("meta-sgd", problem.losses, problem.phi, inner_steps=STEPS, inner_lr=ALPHA)
    for n, gradient, rate in zip(
        problem.phi, theirs[: len(problem.phi)], theirs[len(problem.phi) :], strict=True
    ):
        assert torch.allclose(adapted.meta_grad[n], gradient, rtol=1e-9, atol=1e-11), n
        assert float(adapted.meta_params_grad[n].sum()) == pytest.approx(
            float(rate) * ALPHA, rel=1e-8, abs=1e-12
        )
