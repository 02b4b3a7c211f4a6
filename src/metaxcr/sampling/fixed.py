"""Samplers that do not learn, and warm-up and a probability floor for those that do."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from metaxcr.sampling.sampler import Feedback, Probabilities, Sampler, State


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


EPISODES = "explore.episodes"


@dataclass(frozen=True)
class Explore:
    """q = 1 / n during warm-up, then (1 - floor) * pi + floor / n: every source stays possible.

    A source that does not help early may be the best one later, and only draws can tell.

    Args:
        inner: Gives pi. It learns during warm-up, too.
        floor: Share of the draws that is uniform; each source keeps at least floor / n.
        warmup: Episodes with uniform draws.
    """

    inner: Sampler
    floor: float
    warmup: int

    @property
    def wants_reward(self) -> bool:
        """As the sampler inside."""
        return self.inner.wants_reward

    def init(self, seed: int) -> State:
        """That of the sampler inside, and the number of episodes."""
        return self.inner.init(seed) | {EPISODES: torch.zeros((), dtype=torch.int64)}

    def probabilities(self, state: State) -> Probabilities:
        """What sources are drawn from."""
        pi = self.inner.probabilities(state)
        if int(state[EPISODES]) < self.warmup:
            return np.full(len(pi), 1 / len(pi))
        p: Probabilities = (1 - self.floor) * pi + self.floor / len(pi)
        normalised: Probabilities = p / p.sum()
        return normalised

    def update(self, state: State, feedback: Feedback) -> State:
        """Count the episode and update the sampler inside."""
        return self.inner.update(state, feedback) | {EPISODES: state[EPISODES] + 1}
