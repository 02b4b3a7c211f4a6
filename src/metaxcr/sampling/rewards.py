"""Rewards of a sampler: how much a support step of a source helped on a batch of target data, B_T.

A reward takes a reference on B_T before the step (loss, accuracy or gradient at phi) and compares each
adapted phi' with it, in float32 and without dropout: in bfloat16 numbers near 0.69 lie 0.004 apart, as much
as the loss drops. L is :meth:`metaxcr.model.choice_model.ChoiceModel.association`: for the dual scorer the
in-batch term; for the cross scorer the loss of the choices.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from metaxcr.autodiff import Params, value_and_grad
from metaxcr.hardware import CPU, float64
from metaxcr.model.batch import Batch
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.sampling.sampler import State

LAST = "last"  # in the state: the step of the last reference


@dataclass(frozen=True)
class Reward:
    """One kind of reward.

    Attributes:
        reference: (model, B_T, phi) -> what adapted parameters are compared with.
        compare: (model, B_T, phi, the reference, phi'_K) -> the reward; higher is better.
        reference_passes: Token-passes of the reference for each token of B_T.
        compare_passes: The same of a comparison. If it is 0, a reference can serve several steps.
    """

    reference: Callable[[ChoiceModel, Batch, Params], State]
    compare: Callable[[ChoiceModel, Batch | None, Params, State, Params], float]
    reference_passes: int
    compare_passes: int


@dataclass(frozen=True)
class RewardSchedule:
    """Which reward, of which sources, and how often.

    Attributes:
        kind: Name in :data:`REWARDS`.
        of_all: Steps in which all sources are rewarded, each for a support batch of its own, counted from the
            first: 0 for rewards of the drawn source alone, infinite for rewards of all sources throughout.
        every: Steps between two rewards; in between the sampler gets episodes without a reward.
        refresh: Steps that a reference serves, if comparing needs no pass over B_T.
    """

    kind: str = "loss-drop"
    of_all: float = 0
    every: int = 1
    refresh: int = 1

    def due(self, step: int) -> bool:
        """Whether a step is rewarded."""
        return step % self.every == 0

    def needs_reference(self, step: int, last: int | None, swap: float = math.inf) -> bool:
        """Whether a rewarded step takes a new reference on B_T.

        Args:
            step: Of the stage.
            last: The step of the last reference; None: there is none.
            swap: From this step on B_T comes from other data, so the reference is new.
        """
        return last is None or step - last >= self.refresh or last < swap <= step

    def measure(
        self,
        model: ChoiceModel,
        target: Callable[[], Batch],
        phi: Params,
        adapted: Mapping[int, Params],
        state: State,
        step: int,
        swap: float = math.inf,
    ) -> tuple[dict[int, float], int, State]:
        """Rewards of the sources that were adapted to.

        Args:
            model: Scores batches.
            target: Draws B_T.
            phi: Before the inner loop.
            adapted: Source -> phi'_K, adapted on a support batch of it.
            state: The last reference, if it may serve again; empty before the first one.
            step: Of the stage.
            swap: From this step on B_T comes from other data.

        Returns:
            The reward of each source, their token-passes, and the new state.
        """
        reward, passes, batch = REWARDS[self.kind], 0, None
        if self.needs_reference(step, int(state[LAST]) if state else None, swap):
            batch = target()
            state = reward.reference(model, batch, phi) | {LAST: torch.tensor(step, device=CPU)}
            passes = (reward.reference_passes + reward.compare_passes * len(adapted)) * batch.tokens
        rewards = {j: reward.compare(model, batch, phi, state, p) for j, p in adapted.items()}
        return rewards, passes, {} if reward.compare_passes else state


@torch.no_grad()
def _loss(model: ChoiceModel, target: Batch, phi: Params) -> State:
    return {"loss": model.association(phi, target, torch.float32)}


def loss_drop(
    model: ChoiceModel, target: Batch | None, phi: Params, reference: State, adapted: Params
) -> float:
    """Drop of the target loss, r = L(B_T; phi) - L(B_T; phi'_K).

    Source:
        Meta-RTL (arXiv 2409.19075), section 3.
    """
    assert target is not None
    return float(reference["loss"]) - float(_loss(model, target, adapted)["loss"])


def _accuracy(model: ChoiceModel, target: Batch, phi: Params) -> State:
    with torch.no_grad():
        scores = model.score(phi, target, torch.float32) * target.questions.sign
    scores = scores.masked_fill(target.questions.choices < 0, float("-inf"))
    return {"accuracy": float64(scores.argmax(1) == target.questions.labels).mean()}


def accuracy_gain(
    model: ChoiceModel, target: Batch | None, phi: Params, reference: State, adapted: Params
) -> float:
    """Accuracy on B_T at phi'_K minus that at phi: what counts in the end, but most often exactly 0."""
    assert target is not None
    return float(_accuracy(model, target, adapted)["accuracy"] - reference["accuracy"])


def _gradient(model: ChoiceModel, target: Batch, phi: Params) -> State:
    _, gradient = value_and_grad(lambda p: model.association(p, target, torch.float32), phi)
    return {f"gradient/{name}": g for name, g in gradient.items()}


def gradient_cosine(
    model: ChoiceModel, target: Batch | None, phi: Params, reference: State, adapted: Params
) -> float:
    """Cosine of phi - phi'_K and grad L(B_T; phi), tensor by tensor, and their mean.

    The loss drop to first order, free of the step's length. Tensor by tensor, because in one long vector the
    scorer's matrix, whose gradient is mostly noise, would drown the adapters.

    Source:
        Wang et al. 2020 (arXiv 2004.06748), equation 6; the mean over tensors is ours.
    """
    # in the order of the names: a checkpoint gives tensors back in another order than they had, and the last
    # bit of a sum depends on it
    products = [_products(phi[name] - adapted[name], reference[f"gradient/{name}"]) for name in sorted(phi)]
    cosines = [dot / lengths if lengths else 0.0 for dot, lengths in torch.stack(products).tolist()]
    return sum(cosines) / len(cosines)


def _products(one: Tensor, other: Tensor) -> Tensor:
    """The scalar product of two tensors and that of their lengths: (2,) float64."""
    one, other = float64(one).flatten(), float64(other).flatten()
    return torch.stack([one @ other, one.norm() * other.norm()])


REWARDS: dict[str, Reward] = {
    "loss-drop": Reward(_loss, loss_drop, 1, 1),
    "accuracy-gain": Reward(_accuracy, accuracy_gain, 1, 1),
    "gradient-cosine": Reward(_gradient, gradient_cosine, 3, 0),
}
