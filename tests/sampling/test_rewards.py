from collections.abc import Callable

import pytest
import torch

from metaxcr.autodiff import descend, value_and_grad
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.model.batch import Batch, TaskData, make_batch
from metaxcr.model.choice_model import ChoiceModel, Params
from metaxcr.sampling.rewards import REWARDS, RewardSchedule
from metaxcr.sampling.sampler import State

Made = tuple[ChoiceModel, Batch, Params, dict[int, Params]]


@pytest.fixture
def made(
    toy_model: Callable[..., ChoiceModel], toy_task: Callable[..., TaskData], toy_store: ActivationCache
) -> Made:
    """A model in bfloat16, a target batch, phi, and phi' of two sources: down and up its loss."""
    model = toy_model(dtype=torch.bfloat16)
    target = make_batch(toy_task("target"), range(8), toy_store)
    phi = model.params()
    generator = torch.Generator().manual_seed(0)
    phi = {n: p + 0.01 * torch.randn(p.shape, generator=generator) for n, p in phi.items()}
    _, gradient = value_and_grad(lambda p: model.association(p, target, torch.float32), phi)
    return model, target, phi, {0: descend(phi, gradient, 0.01), 1: descend(phi, gradient, -0.02)}


def measure(made: Made, kind: str, adapted: dict[int, Params] | None = None) -> tuple[dict[int, float], int]:
    model, target, phi, both = made
    rewards, passes, _ = RewardSchedule(kind).measure(model, lambda: target, phi, adapted or both, {}, 0)
    return rewards, passes


def test_the_loss_drop_is_paired_and_in_float32(made: Made) -> None:
    model, target, phi, adapted = made
    rewards, passes = measure(made, "loss-drop")
    for j, p in adapted.items():
        drop = model.association(phi, target, torch.float32) - model.association(p, target, torch.float32)
        assert rewards[j] == pytest.approx(float(drop), abs=1e-7)
        assert rewards[j] != pytest.approx(
            float(model.association(phi, target) - model.association(p, target)), abs=1e-7
        )
    assert rewards[0] > 0 > rewards[1]
    assert passes == 3 * target.tokens


def test_the_accuracy_gain_counts_answers(made: Made) -> None:
    model, target, phi, _ = made
    turned = {n: -p if n == "scorer" else p for n, p in phi.items()}  # every plausibility changes its sign
    rewards, passes = measure(made, "accuracy-gain", {4: turned, 5: phi})
    with torch.no_grad():
        right, after = (
            (model.score(p, target, torch.float32).argmax(1) == target.questions.labels).float().mean()
            for p in (phi, turned)
        )
    assert rewards == pytest.approx({4: float(after - right), 5: 0.0})
    assert rewards[4] != 0.0
    assert passes == 3 * target.tokens


def test_the_cosine_sees_the_direction_of_every_tensor_alone(made: Made) -> None:
    _, _, phi, adapted = made
    half = {n: adapted[0][n] if n == "scorer" else p for n, p in phi.items()}
    rewards, passes = measure(made, "gradient-cosine", adapted | {2: phi, 3: half})
    moved = sum(not torch.equal(adapted[0][n], p) for n, p in phi.items())
    assert moved > 1
    assert rewards[0] == pytest.approx(moved / len(phi), abs=1e-4)
    assert rewards[1] == pytest.approx(-moved / len(phi), abs=1e-4)
    assert rewards[2] == 0.0
    assert rewards[3] == pytest.approx(1 / len(phi), abs=1e-4)
    assert passes == 3 * made[1].tokens


def test_a_gradient_serves_several_steps_but_never_across_the_swap(made: Made) -> None:
    model, target, phi, adapted = made
    pay, state, looks = RewardSchedule("gradient-cosine", refresh=4), State(), []
    for step in range(12):
        rewards, passes, state = pay.measure(model, lambda: target, phi, adapted, state, step, swap=6)
        assert rewards[0] == pytest.approx(-rewards[1], abs=1e-4)
        if passes:
            looks.append(step)
    assert looks == [0, 4, 6, 10]


@pytest.mark.parametrize("kind", ["loss-drop", "accuracy-gain"])
def test_a_paired_comparison_looks_anew_every_time(made: Made, kind: str) -> None:
    model, target, phi, adapted = made
    _, passes, state = RewardSchedule(kind).measure(model, lambda: target, phi, adapted, {}, 0)
    assert passes and state == {}


@pytest.mark.parametrize("kind", sorted(REWARDS))
def test_nothing_is_moved(made: Made, kind: str) -> None:
    phi = made[2]
    before = {n: p.clone() for n, p in phi.items()}
    measure(made, kind)
    assert all(torch.equal(phi[n], before[n]) for n in phi)


def test_rewards_may_be_rare() -> None:
    assert [step for step in range(9) if RewardSchedule(every=4).due(step)] == [0, 4, 8]
