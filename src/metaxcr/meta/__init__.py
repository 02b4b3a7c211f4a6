"""Meta-learning over the adapter parameters: inner loop, learners, outer optimiser, all pure functions."""

from metaxcr.meta.inner import inner_loop, value_and_grad
from metaxcr.meta.learners import LEARNERS, Adapted, Learner, fomaml, reptile
from metaxcr.meta.optim import Adam, Averager, schedule

__all__ = [
    "LEARNERS",
    "Adam",
    "Adapted",
    "Averager",
    "Learner",
    "fomaml",
    "inner_loop",
    "reptile",
    "schedule",
    "value_and_grad",
]
