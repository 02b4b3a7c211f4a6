"""Who picks the source task of an episode."""

from metaxcr.sampling.base import Feedback, Sampler, State
from metaxcr.sampling.exp3 import Exp3
from metaxcr.sampling.explore import Explore
from metaxcr.sampling.fixed import Fixed, Uniform, temperature
from metaxcr.sampling.multidds import MultiDDS
from metaxcr.sampling.registry import SAMPLERS, make_sampler
from metaxcr.sampling.reinforce import Reinforce
from metaxcr.sampling.thompson import Thompson
from metaxcr.sampling.ucb import UCB

__all__ = [
    "SAMPLERS",
    "UCB",
    "Exp3",
    "Explore",
    "Feedback",
    "Fixed",
    "MultiDDS",
    "Reinforce",
    "Sampler",
    "State",
    "Thompson",
    "Uniform",
    "make_sampler",
    "temperature",
]
