"""ANIL: almost no inner loop."""

from dataclasses import dataclass

from metaxcr.autodiff import Params, backprop_through_inner_loop, inner_path, value_and_grad
from metaxcr.errors import UserError
from metaxcr.meta.learners.base import FORWARD, GRADIENT, BaseLearner, EpisodeResult, Losses, Passes
from metaxcr.model.choice_model import SCORER


@dataclass(frozen=True)
class Anil(BaseLearner):
    """ANIL: MAML whose inner loop moves the scorer only; the outer step moves all of phi.

    An inner step runs forward alone: the gradient stops at the scorer. Its part in the meta-gradient is
    d <grad_scorer L(B_s; .), alpha v_scorer> / d phi, one backward pass through the adapters.

    Args:
        steps: Inner steps K.
        inner_lr: Inner learning rate, alpha.
        first_order: Leave the second derivatives out.

    Source:
        Raghu et al. 2020 (ICLR, "Rapid learning or feature reuse?"), section 4.
    """

    steps: int
    inner_lr: float
    first_order: bool = False

    @property
    def passes(self) -> Passes:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        support = FORWARD if self.first_order else FORWARD + GRADIENT
        return {"support": support * self.steps, "query": GRADIENT}

    def adapt(self, losses: Losses, phi: Params, meta_params: Params) -> EpisodeResult:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        if SCORER not in phi:
            raise UserError("the model has no scorer for ANIL's inner loop", "learner", "choose maml")
        inner = [losses.support] * self.steps
        path = inner_path(inner, phi, self.inner_lr, [SCORER])
        query_loss, meta_grad = value_and_grad(losses.query, path.end)
        if not self.first_order:
            meta_grad, _ = backprop_through_inner_loop(inner, path, self.inner_lr, meta_grad, [SCORER])
        return EpisodeResult(meta_grad, path.end, path.losses, query_loss, self.passes)
