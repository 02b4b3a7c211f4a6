"""What samplers keep about rewards: a running normaliser, and discounted statistics of each source."""

import math

import numpy as np
import torch
from torch import Tensor

from metaxcr.sampling.sampler import Feedback, Rewarded, State

SCALE, STATS = "scale.", "evidence."  # prefixes in a sampler's state


def init_normalizer() -> State:
    """No reward seen yet."""
    zero = torch.zeros((), dtype=torch.float64)
    return {f"{SCALE}mean": zero, f"{SCALE}var": zero.clone(), f"{SCALE}count": torch.tensor(0)}


def normalise(state: State, reward: float, s_min: float, clip: float = 3.0) -> float:
    """Clip((r - mean) / max(s, s_min), +-clip), by mean and deviation of *earlier* rewards; 0 without any."""
    if int(state[f"{SCALE}count"]) == 0:
        return 0.0
    deviation = max(math.sqrt(float(state[f"{SCALE}var"])), s_min)
    return float(np.clip((reward - float(state[f"{SCALE}mean"])) / deviation, -clip, clip))


def update_normalizer(state: State, reward: float, memory: float) -> State:
    """Add a reward to mean and variance: plain ones until the memory is full, then exponentially fading.

    Args:
        state: With the entries of :func:`init_normalizer`.
        reward: The new one.
        memory: Decay a reward; 0.95 remembers some 20 rewards.

    Returns:
        The entries that change.
    """
    count = int(state[f"{SCALE}count"]) + 1
    weight = max(1 / count, 1 - memory)
    mean, var = float(state[f"{SCALE}mean"]), float(state[f"{SCALE}var"])
    delta = reward - mean
    return {
        f"{SCALE}mean": torch.tensor(mean + weight * delta, dtype=torch.float64),
        f"{SCALE}var": torch.tensor((1 - weight) * (var + weight * delta * delta), dtype=torch.float64),
        f"{SCALE}count": torch.tensor(count),
    }


def init_stats(sources: int) -> State:
    """Nothing seen: sums of weights, of values and of their squares, one a source."""
    return {f"{STATS}{name}": torch.zeros(sources, dtype=torch.float64) for name in ("n", "sum", "square")}


def update_stats(state: State, source: int, value: float, decay: float) -> State:
    """Add a value of a source after fading earlier ones by ``decay``; returns the entries that change."""
    new = {f"{STATS}{name}": state[f"{STATS}{name}"] * decay for name in ("n", "sum", "square")}
    for name, term in (("n", 1.0), ("sum", value), ("square", value * value)):
        new[f"{STATS}{name}"][source] += term
    return new


def means(state: State) -> Tensor:
    """Discounted mean of each source: (sources,); 0 if nothing was seen."""
    return state[f"{STATS}sum"] / state[f"{STATS}n"].clamp(min=1e-9)


def counts(state: State) -> Tensor:
    """Discounted number of values of each source: (sources,)."""
    return state[f"{STATS}n"]


def shrinkage(state: State) -> float:
    """How much of the differences between sources to believe: F^2 / (1 + F^2), with the F of Fisher's test.

    F = variance between the sources' means / what noise alone would give. Sources with equal rewards have F
    near 1 however noisy they are, so half of a difference is believed; a real difference makes F grow with
    the number of rewards, and the factor goes to 1.

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
    centre = state[f"{STATS}sum"].sum() / total
    between = float((n * (mean - centre) ** 2).sum()) / (sources - 1)
    within = float((state[f"{STATS}square"] - n * mean**2).clamp(min=0).sum()) / (total - sources)
    if between == 0:
        return 0.0
    f = min(between / max(within, 1e-12), 1e6)
    return f * f / (1 + f * f)


class MeanRewards(Rewarded):
    """Base of samplers that go by the discounted mean of each source's normalised rewards.

    Attributes:
        sources: Number of sources.
        discount: Decay a reward, see :func:`update_stats`.
        s_min: Smallest deviation that rewards are divided by.
        memory: Of the normaliser, see :func:`update_normalizer`.
    """

    sources: int
    discount: float
    s_min: float
    memory: float

    def init(self, seed: int) -> State:
        """Nothing known about any source."""
        return init_normalizer() | init_stats(self.sources)

    def update(self, state: State, feedback: Feedback) -> State:
        """Add the rewards of a step, all normalised by what earlier steps brought."""
        new = dict(state)
        for source, reward in sorted(feedback.rewards.items()):
            new |= update_stats(new, source, normalise(state, reward, self.s_min), self.discount)
            new |= update_normalizer(new, reward, self.memory)
        return new
