"""What a sampler is paid for: how much a support step of a source helped on a batch of target data.

All rewards look at the same B_T before and after, at the loss of the choices alone, in float32 and without
dropout: in bfloat16 numbers near 0.69 lie 0.004 apart, which is as much as the loss drops.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from metaxcr.meta.inner import Params, value_and_grad
from metaxcr.scoring.batch import Batch
from metaxcr.scoring.loss import choice_loss
from metaxcr.scoring.model import ChoiceModel

# (model, B_T, phi, source -> phi'_K) -> source -> reward
Reward = Callable[[ChoiceModel, Batch, Params, Mapping[int, Params]], dict[int, float]]


@dataclass(frozen=True)
class Pay:
    """Which reward, for whom, and how often.

    Attributes:
        kind: Name in :data:`REWARDS`.
        of_all: Whether all sources are rewarded, each for a support batch of its own, or the drawn one.
        every: Steps between two rewards. In between the sampler is told of the episode without a reward.
    """

    kind: str = "loss-drop"
    of_all: bool = False
    every: int = 1

    def due(self, step: int) -> bool:
        """Whether a step is rewarded."""
        return step % self.every == 0

    def measure(
        self, model: ChoiceModel, target: Batch, phi: Params, adapted: Mapping[int, Params]
    ) -> tuple[dict[int, float], int]:
        """Rewards of the sources that were adapted to.

        Args:
            model: Scores batches.
            target: B_T.
            phi: Before the inner loop.
            adapted: Source -> phi'_K, adapted on a support batch of it.

        Returns:
            The reward of each, and the token-passes that they took.
        """
        reward, once, each = REWARDS[self.kind]
        passes = (once + each * len(adapted)) * target.tokens
        return reward(model, target, phi, adapted), passes


def loss_drop(
    model: ChoiceModel, target: Batch, phi: Params, adapted: Mapping[int, Params]
) -> dict[int, float]:
    """Drop of the target loss, r = L(B_T; phi) - L(B_T; phi'_K).

    Source:
        Meta-RTL (arXiv 2409.19075), section 3.
    """
    before = model.question_loss(phi, target, torch.float32)
    return {j: before - model.question_loss(p, target, torch.float32) for j, p in adapted.items()}


def accuracy_gain(
    model: ChoiceModel, target: Batch, phi: Params, adapted: Mapping[int, Params]
) -> dict[int, float]:
    """Accuracy on B_T at phi'_K minus that at phi: what counts in the end, but most often exactly 0."""
    before = _accuracy(model, phi, target)
    return {j: _accuracy(model, p, target) - before for j, p in adapted.items()}


def gradient_cosine(
    model: ChoiceModel, target: Batch, phi: Params, adapted: Mapping[int, Params]
) -> dict[int, float]:
    """Cosine of phi - phi'_K and grad L(B_T; phi): the loss drop to first order, free of the step's length.

    Source:
        Wang et al. 2020 (arXiv 2004.06748), equation 6.
    """
    _, gradient = value_and_grad(
        lambda p: choice_loss(model.score(p, target, torch.float32), target.questions), phi
    )
    rewards = {}
    for j, p in adapted.items():
        step = {n: phi[n] - p[n] for n in phi}
        lengths = math.sqrt(_dot(step, step) * _dot(gradient, gradient))
        rewards[j] = _dot(step, gradient) / lengths if lengths else 0.0
    return rewards


def _accuracy(model: ChoiceModel, phi: Params, batch: Batch) -> float:
    with torch.no_grad():
        scores = model.score(phi, batch, torch.float32) * batch.questions.sign
    scores = scores.masked_fill(batch.questions.choices < 0, float("-inf"))
    return float((scores.argmax(1) == batch.questions.labels).float().mean())


def _dot(one: Params, other: Params) -> float:
    return sum(float((one[n].double() * other[n].double()).sum()) for n in one)


# kind -> the reward, and token-passes a token of B_T: once, and for each adapted phi'
REWARDS: dict[str, tuple[Reward, int, int]] = {
    "loss-drop": (loss_drop, 1, 1),
    "accuracy-gain": (accuracy_gain, 1, 1),
    "gradient-cosine": (gradient_cosine, 3, 0),
}
