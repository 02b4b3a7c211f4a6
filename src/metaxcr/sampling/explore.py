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
    def wants_reward(self) -> bool:
        """As the sampler inside."""
        return self.inner.wants_reward

    def init(self, seed: int) -> State:
        """That of the sampler inside, and the number of episodes."""
        return self.inner.init(seed) | {EPISODES: torch.zeros((), dtype=torch.int64)}

    def probabilities(self, state: State) -> Probabilities:
        """What sources are really drawn from."""
        pi = self.inner.probabilities(state)
        if int(state[EPISODES]) < self.warmup:
            return np.full(len(pi), 1 / len(pi))
        p: Probabilities = (1 - self.floor) * pi + self.floor / len(pi)
        normalised: Probabilities = p / p.sum()
        return normalised

    def update(self, state: State, feedback: Feedback) -> State:
        """Count the episode and hand it on."""
        return self.inner.update(state, feedback) | {EPISODES: state[EPISODES] + 1}
