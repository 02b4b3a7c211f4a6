"""Running statistics of rewards, so that samplers need not know their unit."""

import math

import numpy as np
import torch

from metaxcr.sampling.base import State

PREFIX = "scale."


def init_scale() -> State:
    """No reward seen yet."""
    zero = torch.zeros((), dtype=torch.float64)
    return {f"{PREFIX}mean": zero, f"{PREFIX}var": zero.clone(), f"{PREFIX}count": torch.tensor(0)}


def standardise(state: State, reward: float, s_min: float, clip: float = 3.0) -> float:
    """Clip((r - b) / max(s, s_min), +-clip), mean b and deviation s of *earlier* rewards; 0 without any."""
    if int(state[f"{PREFIX}count"]) == 0:
        return 0.0
    deviation = max(math.sqrt(float(state[f"{PREFIX}var"])), s_min)
    return float(np.clip((reward - float(state[f"{PREFIX}mean"])) / deviation, -clip, clip))


def observe(state: State, reward: float, memory: float) -> State:
    """Take a reward into mean and variance: the plain ones until the memory is full, then fading.

    Args:
        state: With the entries of :func:`init_scale`.
        reward: The new one.
        memory: Decay a reward; 0.95 remembers some 20 rewards.

    Returns:
        The entries that change.
    """
    count = int(state[f"{PREFIX}count"]) + 1
    weight = max(1 / count, 1 - memory)
    mean, var = float(state[f"{PREFIX}mean"]), float(state[f"{PREFIX}var"])
    delta = reward - mean
    return {
        f"{PREFIX}mean": torch.tensor(mean + weight * delta, dtype=torch.float64),
        f"{PREFIX}var": torch.tensor((1 - weight) * (var + weight * delta * delta), dtype=torch.float64),
        f"{PREFIX}count": torch.tensor(count),
    }
