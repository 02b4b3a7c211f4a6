"""Meta-adaptation in the style of X-METRA-ADA."""

from dataclasses import dataclass

from metaxcr.autodiff import Params, inner_loop, value_and_grad
from metaxcr.meta.learners.base import GRADIENT, BaseLearner, EpisodeResult, Losses, Passes, target_losses


@dataclass(frozen=True)
class XMetraAda(BaseLearner):
    """X-METRA-ADA: meta-train towards the query, then meta-adapt on the target, within one episode.

    *Meta-train*: phi' = K inner steps on the support batch (another language or task), gradient of the query
    loss (target language) at phi'. *Meta-adapt*: the inner loop goes on from phi' with K steps on a support
    batch of the target, to phi'', where the gradient of a query batch of the target is taken. First order.
    The meta-gradient is the mean of the two gradients.

    Our reading of the authors' code (first-order MAML; the copy that was adapted in meta-training is adapted
    further). Their choice of similar support examples is left out.

    Args:
        steps: Inner steps K in both parts.
        inner_lr: Inner learning rate, alpha.

    Source:
        M'hamdi et al. 2021 (NAACL, arXiv 2104.09696).
    """

    steps: int
    inner_lr: float

    @property
    def wants_target(self) -> bool:
        """Yes: support and query of the second part."""
        return True

    @property
    def plain(self) -> dict[str, float]:
        """Both queries."""
        return {"query": 1.0, "target_query": 1.0}

    @property
    def passes(self) -> Passes:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        inner = GRADIENT * self.steps
        return {"support": inner, "query": GRADIENT, "target_support": inner, "target_query": GRADIENT}

    def adapt(self, losses: Losses, phi: Params, meta_params: Params) -> EpisodeResult:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        target_support, target_query = target_losses(losses)
        adapted, inner_losses = inner_loop([losses.support] * self.steps, phi, self.inner_lr)
        query_loss, train = value_and_grad(losses.query, adapted)
        further, _ = inner_loop([target_support] * self.steps, adapted, self.inner_lr)
        target_loss, adapt = value_and_grad(target_query, further)
        meta_grad = {n: (g + adapt[n]) / 2 for n, g in train.items()}
        notes = {"target_loss": target_loss}
        return EpisodeResult(meta_grad, adapted, inner_losses, query_loss, self.passes, notes=notes)
