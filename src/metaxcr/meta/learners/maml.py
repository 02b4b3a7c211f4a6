"""MAML and its first-order approximation."""

from dataclasses import dataclass

from metaxcr.autodiff import Params, backprop_through_inner_loop, inner_path, value_and_grad
from metaxcr.meta.learners.base import GRADIENT, HESSIAN, BaseLearner, EpisodeResult, Losses, Passes


@dataclass(frozen=True)
class Maml(BaseLearner):
    """MAML: the gradient of L(B_q; phi'_K) with respect to phi, through the K inner steps.

    meta_grad = (I - alpha H_1) (I - alpha H_2) ... (I - alpha H_K) grad L(B_q; phi'_K), with H_k the Hessian
    of the support loss at phi'_(k-1). *First order* (FOMAML) takes every bracket for I.

    Args:
        steps: Inner steps K.
        inner_lr: Inner learning rate, alpha.
        first_order: Leave the second derivatives out.

    Source:
        Finn et al. 2017 (ICML), algorithm 1; section 5.2 for the first-order form.
    """

    steps: int
    inner_lr: float
    first_order: bool = False

    @property
    def passes(self) -> Passes:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        support = GRADIENT if self.first_order else GRADIENT + HESSIAN
        return {"support": support * self.steps, "query": GRADIENT}

    def adapt(self, losses: Losses, phi: Params, meta_params: Params) -> EpisodeResult:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        inner = [losses.support] * self.steps
        path = inner_path(inner, phi, self.inner_lr)
        query_loss, meta_grad = value_and_grad(losses.query, path.end)
        if not self.first_order:
            meta_grad, _ = backprop_through_inner_loop(inner, path, self.inner_lr, meta_grad)
        return EpisodeResult(meta_grad, path.end, path.losses, query_loss, self.passes)
