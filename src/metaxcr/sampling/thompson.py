"""Thompson sampling with Gaussian rewards: a source is drawn as often as it may be the best."""

from dataclasses import dataclass

import torch

from metaxcr.sampling import evidence
from metaxcr.sampling.base import Probabilities, State
from metaxcr.sampling.evidence import ByEvidence


@dataclass(frozen=True)
class Thompson(ByEvidence):
    """pi(j) = P(mu_j is the largest), where mu_j ~ N(N_j mean_j / (N_j + 1), 1 / (N_j + 1)).

    That is the posterior of a mean with prior N(0, 1) and rewards of variance 1, which standardised rewards
    have. To draw a sample of every mu and
    take the largest is to draw from pi; pi is computed by quadrature, so that events.jsonl can show it.

    Args:
        sources: Number of sources.
        discount: Weight of a reward one reward later; 1 never forgets.
        s_min: Smallest deviation of rewards.
        memory: Of the standardisation, per reward.

    Source:
        Agrawal and Goyal 2013 (AISTATS), algorithm 2; discounted: Qi et al. 2023 (arXiv 2305.10718).
    """

    sources: int
    discount: float = 0.99
    s_min: float = 1e-9
    memory: float = 0.95

    def probabilities(self, state: State) -> Probabilities:
        """Integral over x of N(x; mu_j) times the others' probabilities to lie below x."""
        n = evidence.counts(state)
        mean, deviation = n * evidence.means(state) / (n + 1), (n + 1) ** -0.5
        low, high = float((mean - 8 * deviation).min()), float((mean + 8 * deviation).max())
        x = torch.linspace(low, high, 4001, dtype=torch.float64)[:, None]
        z = (x - mean) / deviation
        below = torch.special.log_ndtr(z)
        density = torch.exp(-z * z / 2) / deviation
        p = (density * torch.exp(below.sum(1, keepdim=True) - below)).sum(0)
        normalised: Probabilities = (p / p.sum()).numpy()
        return normalised
