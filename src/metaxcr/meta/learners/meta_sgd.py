"""Meta-SGD: the inner learning rates are learned, one for every element of phi."""

from dataclasses import dataclass

import torch

from metaxcr.autodiff import Params, backprop_through_inner_loop, inner_path, value_and_grad
from metaxcr.meta.learners.base import GRADIENT, HESSIAN, BaseLearner, EpisodeResult, Losses, Passes


@dataclass(frozen=True)
class MetaSgd(BaseLearner):
    """MAML with phi'_k = phi'_(k-1) - a * g_k elementwise, and a learned beside phi.

    The meta-parameters are c, with a = alpha c and c = 1 at the start, so that the outer optimiser's learning
    rate for them does not depend on alpha's size. Their gradient is dL(B_q; phi'_K)/dc
    = - alpha * sum over k of g_k * v_k, with v_k the gradient with respect to phi'_k. A rate may change its
    sign, as in the paper.

    Args:
        steps: Inner steps K; one rate an element for all of them.
        inner_lr: Inner learning rate at the start, alpha.
        first_order: Leave the second derivatives out: v_k = grad L(B_q; phi'_K) for every k. The rates are
            learned all the same.

    Source:
        Li et al. 2017 (arXiv 1707.09835), equation 3 and algorithm 1 (there with one inner step).
    """

    steps: int
    inner_lr: float
    first_order: bool = False

    def init(self, phi: Params) -> Params:
        """Multipliers of alpha, all 1."""
        return {name: torch.ones_like(p) for name, p in phi.items()}

    @property
    def passes(self) -> Passes:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        support = GRADIENT if self.first_order else GRADIENT + HESSIAN
        return {"support": support * self.steps, "query": GRADIENT}

    def adapt(self, losses: Losses, phi: Params, meta_params: Params) -> EpisodeResult:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        rates = {name: self.inner_lr * meta_params[name] for name in phi}
        inner = [losses.support] * self.steps
        path = inner_path(inner, phi, rates)
        query_loss, meta_grad = value_and_grad(losses.query, path.end)
        if self.first_order:
            lr_grad = {n: -sum(g[n] for g in path.gradients) * v for n, v in meta_grad.items()}
        else:
            meta_grad, lr_grad = backprop_through_inner_loop(inner, path, rates, meta_grad)
        meta_params_grad = {name: self.inner_lr * lr_grad[name] for name in phi}
        return EpisodeResult(meta_grad, path.end, path.losses, query_loss, self.passes, meta_params_grad)
