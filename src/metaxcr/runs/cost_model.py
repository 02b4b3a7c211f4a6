"""What a configuration costs in token-passes, part by part, and which texts it draws: pure functions.

The learners say what an episode takes for each token (:attr:`metaxcr.meta.learners.base.Learner.passes`), the
curricula's rules how many questions it holds, and :class:`metaxcr.sampling.rewards.RewardSchedule` when a reward looks
at target data. Sizes of the data come from :mod:`metaxcr.runs.data_amounts`. Draws depend on seed, purpose
and step alone, so they are made again; only where a sampler that learns chooses, its first probabilities have
to do throughout.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import cast

import numpy as np

from metaxcr.training.episodes import is_cross_task, samples_languages
from metaxcr.training.batch_sampler import BatchSampler, cut
from metaxcr.training.auxiliary_languages import Adaptation
from metaxcr.config.schema import WITH_SHOTS, Config, Meta
from metaxcr.encoders.encoder import Text
from metaxcr.encoders.activation_cache import TrunkStore
from metaxcr.runs.run_data import WHOLE, draws_a_source
from metaxcr.config.regimes import REGIMES
from metaxcr.runs.stages import shots_pay, with_shots

from metaxcr.meta.learners import make_learner
from metaxcr.meta.learners.base import GRADIENT
from metaxcr.sampling import make_sampler
from metaxcr.sampling.sampler import Probabilities
from metaxcr.sampling import make_reward_schedule
from metaxcr.sampling.rewards import REWARDS, RewardSchedule

Parts = dict[str, float]  # token-passes by the name of a part, as in events.jsonl and costs.json
BATCH = 16  # questions among which Pool.tokens counts a text once
PAIRS = ("pairs en", "pairs")  # parts of an episode with parallel sentences


@dataclass(frozen=True)
class Pool:
    """A set of questions, or of sentences.

    Attributes:
        name: Of no other pool.
        task: Pools of one task hold the same items in several languages.
        items: Questions that one run of a stage chooses from.
        tokens: Of a question as a batch carries it: a text that occurs twice counts once.
        held: Questions that all seeds together choose from; None: as many.
        lengths: Tokens of the texts of some of its questions, the context's first (0 where there is none).
        growth: Exponent with which tokens of distinct texts grow with the questions; 1: no text is shared.
    """

    name: str
    task: str
    items: int
    tokens: float
    held: int | None = None
    lengths: tuple[tuple[int, ...], ...] = ()
    growth: float = 1.0

    @property
    def all_tokens(self) -> float:
        """Of the distinct texts of all its questions."""
        return self.distinct(self.items if self.held is None else self.held)

    def distinct(self, questions: float) -> float:
        """Tokens of the distinct texts of so many questions.

        Source:
            Heaps 1978 (Information Retrieval), section 7.5, there for the words of a text.
        """
        more: float = max(1.0, questions / BATCH) ** self.growth
        return self.tokens * min(questions, BATCH) * more


@dataclass(frozen=True)
class Amounts:
    """How much data a run has.

    Attributes:
        sources: Source task -> its questions; the English target data's own part comes last.
        query: Query part of the English target data, if there is one.
        reward: Reward part of them.
        auxiliary: Language -> labelled data in it.
        adaptations: The runs of CLML on them.
        shots: Language -> the shots of a seed.
        evaluation: Language -> the evaluated questions, raw and repaired ones together.
        baseline: The same for the untrained similarity.
        sentences: Language -> parallel sentences.
        texts: Some of the sources' texts.
        near: Sentences a language that tell which auxiliary languages are near; 0: none are chosen.
        origin: Where the sizes come from, in words.
    """

    sources: dict[str, Pool]
    query: Pool | None
    reward: Pool
    auxiliary: dict[str, Pool] = field(default_factory=dict)
    adaptations: tuple[Adaptation, ...] = ()
    shots: dict[str, Pool] = field(default_factory=dict)
    evaluation: dict[str, Pool] = field(default_factory=dict)
    baseline: dict[str, Pool] = field(default_factory=dict)
    sentences: dict[str, Pool] = field(default_factory=dict)
    texts: tuple[Text, ...] = ()
    near: int = 0
    origin: str = ""

    @property
    def target(self) -> Pool:
        """The English target data's own part among the sources."""
        return list(self.sources.values())[-1]


@dataclass(frozen=True)
class Draws:
    """So many times so many questions of a pool, without repetition within a time."""

    pool: Pool
    questions: float
    times: float


@dataclass
class StageWork:
    """What is done in a stage under a regime, for all seeds and languages.

    Attributes:
        stage: As costs.json names it.
        regime: Empty for what serves all of them.
        steps: Episodes, fine-tuning steps, or passes over an evaluated language.
        parts: Token-passes.
        draws: The texts that it needs.
    """

    stage: str
    regime: str
    steps: int = 0
    parts: Parts = field(default_factory=dict)
    draws: list[Draws] = field(default_factory=list)

    @property
    def passes(self) -> float:
        """All token-passes."""
        return sum(self.parts.values())

    def add(self, steps: int, parts: Mapping[str, float], draws: Iterable[Draws]) -> None:
        """Take in what one unit of work does."""
        self.steps += steps
        self.parts = dict(Counter(self.parts) + Counter(parts))
        self.draws += draws


@dataclass(frozen=True)
class EpisodeSizes:
    """The sizes of an episode.

    Attributes:
        batches: Part -> the pool that its batch comes from, and the number of questions.
        arms: Sources (or support languages) that a sampler chose among; 0: it was not asked.
    """

    batches: dict[str, tuple[Pool, int]]
    arms: int

    def tokens(self, *parts: str) -> float:
        """Of some parts, where it has them."""
        there = (self.batches[part] for part in parts if part in self.batches)
        return sum(questions * pool.tokens for pool, questions in there)


def meta_passes(settings: Meta, episodes: Iterable[EpisodeSizes], pay: RewardSchedule | None, scored: float) -> Parts:
    """Token-passes of a run of meta-training (:func:`metaxcr.training.loop.meta_train`).

    Args:
        settings: Of the stage.
        episodes: One a step.
        pay: What the sampler is paid for; None: it wants no reward.
        scored: Tokens of B_T.
    """
    cost, parts, last = make_learner(settings).passes, Counter[str](), None
    reward = REWARDS[pay.kind] if pay else None
    for t, episode in enumerate(episodes):
        own = {part: n * episode.tokens(part) for part, n in cost.items()}
        found = own | {"alignment": cost["query"] * episode.tokens(*PAIRS)}
        if t % settings.health_every == 0:
            found["health"] = episode.tokens("support")
        if pay and reward and episode.arms and pay.due(t):
            paid = episode.arms if pay.of_all else 1
            found["reward_support"] = (paid - 1) * sum(own.values())
            if pay.looks(t, last, settings.steps / 2):
                found["reward"] = (reward.look_passes + reward.compare_passes * paid) * scored
                last = None if reward.compare_passes else t
        parts.update(found)
    return dict(parts)


def two_batches(pool: Pool, first: int, second: int) -> tuple[tuple[Pool, int], tuple[Pool, int]]:
    """Sizes of two batches of one pool, by the rule of :meth:`metaxcr.training.batch_sampler.BatchSampler.two_batches`."""
    size = min(pool.items, first + second)
    at = cut(size, first, second) if size > 1 else size
    return (pool, at), (pool, size - at)


def across(support: Pool, query: Pool, first: int, second: int) -> dict[str, tuple[Pool, int]]:
    """Sizes of support and query, by the rule of :meth:`metaxcr.training.batch_sampler.BatchSampler.across`."""
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
    languages = [language for language in sentences if language != "en"]
    if settings.alignment and languages:
        pairs = min(settings.pairs, sentences["en"].items)
        texts = sentences["en"], sentences[languages[t % len(languages)]]
        batches |= {part: (pool, pairs) for part, pool in zip(PAIRS, texts, strict=True)}
    return batches


class Replay:
    """The draws of a run of meta-training, which depend on seed, purpose and step, made again without data.

    Args:
        config: The settings of the run.
        settings: Of the stage.
        amounts: Of the data.
        seed: Of the run.
        purpose: Of the stage.
        most: Steps that are looked at; more are taken to be like them.
    """

    def __init__(
        self, config: Config, settings: Meta, amounts: Amounts, seed: int, purpose: str, most: int
    ) -> None:
        self.settings, self.amounts, self.config = settings, amounts, config
        self.draw = BatchSampler(cast(TrunkStore, None), seed, purpose)
        self.steps = min(settings.steps, most)
        self.pools = list(amounts.sources.values())
        sampler = make_sampler(config.sampler, [pool.items for pool in self.pools])
        self.weights = sampler.probabilities(sampler.init(0))
        self.pay = make_reward_schedule(config.sampler.reward) if sampler.wants_reward else None

    def source(self, t: int, weights: Probabilities) -> tuple[int, int]:
        """Which arm is drawn at a step, and among how many a sampler chose it."""
        own = make_learner(self.settings).source(t, self.settings.steps, len(weights))
        if own is not None:
            return own, 0
        drawn = self.draw.rng("source", t).choice(len(weights), p=weights)
        return int(drawn), int((weights > 0).sum())

    def cross_task(self) -> list[EpisodeSizes]:
        """CTML's episodes (:func:`metaxcr.training.episodes.cross_task`)."""
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
        """CLML's episodes (:func:`metaxcr.training.episodes.cross_lingual`).

        Args:
            target: Query language -> labelled data in it.
            others: Support language -> the same.
            sentences: Parallel ones; empty: none are aligned.
            halved: Whether one half of ``target`` teaches while the other one pays.
        """
        settings, draw, found = self.config.clml, self.draw, []
        half = {x: replace(pool, items=pool.items // 2) if halved else pool for x, pool in target.items()}
        arms = [name for name in others if set(target) - {name}]
        sampled = samples_languages(settings, arms)
        for t in range(self.steps):
            one, tasks = np.full(len(arms), 1 / max(1, len(arms))), is_cross_task(settings, draw, t)
            weights = np.concatenate([self.weights * tasks, one * (not tasks)]) if sampled else self.weights
            i, chosen = self.source(t, weights) if tasks or sampled else (-1, 0)
            if 0 <= i < len(self.pools):
                support, languages = self.pools[i], list(half)
                language = draw.one_of(languages, "language", t)
            elif i < 0:
                language = draw.one_of(list(half), "language", t)
                other = draw.one_of([name for name in others if name != language], "other", t)
                support = half[other] if other in half else others[other]
            else:
                other = arms[i - len(self.pools)]
                language = draw.one_of([name for name in half if name != other], "language", t)
                support = half[other] if other in half else others[other]
            query = half[language]
            batches = across(support, query, self.settings.support, self.settings.query)
            found.append(EpisodeSizes(batches | _extras(query, sentences, self.settings, t), chosen))
        return found

    def outcome(
        self, episodes: Sequence[EpisodeSizes], paying: tuple[int, float]
    ) -> tuple[int, Parts, list[Draws]]:
        """Steps, token-passes and draws; ``paying`` has the questions that pay and the tokens of each."""
        steps, scored = self.settings.steps, min(self.settings.reward, paying[0]) * paying[1]
        scale = steps / max(1, len(episodes))
        parts = meta_passes(self.settings, episodes, self.pay, scored)
        counts = Counter(batch for episode in episodes for batch in episode.batches.values())
        draws = [Draws(pool, questions, n * scale) for (pool, questions), n in counts.items()]
        return steps, {part: n * scale for part, n in parts.items()}, draws


def works(config: Config, amounts: Amounts, most: int = 2000) -> list[StageWork]:
    """Everything that a run does after the trunk, in order.

    Args:
        config: The settings.
        amounts: Of the data.
        most: Steps of each run of meta-training that are looked at; more are taken to be like them.

    Returns:
        One entry for each stage and regime.
    """
    regimes, found = config.regimes, [StageWork("ctml", "")] if config.run.regimes else []
    for seed in config.run.seeds if config.run.regimes else ():
        found[0].add(*_ctml(config, amounts, seed, most))
    if "zero-shot-aux" in regimes:
        found.append(_auxiliary(config, amounts, most))
    for regime in WITH_SHOTS:
        if regime in regimes:
            found += _shots(config, amounts, regime, found[0], most)
    similarity = StageWork("evaluate", "none")
    similarity.add(*_evaluation(amounts.baseline.values()))
    found.append(similarity)
    for regime in regimes:
        work = StageWork("evaluate", regime)
        for _ in range(len(config.run.seeds) * len(REGIMES[regime].methods)):
            work.add(*_evaluation(_evaluated(amounts, regime)))
        found.append(work)
    return found


def _ctml(
    config: Config, amounts: Amounts, seed: int, most: int, language: str = "", paying: Pool | None = None
) -> tuple[int, Parts, list[Draws]]:
    purpose, paying = f"ctml/{language}" if language else "ctml", paying or amounts.reward
    replay = Replay(config, config.ctml, amounts, seed, purpose, most)
    return replay.outcome(replay.cross_task(), (paying.items, paying.tokens))


def _auxiliary(config: Config, amounts: Amounts, most: int) -> StageWork:
    """CLML on auxiliary languages, for zero-shot in the tested ones."""
    work, settings = StageWork("clml", "zero-shot-aux"), config.clml
    for one in amounts.adaptations:
        data = {language: amounts.auxiliary[language] for language in one.auxiliary}
        wanted = ("en", *one.tested) if one.alone else tuple(amounts.sentences)
        sentences = {name: pool for name, pool in amounts.sentences.items() if name in wanted}
        for seed in config.run.seeds:
            replay = Replay(config, settings, amounts, seed, one.name.replace(".", "/"), most)
            episodes = replay.cross_lingual(data, data, sentences, halved=False)
            work.add(*replay.outcome(episodes, (amounts.reward.items, amounts.reward.tokens)))
    return work


def _shots(config: Config, amounts: Amounts, regime: str, before: StageWork, most: int) -> list[StageWork]:
    """CLML towards languages with shots, and fine-tuning on them; CTML of their own goes into ``before``."""
    adapt, tune, shots = StageWork("clml", regime), StageWork("finetune", regime), amounts.shots
    own = config.ctml.reward_data == "shots"
    english = {"en": amounts.target}
    if regime == "few-shot":
        runs = [(f"few-shot/{name}", {name: pool}, english) for name, pool in shots.items()]
    elif config.clml.per_language:
        runs = [(f"pooled/{name}", {name: pool}, english | shots) for name, pool in shots.items()]
    else:
        runs = [("pooled", dict(shots), english | shots)]
    for purpose, target, others in runs:
        first = next(iter(shots.values()))
        halved = shots_pay(config.clml, first.items)
        settings = with_shots(config.clml, len(target))
        tokens = fmean(pool.tokens for pool in target.values())
        paying = (first.items // 2, tokens) if halved else (amounts.reward.items, amounts.reward.tokens)
        for seed in config.run.seeds:
            if own and regime == "few-shot":
                language, pool = next(iter(target.items()))
                before.add(*_ctml(config, amounts, seed, most, language, pool))
            replay = Replay(config, settings, amounts, seed, purpose, most)
            adapt.add(*replay.outcome(replay.cross_lingual(target, others, {}, halved), paying))
            tune.add(*_finetuning(config, target.values()))
    for _ in config.run.seeds if regime == "pooled-shots" else ():
        tune.add(*_finetuning(config, shots.values()))  # the baseline without CLML
    return [adapt, tune]


def _finetuning(config: Config, shots: Iterable[Pool]) -> tuple[int, Parts, list[Draws]]:
    steps, pools = config.finetune.steps, list(shots)
    draws = [Draws(pool, min(config.finetune.batch, pool.items), steps) for pool in pools]
    passes = sum(GRADIENT * d.questions * d.times * d.pool.tokens for d in draws)
    return steps * len(pools), {"shots": passes}, draws


def _evaluated(amounts: Amounts, regime: str) -> list[Pool]:
    """The languages that a regime answers in."""
    covered = set(amounts.evaluation)
    if regime in WITH_SHOTS:
        covered &= amounts.shots.keys()
    if regime == "zero-shot-aux":
        covered &= {language for one in amounts.adaptations for language in one.tested}
    return [pool for language, pool in amounts.evaluation.items() if language in covered]


def _evaluation(pools: Iterable[Pool]) -> tuple[int, Parts, list[Draws]]:
    draws = [Draws(pool, pool.items, 1) for pool in pools]
    return len(draws), {"items": sum(pool.all_tokens for pool in (d.pool for d in draws))}, draws


@dataclass(frozen=True)
class TrunkTokens:
    """What the trunk holds in the end.

    Attributes:
        tokens: Of the texts that a run draws: an expectation.
        whole: Of all texts of its data.
        drawn: Those among ``tokens`` that are computed an episode at a time.
        paired: Those among ``tokens`` that are computed as a stage begins: its parallel sentences.
    """

    tokens: float
    whole: float
    drawn: float = 0.0
    paired: float = 0.0

    @property
    def prepared(self) -> float:
        """Those among the tokens that are computed before any stage begins."""
        return self.tokens - self.drawn - self.paired

    @property
    def parts(self) -> Parts:
        """The tokens, by how many are computed together."""
        return {"texts": self.tokens - self.drawn, "drawn": self.drawn}


def trunk_tokens(config: Config, amounts: Amounts, done: Iterable[StageWork]) -> TrunkTokens:
    """Count the tokens that pass through the trunk, each text once.

    What is drawn at random counts as N (1 - prod (1 - m / N)) of a pool of N, m a draw; the evaluated items,
    the shots, and the query and reward parts of the English target data count whole.

    Args:
        config: The settings.
        amounts: Of the data.
        done: From :func:`works`.
    """
    missed: dict[str, float] = {}
    pools = {pool.name: pool for pool in [*amounts.sources.values(), *amounts.auxiliary.values()]}
    pools |= {pool.name: pool for pool in amounts.sentences.values()}
    for draws in (draws for work in done for draws in work.draws):
        pool = draws.pool
        if pool.name in pools and pool.items:
            left = max(0.0, 1 - draws.questions / pool.items)
            missed[pool.name] = missed.get(pool.name, 1.0) * left**draws.times
    if amounts.near:
        for pool in amounts.sentences.values():
            share = max(0.0, 1 - amounts.near / pool.items)
            missed[pool.name] = missed.get(pool.name, 1.0) * share
    always = [amounts.reward, *([amounts.query] if amounts.query else []), *amounts.shots.values()]
    always += amounts.evaluation.values()
    if amounts.baseline is not amounts.evaluation:
        always += amounts.baseline.values()
    whole = sum(pool.all_tokens for pool in always) if config.run.regimes else sum(
        pool.all_tokens for pool in amounts.baseline.values()
    )  # fmt: skip
    some = {name: pool.distinct(pool.items * (1 - missed.get(name, 1.0))) for name, pool in pools.items()}
    expected = draws_a_source(config)
    drawn = [pool.name for pool in amounts.sources.values() if expected < WHOLE * pool.items]
    drawn += [pool.name for pool in amounts.auxiliary.values()]
    everything = whole + sum(pool.all_tokens for pool in pools.values())
    paired = sum(some[pool.name] for pool in amounts.sentences.values())
    return TrunkTokens(whole + sum(some.values()), everything, sum(some[name] for name in set(drawn)), paired)
