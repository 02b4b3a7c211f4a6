"""Multi-source meta-transfer in the style of MMT."""

from dataclasses import dataclass

from metaxcr.autodiff import Params, inner_loop, value_and_grad
from metaxcr.meta.learners.base import GRADIENT, BaseLearner, EpisodeResult, Losses, Passes, target_losses


@dataclass(frozen=True)
class Mmt(BaseLearner):
    """MMT: fast adaptation to every source in turn, one meta-update for a batch of them, with transfer.

    *Multi-source meta-learning*: the sources take turns, so that ``tasks_per_step`` episodes make a batch of
    different sources; each gives the first-order gradient of its query at its phi'_K. *Transfer*: to the mean
    of these gradients comes that of target-task data at phi itself, with the same weight.

    Our reading of the paper, whose code we could not find; that both parts make one step of the outer
    optimiser is ours. The sampler has no part in it.

    Args:
        steps: Inner steps K.
        inner_lr: Inner learning rate, alpha.

    Source:
        Yan et al. 2020 (ACL, "Multi-source Meta Transfer for Low Resource Multiple-Choice Question
        Answering").
    """

    steps: int
    inner_lr: float

    @property
    def wants_target(self) -> bool:
        """Yes: for the transfer."""
        return True

    @property
    def plain(self) -> dict[str, float]:
        """The query, and as much of the target."""
        return {"query": 2.0, "target_support": 1.0, "target_query": 1.0}

    @property
    def passes(self) -> Passes:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        rest = dict.fromkeys(("query", "target_support", "target_query"), GRADIENT)
        return {"support": GRADIENT * self.steps, **rest}

    def source(self, step: int, steps: int, sources: int) -> int | None:
        """The sources take turns."""
        return step % sources

    def adapt(self, losses: Losses, phi: Params, meta_params: Params) -> EpisodeResult:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        adapted, inner_losses = inner_loop([losses.support] * self.steps, phi, self.inner_lr)
        query_loss, meta = value_and_grad(losses.query, adapted)
        (one_loss, one), (other_loss, other) = (value_and_grad(loss, phi) for loss in target_losses(losses))
        meta_grad = {n: (g + (one[n] + other[n]) / 2) / 2 for n, g in meta.items()}
        notes = {"target_loss": (one_loss + other_loss) / 2}
        return EpisodeResult(meta_grad, adapted, inner_losses, query_loss, self.passes, notes=notes)
