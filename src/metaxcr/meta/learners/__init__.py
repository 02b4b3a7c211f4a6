"""Meta-learners, one algorithm a file, behind one protocol; the registry says how settings make one."""

from collections.abc import Callable
from functools import lru_cache

from metaxcr.config.schema import Meta
from metaxcr.meta.learners.anil import Anil
from metaxcr.meta.learners.base import EpisodeResult, Learner, Losses, Passes
from metaxcr.meta.learners.imaml import Imaml
from metaxcr.meta.learners.maml import Maml
from metaxcr.meta.learners.meta_sgd import MetaSgd
from metaxcr.meta.learners.mmt import Mmt
from metaxcr.meta.learners.multi_task import MultiTask, Sequential
from metaxcr.meta.learners.reptile import Reptile
from metaxcr.meta.learners.x_metra_ada import XMetraAda

__all__ = [
    "LEARNERS",
    "Anil",
    "EpisodeResult",
    "Imaml",
    "Learner",
    "Losses",
    "Maml",
    "MetaSgd",
    "Mmt",
    "MultiTask",
    "Passes",
    "Reptile",
    "Sequential",
    "XMetraAda",
    "make_learner",
]

LEARNERS: dict[str, Callable[[Meta], Learner]] = {
    "anil": lambda s: Anil(s.inner_steps, s.inner_lr, s.first_order),
    "fomaml": lambda s: Maml(s.inner_steps, s.inner_lr, first_order=True),
    "imaml": lambda s: Imaml(s.inner_steps, s.inner_lr, s.imaml.strength, s.imaml.cg_steps, s.imaml.damping),
    "maml": lambda s: Maml(s.inner_steps, s.inner_lr, s.first_order),
    "meta-sgd": lambda s: MetaSgd(s.inner_steps, s.inner_lr, s.first_order),
    "mmt": lambda s: Mmt(s.inner_steps, s.inner_lr),
    "multi-task": lambda s: MultiTask(s.inner_lr),
    "reptile": lambda s: Reptile(s.inner_steps, s.inner_lr),
    "sequential": lambda s: Sequential(s.inner_lr),
    "x-metra-ada": lambda s: XMetraAda(s.inner_steps, s.inner_lr),
}


@lru_cache(maxsize=16)
def make_learner(settings: Meta) -> Learner:
    """The learner that a stage's settings name; it has no state, so that equal settings share one."""
    return LEARNERS[settings.learner](settings)
