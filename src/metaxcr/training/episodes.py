"""Episodes: where they come from, their losses, and what learning from them costs.

Episodes of the two meta-learning stages.

CTML: support from a sampled English source, query from the same source or from the English target data.
CLML: *cross-task* episodes (support: English source; query: target language) and *cross-lingual* episodes
(support: the target task in another language; query: target language).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from metaxcr.autodiff import Objective, Params
from metaxcr.config.schema import Clml, Ctml, Meta
from metaxcr.errors import UserError
from metaxcr.meta.learners import make_learner
from metaxcr.meta.learners.base import EpisodeResult, Losses
from metaxcr.model.batch import Batch, Parallel, TaskData
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.training.batch_sampler import BatchSampler, English, halves

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
        clock: As for :func:`metaxcr.training.loop.meta_train`.
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


def token_passes(episode: Episode, adapted: EpisodeResult) -> dict[str, int]:
    """Cost of what a learner did, part by part: a token's forward pass counts 1, its backward pass 2."""
    tokens = {"support": episode.support.tokens, "query": episode.query.tokens}
    if episode.target is not None:
        tokens |= {"target_support": episode.target[0].tokens, "target_query": episode.target[1].tokens}
    passes = {part: n * tokens[part] for part, n in adapted.passes.items()}
    if episode.parallel is not None:
        sentences = sum(len(trunk.hidden) for trunk, _ in episode.parallel)
        passes["alignment"] = adapted.passes["query"] * sentences
    return passes


Texts = Mapping[str, Sequence[int]]  # language -> numbers of its sentences in the trunk store, aligned
LANGUAGE = "language "  # begins the name of an arm that is a support language


def cross_task(
    english: English, parallel: Texts, settings: Ctml, draw: BatchSampler, shots: TaskData | None = None
) -> Curriculum:
    """CTML's episodes.

    Args:
        english: Sources and parts of the English target data.
        parallel: Unlabelled sentences for the alignment term; empty without parallel text.
        settings: Of the stage.
        draw: Draws batches.
        shots: Pay the sampler by the loss on these (``ctml.reward_data: shots``), all of them: no episode of
            CTML learns from them. None: by the English reward part.

    Raises:
        UserError: Queries are to come from the English target data, but there is no such part.
    """
    names, paying = list(english.sources), english.reward if shots is None else shots
    at_target = english.query or english.sources[english.target]
    if settings.query_from == "target" and english.query is None:
        raise UserError(
            "no English target data for queries", "target.english.query", "give it a share above 0"
        )

    def episode(step: int, i: int) -> Episode:
        source = english.sources[names[i]]
        if settings.query_from == "target" and english.query is not None:
            support = draw.batch(source, settings.support, "rows", step)
            query = draw.batch(english.query, settings.query, "query", step)
        else:
            support, query = draw.two_batches(source, settings.support, settings.query, step)
        about, pairs = {"source": names[i]}, _pairs(parallel, settings, draw, step)
        return Episode(support, query, pairs, about, _target(at_target, settings, draw, step))

    def reward_batch(step: int) -> Batch:
        return draw.batch(paying, settings.reward, "reward", step)

    return Curriculum(names, lambda step: True, episode, reward_batch)


def cross_lingual(
    english: English,
    target: Mapping[str, TaskData],
    others: Mapping[str, TaskData],
    reward: TaskData | None,
    parallel: Texts,
    settings: Clml,
    draw: BatchSampler,
) -> Curriculum:
    """CLML's episodes, of both types.

    Query languages are drawn uniformly. The support language of a cross-lingual episode is drawn uniformly
    from the other languages, or (``clml.languages``) by a sampler of its own, whose arms follow the sources
    in ``Curriculum.sources``; the query language is then drawn from those other than the support's.

    Args:
        english: Sources.
        target: Query language -> labelled target-task data in it.
        others: Support language -> target-task data for cross-lingual episodes.
        reward: B_T's data; None: the target data are shots and serve as both, half A as queries and half B
            as rewards, swapped half-way.
        parallel: As in :func:`cross_task`.
        settings: Of the stage.
        draw: Draws batches.

    Raises:
        UserError: Cross-lingual episodes are wanted, but a language has no other one to take support from.

    Source:
        MetaXCR (arXiv 2503.06531), "two types of cross-lingual meta-adaptation"; how they mix is ours.
    """
    names, languages = list(english.sources), list(target)
    if settings.cross_task < 1:
        _need_others(languages, others)
    arms = [name for name in others if set(languages) - {name}]
    sampled = samples_languages(settings, arms)

    def half(data: TaskData, step: int, which: int) -> TaskData:
        """Half A (0) or B (1) of shots, swapped half-way; the whole of other data."""
        return halves(data)[(which + int(step >= settings.steps / 2)) % 2] if reward is None else data

    def episode(step: int, i: int) -> Episode:
        if 0 <= i < len(names):
            kind, support_data = "cross-task", english.sources[names[i]]
            language = draw.one_of(languages, "language", step)
        else:
            kind = "cross-lingual"
            if i < 0:
                language = draw.one_of(languages, "language", step)
                other = draw.one_of([name for name in others if name != language], "other", step)
            else:
                other = arms[i - len(names)]
                language = draw.one_of([name for name in languages if name != other], "language", step)
            support_data = others[other]
            if support_data is target.get(other):
                support_data = half(support_data, step, 0)  # the rewards' items stay unseen in every language
        query_data = half(target[language], step, 0)
        support, query = draw.across(support_data, query_data, settings.support, settings.query, step)
        about = _about(kind, support_data.task, support, query)
        pairs = _pairs(parallel, settings, draw, step)
        return Episode(support, query, pairs, about, _target(query_data, settings, draw, step))

    def reward_batch(step: int) -> Batch:
        data = reward
        if data is None:
            data = half(target[draw.one_of(languages, "reward-language", step)], step, 1)
        return draw.batch(data, settings.reward, "reward", step)

    chosen = [*names, *(LANGUAGE + name for name in arms)] if sampled else names
    return Curriculum(
        chosen, lambda step: sampled or is_cross_task(settings, draw, step), episode, reward_batch
    )


def is_cross_task(settings: Clml, draw: BatchSampler, step: int) -> bool:
    """Whether the episode of a step is cross-task."""
    return bool(draw.rng("kind", step).random() < settings.cross_task)


def samples_languages(settings: Clml, arms: Sequence[str]) -> bool:
    """Whether a sampler chooses support languages: it is asked for, and there is a choice."""
    return settings.languages != "uniform" and len(arms) > 1


def _target(data: TaskData, settings: Meta, draw: BatchSampler, step: int) -> tuple[Batch, Batch] | None:
    """Two batches of target-task data for the learners that want them: those with a phase on the target."""
    if not make_learner(settings).wants_target:
        return None
    return draw.two_batches(data, settings.support, settings.query, step, "target")


def _about(kind: str, source: str, support: Batch, query: Batch) -> dict[str, str]:
    languages = {"support_language": support.language, "query_language": query.language}
    return {"kind": kind, "source": source, **languages}


def _need_others(languages: Sequence[str], others: Mapping[str, TaskData]) -> None:
    for language in languages:
        if not set(others) - {language}:
            raise UserError(
                f"no other language than {language!r} has labels for cross-lingual episodes",
                "target.auxiliary.languages",
                "name two languages or more, or set clml.cross_task to 1",
            )


def _pairs(parallel: Texts, settings: Meta, draw: BatchSampler, step: int) -> Parallel | None:
    return draw.parallel(parallel, settings.pairs, step) if settings.alignment else None
