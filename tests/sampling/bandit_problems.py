"""Bandits whose right answer is known: what a sampler has to do before anybody believes it on real data."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metaxcr.sampling.sampler import Feedback, Sampler
from metaxcr.seeding import derive, rng

Array = npt.NDArray[np.float64]
LAWS = {
    "one helps": "source 0 pays 1, the others 0",
    "the best changes": "source 0 pays 1 in the first half, source 1 in the second; the others 0",
    "all equal": "all pay 0",
    "one harms": "source 0 pays -1, the others 0",
}


@dataclass(frozen=True)
class Bandit:
    """A law made concrete.

    Attributes:
        law: One of :data:`LAWS`.
        sources: Number of sources.
        steps: Episodes.
        noise: Standard deviation of a reward; the gap between the sources is 1.
        scale: What all rewards are multiplied by: a sampler must not depend on their unit.
        all_every: 0: the reward of the drawn source, every step. M: those of all sources, every M steps.
    """

    law: str
    sources: int = 5
    steps: int = 500
    noise: float = 1.0
    scale: float = 0.1
    all_every: int = 0

    def means(self, step: int) -> Array:
        """What each source pays on average at a step."""
        pay = np.zeros(self.sources)
        if self.law == "one helps" or (self.law == "the best changes" and step < self.steps // 2):
            pay[0] = 1.0
        elif self.law == "the best changes":
            pay[1] = 1.0
        elif self.law == "one harms":
            pay[0] = -1.0
        return pay

    def rewards(self, step: int, drawn: int, seed: int) -> dict[int, float]:
        """The rewards that the sampler is shown at a step."""
        noise = rng(seed, "law/noise", step).standard_normal(self.sources)
        pay = self.scale * (self.means(step) + self.noise * noise)
        if self.all_every:
            return {j: float(r) for j, r in enumerate(pay)} if step % self.all_every == 0 else {}
        return {drawn: float(pay[drawn])}


def play(sampler: Sampler, bandit: Bandit, seed: int) -> Array:
    """Let a sampler play.

    Args:
        sampler: For ``bandit.sources`` sources.
        bandit: Pays it.
        seed: Of everything.

    Returns:
        The probabilities drawn from: (steps, sources).
    """
    state, history = sampler.init(derive(seed, "law/sampler")), []
    for step in range(bandit.steps):
        p = sampler.probabilities(state)
        history.append(p)
        drawn = int(rng(seed, "law/draw", step).choice(bandit.sources, p=p))
        state = sampler.update(state, Feedback(drawn, p, bandit.rewards(step, drawn, seed), 1.0))
    return np.array(history)
