"""Warm-up and a probability floor around any sampler that learns."""

from dataclasses import dataclass

import numpy as np
import torch

from metaxcr.sampling.base import Feedback, Probabilities, Sampler, State

EPISODES = "explore.episodes"


@dataclass(frozen=True)
class Explore:
    """q = 1 / n during warm-up, then (1 - floor) * pi + floor / n: no source is ever given up.

    A source that was bad early may be the best one later, and only draws can tell.

    Args:
        inner: Gives pi. It learns during warm-up, too.
        floor: Share of the draws that is uniform; each source keeps at least floor / n.
        warmup: Episodes with uniform draws.
    """

    inner: Sampler
    floor: float
    warmup: int

    @property
    def sources(self) -> int:
        """Number of sources."""
        return self.inner.sources

    @property
    def wants_reward(self) -> bool:
        """As the sampler inside."""
        return self.inner.wants_reward

    def init(self, seed: int) -> State:
        """That of the sampler inside, and the number of episodes."""
        return self.inner.init(seed) | {EPISODES: torch.zeros((), dtype=torch.int64)}

    def probabilities(self, state: State) -> Probabilities:
        """What sources are really drawn from."""
        n = self.inner.sources
        if int(state[EPISODES]) < self.warmup:
            return np.full(n, 1 / n)
        p: Probabilities = (1 - self.floor) * self.inner.probabilities(state) + self.floor / n
        normalised: Probabilities = p / p.sum()
        return normalised

    def update(self, state: State, feedback: Feedback) -> State:
        """Count the episode and hand it on."""
        return self.inner.update(state, feedback) | {EPISODES: state[EPISODES] + 1}
