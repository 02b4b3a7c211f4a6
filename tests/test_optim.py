from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from metaxcr.optim import Adam, Averager, Optimizer, Params, schedule


@pytest.fixture
def params() -> Params:
    generator = torch.Generator().manual_seed(3)
    return {"a": torch.randn(4, 3, generator=generator), "b": torch.randn(5, generator=generator)}


def gradients(params: Params, step: int) -> Params:
    generator = torch.Generator().manual_seed(100 + step)
    return {n: torch.randn(p.shape, generator=generator) * 10 ** (step % 5 - 2) for n, p in params.items()}


@pytest.mark.parametrize(("betas", "eps"), [((0.9, 0.999), 1e-8), ((0.5, 0.9), 1e-3)])
def test_adam_equals_torch_over_many_steps(params: Params, betas: tuple[float, float], eps: float) -> None:
    theirs = {n: p.clone().requires_grad_() for n, p in params.items()}
    reference = torch.optim.Adam(theirs.values(), lr=1.0, betas=betas, eps=eps)
    adam = Adam(*betas, eps=eps, clip=0.0)
    ours, state = params, adam.init(params)
    for step in range(60):
        rate, gradient = 0.01 * (1 + step % 3), gradients(params, step)
        reference.param_groups[0]["lr"] = rate
        for name, leaf in theirs.items():
            leaf.grad = gradient[name]
        reference.step()
        ours, state = adam.update(gradient, state, ours, rate)

    assert int(state["step"]) == 60
    for name, leaf in theirs.items():
        assert torch.allclose(ours[name], leaf, atol=2e-6)


def test_parameters_can_have_learning_rates_of_their_own(params: Params) -> None:
    """The clipping stays global: another rate of one parameter changes no other."""
    chain = Optimizer(0.1, steps=10, warmup=0.2, average=0.5, lrs={"b": 0.001})
    one, other = (replace(chain, lrs=lrs, lr=lr) for lrs, lr in (({}, 0.1), ({}, 0.001)))
    grads, moments = gradients(params, 4), Adam().init(params)
    for step in (0, 5):
        mixed, fast, slow = (c.update(params, grads, moments, step)[0] for c in (chain, one, other))
        assert torch.equal(mixed["a"], fast["a"]) and not torch.equal(mixed["a"], slow["a"])
        assert torch.equal(mixed["b"], slow["b"]) and not torch.equal(mixed["b"], fast["b"])


def test_gradients_are_clipped_by_their_global_norm(params: Params) -> None:
    gradient = {n: torch.full_like(p, 10.0) for n, p in params.items()}
    norm = 10.0 * 17**0.5  # of all 12 + 5 numbers together

    _, state = Adam(clip=2.0).update(gradient, Adam().init(params), params, 0.1)

    for name in params:
        assert torch.allclose(state[f"m.{name}"], 0.1 * gradient[name] * 2.0 / norm)


def test_gradients_below_the_bound_and_zero_gradients_are_not_scaled(params: Params) -> None:
    small = {n: torch.full_like(p, 1e-3) for n, p in params.items()}
    zero = {n: torch.zeros_like(p) for n, p in params.items()}

    _, state = Adam(clip=1.0).update(small, Adam().init(params), params, 0.1)
    still, _ = Adam(clip=1.0).update(zero, Adam().init(params), params, 0.1)

    assert torch.equal(state["m.a"], (1 - 0.9) * small["a"])
    assert all(torch.equal(still[n], params[n]) for n in params)


def test_the_order_of_the_names_does_not_matter() -> None:
    """A checkpoint gives its tensors back in another order; 1e16 + 1 + 1 + ... is not 1 + 1 + ... + 1e16."""
    one = torch.ones(1, dtype=torch.float64)
    gradient = {"a": 1e8 * one} | {f"b{n}": one for n in range(100)}
    turned = dict(reversed(gradient.items()))
    first, second = (Adam().update(g, Adam().init(g), g, 0.1)[1] for g in (gradient, turned))
    assert all(torch.equal(first[n], second[n]) for n in first)


def test_adam_leaves_its_arguments_alone(params: Params) -> None:
    adam, gradient = Adam(), gradients(params, 3)
    state = adam.init(params)
    arguments = [params, gradient, state]
    before = [{n: t.clone() for n, t in tensors.items()} for tensors in arguments]

    adam.update(gradient, state, params, 0.1)

    for tensors, old in zip(arguments, before, strict=True):
        assert all(torch.equal(tensors[n], old[n]) for n in old)


def test_the_schedule_warms_up_and_decays_to_a_tenth() -> None:
    shares = [schedule(step, 100, 0.1) for step in range(100)]

    assert shares[:10] == pytest.approx([0.1 * (k + 1) for k in range(10)])
    assert shares[10] == 1.0
    drops = [before - after for before, after in pairwise(shares[10:])]
    assert drops == pytest.approx([0.01] * 89)
    assert shares[-1] == pytest.approx(0.11)
    assert schedule(100, 100, 0.1) == pytest.approx(0.1)


@pytest.mark.parametrize(("total", "warmup"), [(1, 0.0), (1, 1.0), (5, 0.0), (5, 1.0), (7, 0.5)])
def test_the_schedule_stays_within_bounds(total: int, warmup: float) -> None:
    shares = [schedule(step, total, warmup) for step in range(total)]
    assert all(0.1 <= share <= 1.0 for share in shares)
    assert max(shares) == 1.0


@pytest.mark.parametrize(("share", "averaged"), [(0.0, 1), (0.04, 1), (0.25, 5), (0.5, 10), (1.0, 20)])
def test_the_average_is_the_plain_mean_of_the_last_share(params: Params, share: float, averaged: int) -> None:
    averager, states = Averager(20, share), [gradients(params, step) for step in range(20)]
    state = averager.init()
    for step, current in enumerate(states):
        state = averager.update(state, current, step)

    mean = averager.result(state, params)

    for name in params:
        expected = torch.stack([current[name].double() for current in states[-averaged:]]).mean(0)
        assert torch.allclose(mean[name].double(), expected, rtol=1e-5, atol=1e-5)


def test_before_the_last_share_the_parameters_themselves_are_the_result(params: Params) -> None:
    averager = Averager(20, 0.25)
    state = averager.update(averager.init(), gradients(params, 0), 14)
    assert all(torch.equal(averager.result(state, params)[n], params[n]) for n in params)


def test_the_averager_leaves_its_arguments_alone(params: Params) -> None:
    averager = Averager(2, 1.0)
    first = averager.update(averager.init(), params, 0)
    kept = {n: t.clone() for n, t in first.items()}

    averager.update(first, gradients(params, 1), 1)

    assert all(torch.equal(first[n], kept[n]) for n in kept)
