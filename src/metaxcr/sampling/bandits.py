"""Bandit samplers: Exp3, UCB and Thompson sampling."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from metaxcr.sampling import reward_stats
from metaxcr.sampling.reward_stats import MeanRewards
from metaxcr.sampling.sampler import Feedback, Probabilities, Rewarded, State, softmax


@dataclass(frozen=True)
class Exp3(Rewarded):
    """Draw by weights: w_j <- w_j * exp(lr * r_j / q_j) for the source drawn, pi = w / sum(w).

    r is brought into [0, 1] as (z + 3) / 6, with the normalised reward z. The mixing with the uniform
    distribution (gamma) is that of :class:`metaxcr.sampling.fixed.Explore`. With the rewards of all sources
    every weight moves and nothing is divided by q, which is Hedge.

    Args:
        sources: Number of sources.
        lr: Learning rate, in the paper's form gamma / n.
        s_min: Smallest deviation of rewards.
        memory: Of the normaliser, per reward.

    Source:
        Auer et al. 2002 (SIAM J. Comput.), section 3, figure 1. Graves et al. 2017 (arXiv 1704.03003) use it
        for curricula.
    """

    sources: int
    lr: float = 0.1
    s_min: float = 1e-9
    memory: float = 0.95

    def init(self, seed: int) -> State:
        """All weights one: their logarithms are kept."""
        return reward_stats.init_normalizer() | {"log_w": torch.zeros(self.sources, dtype=torch.float64)}

    def probabilities(self, state: State) -> Probabilities:
        """Weights over their sum."""
        return softmax(state["log_w"])

    def update(self, state: State, feedback: Feedback) -> State:
        """Raise the weights of the sources that were rewarded."""
        new, gain = dict(state), torch.zeros(self.sources, dtype=torch.float64)
        for source, reward in sorted(feedback.rewards.items()):
            unit = (reward_stats.normalise(state, reward, self.s_min) + 3) / 6
            drawn = float(feedback.probabilities[source]) if len(feedback.rewards) == 1 else 1.0
            gain[source] = unit / drawn
            new |= reward_stats.update_normalizer(new, reward, self.memory)
        # only differences matter: without this the weights of a long run would overflow
        log_w = state["log_w"] + self.lr * gain
        return new | {"log_w": log_w - log_w.max()}


@dataclass(frozen=True)
class UCB(MeanRewards):
    """argmax_j mean_j + bonus * sqrt(2 ln N / N_j), on normalised rewards; sources never drawn come first.

    Means and counts fade, so that a source that has become better is found again.

    Args:
        sources: Number of sources.
        bonus: Weight of the confidence width, in standard deviations of the reward; 1 is UCB1 for rewards
            of variance 1.
        discount: Weight of a reward one reward later; 1 never forgets.
        s_min: Smallest deviation of rewards.
        memory: Of the normaliser, per reward.

    Source:
        Auer et al. 2002 (Machine Learning), figure 1; discounted: Garivier and Moulines 2011, section 2.
    """

    sources: int
    bonus: float = 1.0
    discount: float = 0.99
    s_min: float = 1e-9
    memory: float = 0.95

    def probabilities(self, state: State) -> Probabilities:
        """One for the source with the highest bound, shared where several are equal."""
        n = reward_stats.counts(state)
        total = max(float(n.sum()), math.e)
        width = self.bonus * torch.sqrt(2 * math.log(total) / n.clamp(min=1e-9))
        bound = torch.where(n > 0, reward_stats.means(state) + width, torch.inf).numpy()
        best = bound == bound.max()
        p: Probabilities = best.astype(np.float64) / best.sum()
        return p


@dataclass(frozen=True)
class Thompson(MeanRewards):
    """pi(j) = P(mu_j is the largest), where mu_j ~ N(N_j mean_j / (N_j + 1), 1 / (N_j + 1)).

    That is the posterior of a mean with prior N(0, 1) and rewards of variance 1, which normalised rewards
    have. Drawing a sample of every mu and taking the largest draws from pi; pi is computed by quadrature, so
    that events.jsonl can show it.

    Args:
        sources: Number of sources.
        discount: Weight of a reward one reward later; 1 never forgets.
        s_min: Smallest deviation of rewards.
        memory: Of the normaliser, per reward.

    Source:
        Agrawal and Goyal 2013 (AISTATS), algorithm 2; discounted: Qi et al. 2023 (arXiv 2305.10718).
    """

    sources: int
    discount: float = 0.99
    s_min: float = 1e-9
    memory: float = 0.95

    def probabilities(self, state: State) -> Probabilities:
        """Integral over x of N(x; mu_j) times the others' probabilities to lie below x."""
        n = reward_stats.counts(state)
        mean, deviation = n * reward_stats.means(state) / (n + 1), (n + 1) ** -0.5
        low, high = float((mean - 8 * deviation).min()), float((mean + 8 * deviation).max())
        x = torch.linspace(low, high, 4001, dtype=torch.float64)[:, None]
        z = (x - mean) / deviation
        below = torch.special.log_ndtr(z)
        density = torch.exp(-z * z / 2) / deviation
        p = (density * torch.exp(below.sum(1, keepdim=True) - below)).sum(0)
        result: Probabilities = (p / p.sum()).numpy()
        return result
