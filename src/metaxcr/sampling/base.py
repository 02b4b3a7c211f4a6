"""The sampler protocol, and the uniform sampler."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

State = dict[str, Tensor]  # everything a sampler remembers: serialisable, so that resume is exact
Probabilities = npt.NDArray[np.float64]


class Sampler(Protocol):
    """Picks source tasks. Methods are pure: they return a new state and leave the old one alone."""

    @property
    def wants_reward(self) -> bool:
        """Whether rewards have to be computed at all: they cost two forward passes an episode."""
        ...

    def init(self, seed: int) -> State:
        """The state before the first episode."""
        ...

    def probabilities(self, state: State) -> Probabilities:
        """pi(. | state_t): (sources,), sums to one."""
        ...

    def update(self, state: State, source: int, reward: float) -> State:
        """Take in the reward of the episode that ``source`` was picked for."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Every source with the same probability.

    Args:
        sources: Number of sources.
    """

    sources: int

    @property
    def wants_reward(self) -> bool:
        """No."""
        return False

    def init(self, seed: int) -> State:
        """Only the number of episodes."""
        return {"episodes": torch.zeros((), dtype=torch.int64)}

    def probabilities(self, state: State) -> Probabilities:
        """1 / n each."""
        return np.full(self.sources, 1 / self.sources)

    def update(self, state: State, source: int, reward: float) -> State:
        """Count the episode."""
        return {"episodes": state["episodes"] + 1}
