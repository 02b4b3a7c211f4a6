"""The learner protocol: from one episode to a meta-gradient for the outer optimiser."""

from dataclasses import dataclass, field
from typing import Protocol

from metaxcr.autodiff import Objective, Params

# Cost of one token in token-passes: a forward pass is the unit, and a backward pass costs twice what it goes
# back through.
FORWARD = 1
GRADIENT = 3  # forward 1, backward 2
HESSIAN = 9  # product with a vector: forward 1, backward 2, and twice as much to go back through both

Passes = dict[str, int]  # part of an episode -> token-passes for each of its tokens


@dataclass(frozen=True)
class Losses:
    """The losses of one episode as functions of phi.

    Attributes:
        support: L(B_s; .).
        query: L(B_q; .), with the alignment term where there is one.
        target: On two batches of target-task data that share no question; for learners with ``wants_target``.
    """

    support: Objective
    query: Objective
    target: tuple[Objective, Objective] | None = None


@dataclass(frozen=True)
class EpisodeResult:
    """The result of one episode.

    Attributes:
        meta_grad: The gradient that the outer optimiser descends along, by parameter name.
        phi: phi'_K, the parameters adapted to the support batch alone; the sampler's reward is measured on
            them. For a learner without inner loop: after one virtual step.
        inner_losses: L(B_s; phi'_k) for k = 0 .. K-1: before every inner step.
        query_loss: The query loss where its gradient is taken.
        passes: Token-passes for each token of a part ("support", "query", "target_support", "target_query").
        meta_params_grad: Gradient of the learner's own meta-parameters, by name; see :meth:`Learner.init`.
        notes: Further numbers for the events file.
    """

    meta_grad: Params
    phi: Params
    inner_losses: list[float]
    query_loss: float
    passes: Passes
    meta_params_grad: Params = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def support_loss(self) -> float:
        """L(B_s; phi), before the inner loop."""
        return self.inner_losses[0]


class Learner(Protocol):
    """A learner is a pure function of phi and of its own meta-parameters, if it has any."""

    @property
    def wants_target(self) -> bool:
        """Whether episodes have to bring two batches of target-task data."""
        ...

    @property
    def passes(self) -> Passes:
        """Token-passes of an episode before it is run; :attr:`EpisodeResult.passes` is never more."""
        ...

    @property
    def plain(self) -> dict[str, float]:
        """Where the meta-gradient points if the inner learning rate goes to 0: at plain training.

        Weights of the gradients at phi, by part of the episode; empty for learners without inner loop.
        """
        ...

    def init(self, phi: Params) -> Params:
        """The meta-parameters before the first step; most learners have none.

        The outer optimiser learns them beside phi, and checkpoints hold them; the result does not.
        """
        ...

    def source(self, step: int, steps: int, sources: int) -> int | None:
        """The source of an episode, for methods with a fixed order; None leaves it to the sampler."""
        ...

    def adapt(self, losses: Losses, phi: Params, meta_params: Params) -> EpisodeResult:
        """Learn from one episode; the arguments are not changed."""
        ...


def target_losses(losses: Losses) -> tuple[Objective, Objective]:
    """The target-task losses of an episode.

    Raises:
        ValueError: The episode has none, although the learner wants them.
    """
    if losses.target is None:
        raise ValueError("the episode has no target-task batches, which this learner needs")
    return losses.target


class BaseLearner:
    """Defaults: no meta-parameters, the sampler chooses, no target batches."""

    @property
    def wants_target(self) -> bool:
        """No."""
        return False

    @property
    def plain(self) -> dict[str, float]:
        """The gradient at the query."""
        return {"query": 1.0}

    def init(self, phi: Params) -> Params:
        """None."""
        return {}

    def source(self, step: int, steps: int, sources: int) -> int | None:
        """The sampler's choice."""
        return None
