"""Episodes: where they come from, their losses, and what learning from them costs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from metaxcr.meta.inner import Objective, Params
from metaxcr.meta.learners import Adapted, Losses
from metaxcr.scoring.batch import Batch, Parallel
from metaxcr.scoring.model import ChoiceModel

Clock = Callable[[str], None]  # told the part of a step that begins


@dataclass(frozen=True)
class Episode:
    """What one inner/outer update learns from.

    Attributes:
        support: B_s.
        query: B_q.
        parallel: Parallel sentences for the alignment term, or None.
        about: What the events file says about the episode.
        target: Two batches of target-task data that share no question, for learners that want them.
    """

    support: Batch
    query: Batch
    parallel: Parallel | None = None
    about: dict[str, Any] = field(default_factory=dict)
    target: tuple[Batch, Batch] | None = None


@dataclass(frozen=True)
class Curriculum:
    """Where episodes come from. Draws depend on the seed, the purpose and the step alone.

    Attributes:
        sources: Names of the source tasks that the sampler chooses from.
        uses_source: Whether the episode of a step takes its support from a sampled source at all.
        episode: (step, source) -> the episode.
        reward_batch: step -> B_T.
    """

    sources: list[str]
    uses_source: Callable[[int], bool]
    episode: Callable[[int, int], Episode]
    reward_batch: Callable[[int], Batch]


def losses_of(
    model: ChoiceModel,
    episode: Episode,
    weight: float,
    clock: Clock = lambda part: None,
    aligned: dict[str, float | str] | None = None,
) -> Losses:
    """An episode's losses as functions of phi.

    L(B_q; .): where the episode has parallel sentences, its weighted mean with the alignment term.

    Args:
        model: Scores batches.
        episode: Its batches.
        weight: Of the alignment term.
        clock: As for :func:`metaxcr.meta.training.meta_train`.
        aligned: Takes the alignment term alone, as last computed, and its language, for the events file.
    """

    def support(phi: Params) -> Tensor:
        clock("support")
        return model.loss(phi, episode.support)

    def query(phi: Params) -> Tensor:
        clock("query")
        loss = model.loss(phi, episode.query.mixed)  # with one adapter a source, queries teach their mixture
        if episode.parallel is None or not weight:
            return loss
        term = model.alignment(phi, episode.parallel)
        if aligned is not None:
            aligned["alignment_loss"] = float(term.detach())
            aligned["alignment_language"] = episode.parallel[1][1]
        return (loss + weight * term) / (1 + weight)

    def on_target(batch: Batch) -> Objective:
        def loss(phi: Params) -> Tensor:
            clock("target")
            return model.loss(phi, batch.mixed)

        return loss

    target = episode.target and (on_target(episode.target[0]), on_target(episode.target[1]))
    return Losses(support, query, target)


@torch.no_grad()
def evaluate(objective: Objective, phi: Params) -> float:
    """A loss as a number."""
    return float(objective(phi))


def token_passes(episode: Episode, adapted: Adapted) -> dict[str, int]:
    """Cost of what a learner did, part by part: a token's forward pass counts 1, its backward pass 2."""
    tokens = {"support": episode.support.tokens, "query": episode.query.tokens}
    if episode.target is not None:
        tokens |= {"target_support": episode.target[0].tokens, "target_query": episode.target[1].tokens}
    passes = {part: n * tokens[part] for part, n in adapted.passes.items()}
    if episode.parallel is not None:
        sentences = sum(len(trunk.hidden) for trunk, _ in episode.parallel)
        passes["alignment"] = adapted.passes["query"] * sentences
    return passes
