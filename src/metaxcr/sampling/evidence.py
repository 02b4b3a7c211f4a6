"""Discounted rewards of each source, and how far the sources differ beyond what noise explains."""

import torch
from torch import Tensor

from metaxcr.sampling import scale
from metaxcr.sampling.base import Feedback, Rewarded, State

PREFIX = "evidence."


def init_evidence(sources: int) -> State:
    """Nothing seen: sums of weights, of values and of their squares, one a source."""
    return {f"{PREFIX}{name}": torch.zeros(sources, dtype=torch.float64) for name in ("n", "sum", "square")}


def gather(state: State, source: int, value: float, decay: float) -> State:
    """Add a value of a source, after fading all earlier ones by ``decay``.

    Returns:
        The entries that change.
    """
    new = {f"{PREFIX}{name}": state[f"{PREFIX}{name}"] * decay for name in ("n", "sum", "square")}
    for name, term in (("n", 1.0), ("sum", value), ("square", value * value)):
        new[f"{PREFIX}{name}"][source] += term
    return new


def means(state: State) -> Tensor:
    """Discounted mean of each source: (sources,); 0 where nothing was seen."""
    return state[f"{PREFIX}sum"] / state[f"{PREFIX}n"].clamp(min=1e-9)


def counts(state: State) -> Tensor:
    """Discounted number of values of each source: (sources,)."""
    return state[f"{PREFIX}n"]


def trust(state: State) -> float:
    """How much of the differences between sources to believe: F^2 / (1 + F^2), with the F of Fisher's test.

    F = variance between the sources' means / what noise alone would give. Sources that pay alike have F near
    1 however noisy they are, so half of a difference is believed; a difference that is real makes F grow
    with the number of rewards, and trust goes to 1.

    Returns:
        Between 0 and 1; 0 before there are two values a source on average.

    Source:
        F: one-way analysis of variance (Fisher 1925). The shrinkage is ours, in the spirit of James and Stein
        1961.
    """
    n, mean = counts(state), means(state)
    total, sources = float(n.sum()), len(n)
    if sources < 2 or total < 2 * sources:
        return 0.0
    centre = state[f"{PREFIX}sum"].sum() / total
    between = float((n * (mean - centre) ** 2).sum()) / (sources - 1)
    within = float((state[f"{PREFIX}square"] - n * mean**2).clamp(min=0).sum()) / (total - sources)
    if between == 0:
        return 0.0
    f = min(between / max(within, 1e-12), 1e6)
    return f * f / (1 + f * f)


class ByEvidence(Rewarded):
    """A sampler that goes by the discounted mean of each source's standardised rewards.

    Attributes:
        sources: Number of sources.
        discount: As for :func:`gather`.
        s_min: As for :func:`metaxcr.sampling.scale.standardise`.
        memory: As for :func:`metaxcr.sampling.scale.observe`.
    """

    sources: int
    discount: float
    s_min: float
    memory: float

    def init(self, seed: int) -> State:
        """Nothing known about any source."""
        return scale.init_scale() | init_evidence(self.sources)

    def update(self, state: State, feedback: Feedback) -> State:
        """Add standardised rewards to their sources' evidence, and the rewards to the scale of later ones.

        All rewards of a step are standardised by what earlier steps paid.
        """
        new = dict(state)
        for source, reward in sorted(feedback.rewards.items()):
            new |= gather(new, source, scale.standardise(state, reward, self.s_min), self.discount)
            new |= scale.observe(new, reward, self.memory)
        return new
