"""The sampler protocol: explicit state, pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

State = dict[str, Tensor]  # all that a sampler remembers, as tensors, so that resume is exact
Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Feedback:
    """What a sampler learns from an episode.

    Attributes:
        source: The source i that was drawn.
        probabilities: It was drawn from these, floor and warm-up included: (sources,).
        rewards: Source -> reward r: of the drawn one, or of all; empty at a step without reward.
        loss: L(B_s; phi), the support loss before the inner loop (1.0 is chance).
    """

    source: int
    probabilities: Probabilities
    rewards: Mapping[int, float]
    loss: float = 0.0


class Sampler(Protocol):
    """Picks source tasks. Methods are pure: they return a new state and do not change the old one."""

    @property
    def wants_reward(self) -> bool:
        """Whether it learns from rewards, which cost passes over target data."""
        ...

    def init(self, seed: int) -> State:
        """The state before the first episode."""
        ...

    def probabilities(self, state: State) -> Probabilities:
        """pi(. | state_t): (sources,), sums to one."""
        ...

    def update(self, state: State, feedback: Feedback) -> State:
        """The state after an episode."""
        ...


class Rewarded:
    """A sampler that learns from rewards and from nothing else."""

    @property
    def wants_reward(self) -> bool:
        """Yes."""
        return True


def softmax(logits: Tensor) -> Probabilities:
    """Probabilities that sum to one in float64."""
    p: Probabilities = logits.double().softmax(0).numpy()
    normalised: Probabilities = p / p.sum()
    return normalised
