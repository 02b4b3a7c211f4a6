"""What holds for every learner."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.meta.problems import adapt, close, point, regression

from metaxcr.autodiff import Params
from metaxcr.meta.learners import LEARNERS
from metaxcr.meta.learners.base import EpisodeResult, Losses, target_losses

BATCHED = {"mmt": {"tasks_per_step": 2}}  # what a learner's settings need


def learn(name: str, support: int, query: int, phi: Params, alpha: float = 0.2) -> EpisodeResult:
    losses = Losses(regression(support), regression(query), (regression(8), regression(9)))
    return adapt(name, losses, phi, inner_lr=alpha, **BATCHED.get(name, {}))


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_another_query_batch_changes_the_direction_but_not_the_adapted_parameters(name: str) -> None:
    one, other = (learn(name, 0, query, point()) for query in (1, 2))

    assert not close(one.meta_grad, other.meta_grad, 1e-3)
    assert close(one.phi, other.phi, 0)


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_another_support_batch_changes_the_direction(name: str) -> None:
    one, other = (learn(name, support, 5, point()) for support in (1, 2))
    assert not close(one.meta_grad, other.meta_grad, 1e-3)


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_phi_is_left_alone_and_nothing_carries_a_graph(name: str) -> None:
    phi = point()
    before = {n: p.clone() for n, p in phi.items()}

    adapted = learn(name, 0, 1, phi)

    assert close(phi, before, 0)
    tensors = (
        *phi.values(),
        *adapted.meta_grad.values(),
        *adapted.phi.values(),
        *adapted.meta_params_grad.values(),
    )
    assert not any(t.requires_grad for t in tensors)


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_the_adapted_parameters_are_a_step_down_the_support_loss(name: str) -> None:
    phi = point()
    adapted = learn(name, 0, 1, phi)
    assert adapted.support_loss == pytest.approx(float(regression(0)(phi)))
    assert float(regression(0)(adapted.phi)) < adapted.support_loss
    assert adapted.meta_grad.keys() == phi.keys() == adapted.phi.keys()


@pytest.mark.parametrize("name", sorted(LEARNERS))
@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_without_a_step_all_learners_agree_with_a_gradient_at_phi(name: str, seed: int) -> None:
    """As alpha goes to 0 the inner loop vanishes, and every direction is a mix of gradients at phi itself."""
    phi = point(seed)
    adapted = learn(name, seed, seed + 1, phi, alpha=1e-7)
    slope = {n: learn("multi-task", n, n, phi).meta_grad for n in (seed, seed + 1, 8, 9)}
    support, query, first, second = (slope[n] for n in (seed, seed + 1, 8, 9))
    expected = {
        "multi-task": {n: (support[n] + query[n]) / 2 for n in phi},
        "sequential": {n: (support[n] + query[n]) / 2 for n in phi},
        "reptile": {n: support[n] + query[n] for n in phi},
        "x-metra-ada": {n: (query[n] + second[n]) / 2 for n in phi},
        "mmt": {n: (query[n] + (first[n] + second[n]) / 2) / 2 for n in phi},
    }.get(name, query)
    if name == "imaml":  # its lambda has to grow as alpha shrinks: phi' stays, but H / lambda does not
        losses = Losses(regression(seed), regression(seed + 1))
        adapted = adapt(name, losses, phi, inner_lr=1e-7, imaml={"strength": 1e9})
    assert close(adapted.meta_grad, expected, 1e-5)


def test_a_learner_that_wants_target_batches_says_so_where_there_are_none() -> None:
    with pytest.raises(ValueError, match="no target-task batches"):
        target_losses(Losses(regression(0), regression(1)))
    for name in ("mmt", "x-metra-ada"):
        with pytest.raises(ValueError, match="no target-task batches"):
            adapt(name, Losses(regression(0), regression(1)), point(), **BATCHED.get(name, {}))


def test_double_precision_is_kept() -> None:
    for name in LEARNERS:
        assert all(t.dtype == torch.float64 for t in learn(name, 0, 1, point()).meta_grad.values())
