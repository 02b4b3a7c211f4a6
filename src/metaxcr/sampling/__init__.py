"""Samplers pick the source task of an episode; the registry makes one from the settings."""

import math
from collections.abc import Callable, Sequence

from metaxcr.config.schema import RewardSettings, SamplerSettings
from metaxcr.sampling.bandits import UCB, Exp3, Thompson
from metaxcr.sampling.fixed import Explore, Uniform, temperature
from metaxcr.sampling.multidds import MultiDDS
from metaxcr.sampling.reinforce import Reinforce
from metaxcr.sampling.rewards import RewardSchedule
from metaxcr.sampling.sampler import Sampler

GRADIENT_REFRESH = 8  # steps that one target gradient serves by default

Make = Callable[[SamplerSettings, Sequence[int]], Sampler]  # settings, examples of each source

SAMPLERS: dict[str, Make] = {
    "uniform": lambda s, sizes: Uniform(len(sizes)),
    "proportional": lambda s, sizes: temperature(sizes, 1.0),
    "temperature": lambda s, sizes: temperature(sizes, s.temperature),
    "exp3": lambda s, sizes: Exp3(len(sizes), s.lr or 0.1, s.s_min, s.memory),
    "ucb": lambda s, sizes: UCB(len(sizes), s.bonus, s.discount, s.s_min, s.memory),
    "thompson": lambda s, sizes: Thompson(len(sizes), s.discount, s.s_min, s.memory),
    "multidds": lambda s, sizes: MultiDDS(len(sizes), s.lr or 1.0),
    "reinforce": lambda s, sizes: Reinforce(
        len(sizes),
        hidden=s.hidden,
        lr=s.lr or 0.3,
        entropy=s.entropy,
        barrier=s.barrier,
        window=s.window,
        balance=s.balance,
        baseline=s.baseline,
        s_min=s.s_min,
        memory=s.memory,
        horizon=s.horizon,
    ),
}


def make_sampler(settings: SamplerSettings, sizes: Sequence[int]) -> Sampler:
    """The sampler that the settings name; one that learns gets warm-up and floor.

    Args:
        settings: The section ``sampler``.
        sizes: Examples of each source.
    """
    sampler = SAMPLERS[settings.kind](settings, sizes)
    return Explore(sampler, settings.floor, settings.warmup) if sampler.wants_reward else sampler


def make_reward_schedule(settings: RewardSettings, *, fresh: bool) -> RewardSchedule:
    """What a sampler is rewarded for, and when: the section ``sampler.reward``.

    Args:
        settings: The section.
        fresh: Whether the sampler knows nothing yet, as in CTML; CLML goes on with what CTML's has learned.
    """
    refresh = settings.refresh or (GRADIENT_REFRESH if settings.kind == "gradient-cosine" else 1)
    of_all = math.inf if settings.sources == "all" else settings.all_first * fresh
    return RewardSchedule(settings.kind, of_all, settings.every, refresh)
