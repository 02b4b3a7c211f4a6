"""Reptile."""

from dataclasses import dataclass

from metaxcr.autodiff import Params, inner_loop
from metaxcr.meta.learners.base import GRADIENT, BaseLearner, EpisodeResult, Losses, Passes


@dataclass(frozen=True)
class Reptile(BaseLearner):
    """Reptile: an inner path over the support batch and then the query batch; moves phi towards its end.

    phi - phi'_end is divided by alpha, so that it has the scale of a sum of gradients: plain descent with
    learning rate beta * alpha is phi <- phi + beta (phi'_end - phi), and Adam sees the scale of FOMAML.

    Args:
        steps: Inner steps K on the support batch; one more on the query batch follows.
        inner_lr: Inner learning rate, alpha.

    Source:
        Nichol et al. 2018 (arXiv 1803.02999), algorithm 1.
    """

    steps: int
    inner_lr: float

    @property
    def plain(self) -> dict[str, float]:
        """Every loss on the path."""
        return {"support": float(self.steps), "query": 1.0}

    @property
    def passes(self) -> Passes:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        return {"support": GRADIENT * self.steps, "query": GRADIENT}

    def adapt(self, losses: Losses, phi: Params, meta_params: Params) -> EpisodeResult:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        adapted, inner_losses = inner_loop([losses.support] * self.steps, phi, self.inner_lr)
        end, query_losses = inner_loop([losses.query], adapted, self.inner_lr)
        meta_grad = {name: (p - end[name]) / self.inner_lr for name, p in phi.items()}
        return EpisodeResult(meta_grad, adapted, inner_losses, query_losses[0], self.passes)
