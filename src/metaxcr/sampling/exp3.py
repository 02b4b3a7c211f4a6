"""Exp3: a bandit that assumes nothing about how rewards come about."""

from dataclasses import dataclass

import torch

from metaxcr.sampling import scale
from metaxcr.sampling.base import Feedback, Probabilities, Rewarded, State, softmax


@dataclass(frozen=True)
class Exp3(Rewarded):
    """Draw by weights: w_j <- w_j * exp(rate * r_j / q_j) for the source drawn, pi = w / sum(w).

    r is brought into [0, 1] as (z + 3) / 6, with the standardised reward z. The mixing with the uniform
    distribution (gamma) is that of :class:`metaxcr.sampling.explore.Explore`. With the rewards of all sources
    every weight moves and nothing is divided by q, which is Hedge.

    Args:
        sources: Number of sources.
        rate: Learning rate, in the paper's form gamma / n.
        s_min: Smallest deviation of rewards.
        memory: Of the standardisation, per reward.

    Source:
        Auer et al. 2002 (SIAM J. Comput.), section 3, figure 1. Graves et al. 2017 (arXiv 1704.03003) use it
        for curricula.
    """

    sources: int
    rate: float = 0.1
    s_min: float = 1e-9
    memory: float = 0.95

    def init(self, seed: int) -> State:
        """All weights one: their logarithms are kept."""
        return scale.init_scale() | {"log_w": torch.zeros(self.sources, dtype=torch.float64)}

    def probabilities(self, state: State) -> Probabilities:
        """Weights over their sum."""
        return softmax(state["log_w"])

    def update(self, state: State, feedback: Feedback) -> State:
        """Raise the weights of the sources that were rewarded."""
        new, gain = dict(state), torch.zeros(self.sources, dtype=torch.float64)
        for source, reward in sorted(feedback.rewards.items()):
            unit = (scale.standardise(state, reward, self.s_min) + 3) / 6
            drawn = float(feedback.probabilities[source]) if len(feedback.rewards) == 1 else 1.0
            gain[source] = unit / drawn
            new |= scale.observe(new, reward, self.memory)
        # only differences matter: without this the weights of a long run would overflow
        log_w = state["log_w"] + self.rate * gain
        return new | {"log_w": log_w - log_w.max()}
