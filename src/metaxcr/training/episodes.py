"""Episodes: what one holds, its losses as functions of phi, and what learning from it costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from metaxcr.autodiff import Objective, Params
from metaxcr.meta.learners.base import EpisodeResult, Losses
from metaxcr.model.batch import Batch, Parallel
from metaxcr.model.choice_model import ChoiceModel

Texts = Mapping[str, Sequence[int]]  # language -> numbers of its sentences in the trunk store, aligned


@dataclass(frozen=True)
class Episode:
    """What one inner and outer update learns from.

    Attributes:
        support: B_s.
        query: B_q.
        parallel: Parallel sentences for the alignment term, or None.
        about: Entries for the events file.
        target: Two batches of target-task data that share no question, for learners that want them.
    """

    support: Batch
    query: Batch
    parallel: Parallel | None = None
    about: dict[str, Any] = field(default_factory=dict)
    target: tuple[Batch, Batch] | None = None

    @property
    def tokens(self) -> dict[str, int]:
        """Tokens by part."""
        tokens = {"support": self.support.tokens, "query": self.query.tokens}
        if self.target is not None:
            tokens |= {"target_support": self.target[0].tokens, "target_query": self.target[1].tokens}
        if self.parallel is not None:
            tokens["alignment"] = sum(len(trunk.hidden) for trunk, _ in self.parallel)
        return tokens


class Episodes(Protocol):
    """The episodes of a stage. What is drawn depends on the seed, the stage and the step, on nothing else."""

    @property
    def sources(self) -> list[str]:
        """Names of what the sampler chooses from."""
        ...

    def uses_source(self, step: int) -> bool:
        """Whether the support of this step's episode comes from what the sampler chooses."""
        ...

    def sample(self, step: int, source: int) -> Episode:
        """The episode of a step."""
        ...

    def reward_batch(self, step: int) -> Batch:
        """B_T: target data that the sampler's reward is measured on."""
        ...


def losses_of(
    model: ChoiceModel,
    episode: Episode,
    alignment: float,
    timer: Callable[[str], None] = lambda part: None,
    record: dict[str, float | str] | None = None,
) -> Losses:
    """An episode's losses as functions of phi.

    With parallel sentences the query's loss is (L(B_q) + alignment * L_align) / (1 + alignment).

    Args:
        model: Scores batches.
        episode: Its batches.
        alignment: Weight of the alignment term.
        timer: Called with the name of the loss that is about to be computed.
        record: Takes the alignment term as last computed, and its language.
    """

    def support(phi: Params) -> Tensor:
        timer("support")
        return model.loss(phi, episode.support)

    def query(phi: Params) -> Tensor:
        timer("query")
        loss = model.loss(phi, episode.query.mixed)  # with one adapter a source, queries teach their mixture
        if episode.parallel is None or not alignment:
            return loss
        term = model.alignment(phi, episode.parallel)
        if record is not None:
            record["alignment_loss"] = float(term.detach())
            record["alignment_language"] = episode.parallel[1][1]
        return (loss + alignment * term) / (1 + alignment)

    def on_target(batch: Batch) -> Objective:
        def loss(phi: Params) -> Tensor:
            timer("target")
            return model.loss(phi, batch.mixed)

        return loss

    target = episode.target and (on_target(episode.target[0]), on_target(episode.target[1]))
    return Losses(support, query, target)


@torch.no_grad()
def evaluate(objective: Objective, phi: Params) -> float:
    """A loss as a number."""
    return float(objective(phi))


def token_passes(episode: Episode, result: EpisodeResult) -> dict[str, int]:
    """Cost of an episode, part by part: a token's forward pass counts 1, its backward pass 2."""
    tokens = episode.tokens
    passes = {part: n * tokens[part] for part, n in result.passes.items()}
    if "alignment" in tokens:
        passes["alignment"] = result.passes["query"] * tokens["alignment"]
    return passes
