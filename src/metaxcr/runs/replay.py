"""The episodes of a run of meta-training, drawn again without data, to count their token-passes.

The learners give the passes of an episode for each token (:attr:`metaxcr.meta.learners.base.Learner.passes`),
the rules of CTML's and CLML's episodes its number of questions, and
:class:`metaxcr.sampling.rewards.RewardSchedule` the steps with a reward. Draws depend on seed, purpose and
step alone, so they are made again; for a sampler that learns, its first probabilities are used throughout.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from metaxcr.config.schema import Config, Ctml, Meta
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.meta.learners import make_learner
from metaxcr.runs.clml import is_cross_task, samples_languages
from metaxcr.runs.data_amounts import Amounts, Pool
from metaxcr.sampling import make_reward_schedule, make_sampler
from metaxcr.sampling.rewards import REWARDS, RewardSchedule
from metaxcr.sampling.sampler import Probabilities
from metaxcr.training.batch_sampler import BatchSampler, aligned_language, cut
from metaxcr.training.health import health_passes

Parts = dict[str, float]  # token-passes by the name of a part, as in events.jsonl and costs.json
PAIRS = ("pairs en", "pairs")  # parts of an episode with parallel sentences


@dataclass(frozen=True)
class Draws:
    """``times`` draws of ``questions`` questions of a pool, without repetition within a draw."""

    pool: Pool
    questions: float
    times: float


Work = tuple[int, Parts, list[Draws]]  # steps, token-passes, and the texts that they need


@dataclass(frozen=True)
class EpisodeSizes:
    """The sizes of an episode."""

    # part -> the pool that its batch comes from, and the number of questions
    batches: dict[str, tuple[Pool, int]]
    arms: int  # sources (or support languages) that a sampler chose among; 0: it did not choose

    def tokens(self, *parts: str) -> float:
        """Tokens of some parts, if it has them."""
        there = (self.batches[part] for part in parts if part in self.batches)
        return sum(questions * pool.tokens for pool, questions in there)


def meta_passes(
    settings: Meta, episodes: Iterable[EpisodeSizes], schedule: RewardSchedule | None, scored: float
) -> Parts:
    """Token-passes of a run of meta-training (:class:`metaxcr.training.loop.MetaTrainer`).

    Args:
        settings: Of the stage.
        episodes: One a step.
        schedule: Of the sampler's rewards; None: the sampler does not learn.
        scored: Tokens of the reward batch B_T.
    """
    learner = make_learner(settings)
    cost, parts, last = learner.passes, Counter[str](), None
    reward = REWARDS[schedule.kind] if schedule else None
    for t, episode in enumerate(episodes):
        own = {part: n * episode.tokens(part) for part, n in cost.items()}
        found = own | {"alignment": cost["query"] * episode.tokens(*PAIRS)}
        if t % settings.health_every == 0:
            aligned = episode.tokens(*PAIRS)
            passes = health_passes(learner, aligned=aligned > 0)
            found["health"] = passes.pop("alignment", 0) * aligned
            found["health"] += sum(n * episode.tokens(part) for part, n in passes.items())
        if schedule and reward and episode.arms and schedule.due(t):
            rewarded = episode.arms if t < schedule.of_all else 1
            found["reward_support"] = (rewarded - 1) * sum(own.values())
            if schedule.needs_reference(t, last, settings.steps / 2):
                found["reward"] = (reward.reference_passes + reward.compare_passes * rewarded) * scored
                last = None if reward.compare_passes else t
        parts.update(found)
    return dict(parts)


def two_batches(pool: Pool, first: int, second: int) -> tuple[tuple[Pool, int], tuple[Pool, int]]:
    """The sizes of :meth:`metaxcr.training.batch_sampler.BatchSampler.two_batches`."""
    size = min(pool.items, first + second)
    at = cut(size, first, second) if size > 1 else size
    return (pool, at), (pool, size - at)


def across(support: Pool, query: Pool, first: int, second: int) -> dict[str, tuple[Pool, int]]:
    """The sizes of :meth:`metaxcr.training.batch_sampler.BatchSampler.across`."""
    shared, second = support.task == query.task, min(second, query.items)
    if shared and support.items - second < first and query.items > 1:
        second = query.items - cut(query.items, first, second)
    free = support.items - second if shared else support.items
    return {"support": (support, max(0, min(first, free))), "query": (query, second)}


def _extras(data: Pool, sentences: Mapping[str, Pool], settings: Meta, t: int) -> dict[str, tuple[Pool, int]]:
    """The batches of target-task data for learners that want them, and the parallel sentences of a step."""
    batches = {}
    if make_learner(settings).wants_target:
        one, other = two_batches(data, settings.support, settings.query)
        batches = {"target_support": one, "target_query": other}
    language = aligned_language(sentences, settings, t)
    if language is not None:
        pairs = min(settings.pairs, sentences["en"].items)
        texts = sentences["en"], sentences[language]
        batches |= {part: (pool, pairs) for part, pool in zip(PAIRS, texts, strict=True)}
    return batches


class Replay:
    """The first ``most`` draws of a run of meta-training, made again without data."""

    def __init__(
        self, config: Config, settings: Meta, amounts: Amounts, seed: int, purpose: str, most: int
    ) -> None:
        self.settings, self.amounts, self.config = settings, amounts, config
        self.draw = BatchSampler(cast(ActivationCache, None), seed, purpose)
        self.steps = min(settings.steps, most)
        self.pools = list(amounts.sources.values())
        sampler = make_sampler(config.sampler, [pool.items for pool in self.pools])
        self.weights = sampler.probabilities(sampler.init(0))
        schedule = make_reward_schedule(config.sampler.reward, fresh=isinstance(settings, Ctml))
        self.schedule = schedule if sampler.wants_reward else None

    def source(self, t: int, weights: Probabilities) -> tuple[int, int]:
        """The arm that is drawn at a step, and the number of arms that a sampler chose among."""
        own = make_learner(self.settings).source(t, self.settings.steps, len(weights))
        if own is not None:
            return own, 0
        drawn = self.draw.rng("source", t).choice(len(weights), p=weights)
        return int(drawn), int((weights > 0).sum())

    def cross_task(self) -> list[EpisodeSizes]:
        """CTML's episodes (:class:`metaxcr.runs.ctml.CrossTaskEpisodes`)."""
        settings, amounts, found = self.config.ctml, self.amounts, []
        for t in range(self.steps):
            i, arms = self.source(t, self.weights)
            support, query = two_batches(self.pools[i], settings.support, settings.query)
            if settings.query_from == "target" and amounts.query is not None:
                support = self.pools[i], min(settings.support, self.pools[i].items)
                query = amounts.query, min(settings.query, amounts.query.items)
            more = _extras(amounts.query or amounts.target, amounts.sentences, settings, t)
            found.append(EpisodeSizes({"support": support, "query": query} | more, arms))
        return found

    def cross_lingual(
        self,
        target: Mapping[str, Pool],
        others: Mapping[str, Pool],
        sentences: Mapping[str, Pool],
        halved: bool,
    ) -> list[EpisodeSizes]:
        """CLML's episodes (:class:`metaxcr.runs.clml.CrossLingualEpisodes`).

        Args:
            target: Query language -> labelled data in it.
            others: Support language -> the same.
            sentences: Parallel ones; empty: none are aligned.
            halved: Whether one half of ``target`` gives queries while the other half gives rewards.
        """
        settings, draw, found = self.config.clml, self.draw, []
        half = {x: replace(pool, items=pool.items // 2) if halved else pool for x, pool in target.items()}
        arms = [name for name in others if set(target) - {name}]
        sampled = samples_languages(settings, arms)
        for t in range(self.steps):
            uniform, tasks = np.full(len(arms), 1 / max(1, len(arms))), is_cross_task(settings, draw, t)
            weights = self.weights
            if sampled:
                weights = np.concatenate([weights * tasks, uniform * (not tasks)])
            i, chosen = self.source(t, weights) if tasks or sampled else (-1, 0)
            if 0 <= i < len(self.pools):
                language, support = draw.one_of(list(half), "language", t), self.pools[i]
            else:
                if i < 0:
                    language = draw.one_of(list(half), "language", t)
                    other = draw.one_of([name for name in others if name != language], "other", t)
                else:
                    other = arms[i - len(self.pools)]
                    language = draw.one_of([name for name in half if name != other], "language", t)
                support = half[other] if other in half else others[other]
            query = half[language]
            batches = across(support, query, self.settings.support, self.settings.query)
            found.append(EpisodeSizes(batches | _extras(query, sentences, self.settings, t), chosen))
        return found

    def work(self, episodes: Sequence[EpisodeSizes], reward: tuple[int, float]) -> Work:
        """All steps; ``reward`` has the number of questions that give rewards, and the tokens of each."""
        steps, scored = self.settings.steps, min(self.settings.reward, reward[0]) * reward[1]
        scale = steps / max(1, len(episodes))
        parts = meta_passes(self.settings, episodes, self.schedule, scored)
        counts = Counter(batch for episode in episodes for batch in episode.batches.values())
        draws = [Draws(pool, questions, n * scale) for (pool, questions), n in counts.items()]
        return steps, {part: n * scale for part, n in parts.items()}, draws
