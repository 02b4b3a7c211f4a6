"""Meta-learners, one algorithm a file, behind one protocol; the registry says how settings make one."""

from collections.abc import Callable

from metaxcr.config import Meta
from metaxcr.meta.learners.base import Adapted, Learner, Losses
from metaxcr.meta.learners.maml import Maml
from metaxcr.meta.learners.multi_task import MultiTask, Sequential
from metaxcr.meta.learners.reptile import Reptile

__all__ = [
    "LEARNERS",
    "Adapted",
    "Learner",
    "Losses",
    "Maml",
    "MultiTask",
    "Reptile",
    "Sequential",
    "make_learner",
]

LEARNERS: dict[str, Callable[[Meta], Learner]] = {
    "fomaml": lambda s: Maml(s.inner_steps, s.inner_rate, first_order=True),
    "maml": lambda s: Maml(s.inner_steps, s.inner_rate, s.first_order),
    "multi-task": lambda s: MultiTask(s.inner_rate),
    "reptile": lambda s: Reptile(s.inner_steps, s.inner_rate),
    "sequential": lambda s: Sequential(s.inner_rate),
}


def make_learner(settings: Meta) -> Learner:
    """The learner that a stage's settings name."""
    return LEARNERS[settings.learner](settings)
