"""Who picks the source task of an episode."""

from metaxcr.sampling.base import Sampler, State, Uniform
from metaxcr.sampling.reinforce import Reinforce

__all__ = ["Reinforce", "Sampler", "State", "Uniform"]
