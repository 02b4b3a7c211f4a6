from collections.abc import Callable

import pytest
import torch

from metaxcr.encoders.trunk import TrunkStore
from metaxcr.meta.inner import descend, value_and_grad
from metaxcr.sampling.rewards import REWARDS, Pay
from metaxcr.scoring.batch import Batch, TaskData, make_batch
from metaxcr.scoring.loss import choice_loss
from metaxcr.scoring.model import ChoiceModel, Params

Made = tuple[ChoiceModel, Batch, Params, dict[int, Params]]


@pytest.fixture
def made(
    toy_model: Callable[..., ChoiceModel], toy_task: Callable[..., TaskData], toy_store: TrunkStore
) -> Made:
    """A model in bfloat16, a target batch, phi, and phi' of two sources: down and up its loss."""
    model = toy_model(dtype=torch.bfloat16)
    target = make_batch(toy_task("target"), range(8), toy_store)
    phi = model.params()
    _, gradient = value_and_grad(
        lambda p: choice_loss(model.score(p, target, torch.float32), target.questions), phi
    )
    return model, target, phi, {0: descend(phi, gradient, 0.01), 1: descend(phi, gradient, -0.02)}


def exact(model: ChoiceModel, phi: Params, target: Batch) -> torch.Tensor:
    with torch.no_grad():
        return model.score(phi, target, torch.float32)


def test_the_loss_drop_is_paired_and_in_float32(made: Made) -> None:
    model, target, phi, adapted = made
    rewards, passes = Pay("loss-drop").measure(model, target, phi, adapted)
    for j, p in adapted.items():
        drop = choice_loss(exact(model, phi, target), target.questions)
        drop = drop - choice_loss(exact(model, p, target), target.questions)
        assert rewards[j] == pytest.approx(float(drop), abs=1e-7)
    assert rewards[0] > 0 > rewards[1]
    assert passes == 3 * target.tokens


def test_the_accuracy_gain_counts_answers(made: Made) -> None:
    model, target, phi, _ = made
    right = exact(model, phi, target).argmax(1) == target.questions.labels
    turned = {n: -p if n == "scorer" else p for n, p in phi.items()}  # every plausibility changes its sign
    rewards, passes = Pay("accuracy-gain").measure(model, target, phi, {4: turned, 5: phi})
    after = exact(model, turned, target).argmax(1) == target.questions.labels
    assert rewards == {4: float(after.float().mean() - right.float().mean()), 5: 0.0}
    assert rewards[4] != 0.0
    assert passes == 3 * target.tokens


def test_the_cosine_sees_the_direction_alone(made: Made) -> None:
    model, target, phi, adapted = made
    rewards, passes = Pay("gradient-cosine").measure(model, target, phi, adapted | {2: phi})
    assert rewards[0] == pytest.approx(1.0, abs=1e-4)
    assert rewards[1] == pytest.approx(-1.0, abs=1e-4)
    assert rewards[2] == 0.0
    assert passes == 3 * target.tokens


@pytest.mark.parametrize("kind", sorted(REWARDS))
def test_nothing_is_moved(made: Made, kind: str) -> None:
    model, target, phi, adapted = made
    before = {n: p.clone() for n, p in phi.items()}
    Pay(kind).measure(model, target, phi, adapted)
    assert all(torch.equal(phi[n], before[n]) for n in phi)


def test_rewards_may_be_rare() -> None:
    assert [step for step in range(9) if Pay(every=4).due(step)] == [0, 4, 8]
