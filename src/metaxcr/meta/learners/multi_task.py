"""The baselines without inner loop: plain multi-task training, and sequential transfer."""

from dataclasses import dataclass

from metaxcr.autodiff import Params, descend, value_and_grad
from metaxcr.meta.learners.base import GRADIENT, BaseLearner, EpisodeResult, Losses, Passes


@dataclass(frozen=True)
class MultiTask(BaseLearner):
    """Plain multi-task training: meta_grad = (grad L(B_s; phi) + grad L(B_q; phi)) / 2.

    Sees the same batches as a meta-learner at the same cost as FOMAML with one inner step.

    Args:
        inner_lr: alpha of the step phi' = phi - alpha grad L(B_s; phi) that the sampler is rewarded for.

    Source:
        Caruana 1997 (Multitask Learning).
    """

    inner_lr: float

    @property
    def plain(self) -> dict[str, float]:
        """None: this is plain training itself."""
        return {}

    @property
    def passes(self) -> Passes:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        return {"support": GRADIENT, "query": GRADIENT}

    def adapt(self, losses: Losses, phi: Params, meta_params: Params) -> EpisodeResult:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        support_loss, support = value_and_grad(losses.support, phi)
        query_loss, query = value_and_grad(losses.query, phi)
        meta_grad = {n: (g + query[n]) / 2 for n, g in support.items()}
        virtual = descend(phi, support, self.inner_lr)
        return EpisodeResult(meta_grad, virtual, [support_loss], query_loss, self.passes)


@dataclass(frozen=True)
class Sequential(MultiTask):
    """Sequential transfer: plain training on one source after another, in their order in the configuration.

    The English part of the target task is the last source, so the target task comes last. The sampler has
    no part in it.

    Source:
        As a baseline; the idea is STILTs (Phang et al. 2018, arXiv 1811.01088).
    """

    def source(self, step: int, steps: int, sources: int) -> int | None:
        """The steps are shared out evenly."""
        return step * sources // steps
