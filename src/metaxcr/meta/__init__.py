"""Meta-learning over the adapter parameters: inner loop, learners, outer optimiser, all pure functions."""

from metaxcr.meta.diverged import Diverged
from metaxcr.meta.inner import inner_loop, value_and_grad
from metaxcr.meta.learners import LEARNERS, Adapted, Learner, Losses, make_learner
from metaxcr.meta.optim import Adam, Averager, schedule

__all__ = [
    "LEARNERS",
    "Adam",
    "Adapted",
    "Averager",
    "Diverged",
    "Learner",
    "Losses",
    "inner_loop",
    "make_learner",
    "schedule",
    "value_and_grad",
]
