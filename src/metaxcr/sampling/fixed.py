"""Samplers that never learn: uniform, proportional to size, and what lies between."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from metaxcr.sampling.base import Feedback, Probabilities, State


@dataclass(frozen=True)
class Fixed:
    """Every source with a fixed probability.

    Args:
        weights: One positive weight a source; probabilities are in proportion to them.
    """

    weights: tuple[float, ...]

    @property
    def wants_reward(self) -> bool:
        """No."""
        return False

    def init(self, seed: int) -> State:
        """Only the number of episodes."""
        return {"episodes": torch.zeros((), dtype=torch.int64)}

    def probabilities(self, state: State) -> Probabilities:
        """The weights over their sum."""
        weights = np.array(self.weights, dtype=np.float64)
        p: Probabilities = weights / weights.sum()
        return p

    def update(self, state: State, feedback: Feedback) -> State:
        """Count the episode."""
        return {"episodes": state["episodes"] + 1}


class Uniform(Fixed):
    """Every source with the same probability.

    Args:
        sources: Number of sources.
    """

    def __init__(self, sources: int) -> None:
        super().__init__((1.0,) * sources)


def temperature(sizes: Sequence[int], t: float) -> Fixed:
    """Probabilities in proportion to size ** (1 / t).

    Args:
        sizes: Examples of each source.
        t: 1 is proportional to size; larger is flatter; infinity is uniform.

    Source:
        Arivazhagan et al. 2019 (arXiv 1907.05019), section 4.1.
    """
    largest = max(sizes)  # divided by first: a power of the raw size could overflow
    return Fixed(tuple((size / largest) ** (1 / t) for size in sizes))
