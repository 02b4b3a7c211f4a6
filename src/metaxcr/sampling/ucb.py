"""UCB1 with discounting: the source whose reward may still be the highest."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from metaxcr.sampling import evidence
from metaxcr.sampling.base import Probabilities, State
from metaxcr.sampling.evidence import ByEvidence


@dataclass(frozen=True)
class UCB(ByEvidence):
    """argmax_j mean_j + bonus * sqrt(2 ln N / N_j), on standardised rewards; sources never drawn come first.

    Means and counts fade, so that a source that has become better is found again.

    Args:
        sources: Number of sources.
        bonus: Weight of the confidence width, in standard deviations of the reward; 1 is UCB1 for rewards
            of variance 1.
        discount: Weight of a reward one reward later; 1 never forgets.
        s_min: Smallest deviation of rewards.
        memory: Of the standardisation, per reward.

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
        n = evidence.counts(state)
        total = max(float(n.sum()), math.e)
        width = self.bonus * torch.sqrt(2 * math.log(total) / n.clamp(min=1e-9))
        bound = torch.where(n > 0, evidence.means(state) + width, torch.inf).numpy()
        best = bound == bound.max()
        p: Probabilities = best.astype(np.float64) / best.sum()
        return p
