"""What a configuration costs in token-passes, stage by stage, and which texts it needs: no data, no model.

The episodes of meta-training are drawn again. The learners give the passes of an episode for each token
(:attr:`metaxcr.meta.learners.base.Learner.passes`), the rules of CTML's and CLML's episodes its number of
questions, and :class:`metaxcr.sampling.rewards.RewardSchedule` the steps with a reward. Draws depend on seed,
purpose and step alone; for a sampler that learns, its first probabilities are used throughout.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import NamedTuple, cast

import numpy as np

from metaxcr.config.regimes import REGIMES, WITH_SHOTS
from metaxcr.config.schema import Clml, Config, Ctml, Finetune, Meta
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.meta.learners import make_learner
from metaxcr.meta.learners.base import GRADIENT
from metaxcr.runs.clml import is_cross_task, samples_languages, shots_reward, with_shots
from metaxcr.runs.data_amounts import Amounts, Pool
from metaxcr.runs.run_data import encoded_when_drawn
from metaxcr.sampling import make_reward_schedule, make_sampler
from metaxcr.sampling.rewards import REWARDS
from metaxcr.sampling.sampler import Probabilities
from metaxcr.training.auxiliary_languages import SENTENCES
from metaxcr.training.batch_sampler import BatchSampler, aligned_language, cut
from metaxcr.training.health import health_passes

Parts = dict[str, float]  # token-passes by the name of a part, as in events.jsonl and costs.json
Batches = dict[str, tuple[Pool, int]]  # part of an episode -> where its batch comes from, number of questions
PAIRS = ("pairs en", "pairs")  # parts of an episode with parallel sentences


class Draws(NamedTuple):
    """``times`` draws of ``questions`` questions of a pool, without repetition within a draw."""

    pool: Pool
    questions: float
    times: float


Work = tuple[int, Parts, list[Draws]]  # steps, token-passes, and the texts that they need


@dataclass
class StageWork:
    """What is done in a stage under a regime, for all seeds and languages."""

    stage: str  # as costs.json names it
    regime: str  # empty for what serves all of them
    steps: int = 0  # episodes, fine-tuning steps, or passes over an evaluated language
    parts: Parts = field(default_factory=dict)  # token-passes
    draws: list[Draws] = field(default_factory=list)  # the texts that it needs

    @property
    def passes(self) -> float:
        """All token-passes."""
        return sum(self.parts.values())

    def add(self, work: Work) -> None:
        """Add one unit of work."""
        steps, parts, draws = work
        self.steps += steps
        self.parts = dict(Counter(self.parts) + Counter(parts))
        self.draws += draws


class ClmlRun(NamedTuple):
    """A run of CLML, one for all seeds."""

    regime: str
    purpose: str  # of its random numbers
    settings: Clml
    target: tuple[str, ...]  # query languages
    others: tuple[str, ...]  # support languages of cross-lingual episodes
    aligned: tuple[str, ...] = ()  # languages whose sentences are aligned


def clml_runs(config: Config, amounts: Amounts) -> list[ClmlRun]:
    """The runs of CLML in order."""
    clml, regimes, shots, runs = config.clml, config.regimes, tuple(amounts.shots), []
    for one in amounts.adaptations if "zero-shot-aux" in regimes else ():
        names, purpose = tuple(one.auxiliary), one.name.replace(".", "/")
        aligned = ("en", *one.tested) if one.alone else tuple(amounts.sentences)
        runs.append(ClmlRun("zero-shot-aux", purpose, clml, names, names, aligned))
    for name in shots if "few-shot" in regimes else ():
        runs.append(ClmlRun("few-shot", f"few-shot/{name}", with_shots(clml, 1), (name,), ("en",)))
    if "pooled-shots" in regimes:
        groups = {f"pooled/{name}": (name,) for name in shots} if clml.per_language else {"pooled": shots}
        for purpose, names in groups.items():
            settings = with_shots(clml, len(names))
            runs.append(ClmlRun("pooled-shots", purpose, settings, names, ("en", *shots)))
    return runs


def works(config: Config, amounts: Amounts, most: int = 2000) -> list[StageWork]:
    """Everything that a run does after the trunk, in order: one entry for each stage and regime.

    At most ``most`` steps of each run of meta-training are drawn again; further ones are taken to be like
    them.
    """
    found: dict[tuple[str, str], StageWork] = {}
    seeds, shots = config.run.seeds, amounts.shots

    def at(stage: str, regime: str) -> StageWork:
        return found.setdefault((stage, regime), StageWork(stage, regime))

    def ctml(seed: int, purpose: str, reward: Pool) -> None:
        replay = _Replay(config, config.ctml, amounts, seed, purpose, most)
        at("ctml", "").add(replay.work(replay.cross_task(), reward.items, reward.tokens))

    for seed in seeds if config.run.regimes else ():
        ctml(seed, "ctml", amounts.reward)
    for run in clml_runs(config, amounts):
        learns_from_shots = run.regime in WITH_SHOTS
        data = {"en": amounts.target, **shots} if learns_from_shots else amounts.auxiliary
        target, others = ({name: data[name] for name in names} for names in (run.target, run.others))
        sentences = {name: pool for name, pool in amounts.sentences.items() if name in run.aligned}
        k = next(iter(target.values())).items
        halved = learns_from_shots and shots_reward(config.clml, k)
        items, tokens = amounts.reward.items, amounts.reward.tokens
        if halved:
            items, tokens = k // 2, fmean(pool.tokens for pool in target.values())
        for seed in seeds:
            if run.regime == "few-shot" and config.ctml.reward_data == "shots":
                ctml(seed, f"ctml/{run.target[0]}", target[run.target[0]])
            replay = _Replay(config, run.settings, amounts, seed, run.purpose, most)
            episodes = replay.cross_lingual(target, others, sentences, halved)
            at("clml", run.regime).add(replay.work(episodes, items, tokens))
            if learns_from_shots:
                at("finetune", run.regime).add(_finetuning(config, target.values()))
    for _ in seeds if "pooled-shots" in config.regimes else ():
        at("finetune", "pooled-shots").add(_finetuning(config, shots.values()))  # the baseline without CLML
    at("evaluate", "none").add(_evaluation(amounts.baseline.values()))
    for regime in config.regimes:
        for _ in range(len(seeds) * len(REGIMES[regime].methods)):
            at("evaluate", regime).add(_evaluation(_evaluated(amounts, regime)))
    return list(found.values())


def _finetuning(config: Config, shots: Iterable[Pool]) -> Work:
    pools = list(shots)
    settings = config.finetune.for_shots(pools[0].items)
    steps = max(c.steps for c in settings.choose.candidates) if settings.choose else settings.steps
    draws = [Draws(pool, min(settings.batch, pool.items), steps) for pool in pools]
    passes = sum(GRADIENT * d.questions * d.times * d.pool.tokens for d in draws)
    return steps * len(pools), {"shots": passes + _cross_validation(settings, pools)}, draws


def _cross_validation(settings: Finetune, pools: Iterable[Pool]) -> float:
    """Token-passes of ``finetune.choose``."""
    if settings.choose is None:
        return 0.0
    candidates, folds, passes = settings.choose.candidates, settings.choose.folds, 0.0
    for pool in pools:
        kept = pool.items - pool.items / folds
        steps = sum(candidate.steps for candidate in candidates)
        passes += folds * GRADIENT * steps * min(settings.batch, kept) * pool.tokens
        passes += len(candidates) * pool.items * pool.tokens
    return passes


def _evaluated(amounts: Amounts, regime: str) -> list[Pool]:
    """The evaluated questions of the languages that a regime covers."""
    covered = set(amounts.evaluation)
    if regime in WITH_SHOTS:
        covered &= amounts.shots.keys()
    if regime == "zero-shot-aux":
        covered &= {language for one in amounts.adaptations for language in one.tested}
    return [pool for language, pool in amounts.evaluation.items() if language in covered]


def _evaluation(pools: Iterable[Pool]) -> Work:
    draws = [Draws(pool, pool.items, 1) for pool in pools]
    return len(draws), {"items": sum(draw.pool.all_tokens for draw in draws)}, draws


def _two_batches(pool: Pool, first: int, second: int) -> list[tuple[Pool, int]]:
    """The sizes of :meth:`metaxcr.training.batch_sampler.BatchSampler.two_batches`."""
    size = min(pool.items, first + second)
    at = cut(size, first, second) if size > 1 else size
    return [(pool, at), (pool, size - at)]


def _across(support: Pool, query: Pool, first: int, second: int) -> Batches:
    """The sizes of :meth:`metaxcr.training.batch_sampler.BatchSampler.across`."""
    shared, second = support.task == query.task, min(second, query.items)
    if shared and support.items - second < first and query.items > 1:
        second = query.items - cut(query.items, first, second)
    free = support.items - second if shared else support.items
    return {"support": (support, max(0, min(first, free))), "query": (query, second)}


class _Replay:
    """The first ``most`` draws of a run of meta-training, made again without data.

    An episode is its batches, and the number of sources (or support languages) that a sampler chose among; 0
    if it did not choose.
    """

    def __init__(
        self, config: Config, settings: Meta, amounts: Amounts, seed: int, purpose: str, most: int
    ) -> None:
        self.settings, self.amounts, self.config = settings, amounts, config
        self.draw = BatchSampler(cast(ActivationCache, None), seed, purpose)
        self.steps = min(settings.steps, most)
        self.learner = make_learner(settings)
        self.pools = list(amounts.sources.values())
        sampler = make_sampler(config.sampler, [pool.items for pool in self.pools])
        self.weights = sampler.probabilities(sampler.init(0))
        schedule = make_reward_schedule(config.sampler.reward, fresh=isinstance(settings, Ctml))
        self.schedule = schedule if sampler.wants_reward else None

    def _source(self, t: int, weights: Probabilities) -> tuple[int, int]:
        """The arm that is drawn at a step, and the number of arms that a sampler chose among."""
        own = self.learner.source(t, self.settings.steps, len(weights))
        if own is not None:
            return own, 0
        return int(self.draw.rng("source", t).choice(len(weights), p=weights)), int((weights > 0).sum())

    def _extras(self, data: Pool, sentences: Mapping[str, Pool], t: int) -> Batches:
        """The batches of target-task data for learners that want them, and the parallel sentences."""
        settings, batches = self.settings, {}
        if self.learner.wants_target:
            two = _two_batches(data, settings.support, settings.query)
            batches = dict(zip(("target_support", "target_query"), two, strict=True))
        language = aligned_language(sentences, settings, t)
        if language is not None:
            pairs = min(settings.pairs, sentences["en"].items)
            texts = sentences["en"], sentences[language]
            batches |= {part: (pool, pairs) for part, pool in zip(PAIRS, texts, strict=True)}
        return batches

    def cross_task(self) -> list[tuple[Batches, int]]:
        """CTML's episodes (:class:`metaxcr.runs.ctml.CrossTaskEpisodes`)."""
        settings, amounts, found = self.config.ctml, self.amounts, []
        for t in range(self.steps):
            i, arms = self._source(t, self.weights)
            support, query = _two_batches(self.pools[i], settings.support, settings.query)
            if settings.query_from == "target" and amounts.query is not None:
                support = self.pools[i], min(settings.support, self.pools[i].items)
                query = amounts.query, min(settings.query, amounts.query.items)
            more = self._extras(amounts.query or amounts.target, amounts.sentences, t)
            found.append(({"support": support, "query": query} | more, arms))
        return found

    def cross_lingual(
        self,
        target: Mapping[str, Pool],
        others: Mapping[str, Pool],
        sentences: Mapping[str, Pool],
        halved: bool,
    ) -> list[tuple[Batches, int]]:
        """CLML's episodes (:class:`metaxcr.runs.clml.CrossLingualEpisodes`), whose arguments these are.

        With ``halved``, one half of ``target`` gives queries while the other half gives rewards.
        """
        settings, draw, found = self.config.clml, self.draw, []
        half = {x: replace(pool, items=pool.items // 2) if halved else pool for x, pool in target.items()}
        arms = [name for name in others if set(target) - {name}]
        sampled = samples_languages(settings, arms)
        for t in range(self.steps):
            weights, tasks = self.weights, is_cross_task(settings, draw, t)
            if sampled:
                uniform = np.full(len(arms), 1 / len(arms))
                weights = np.concatenate([weights * tasks, uniform * (not tasks)])
            i, chosen = self._source(t, weights) if tasks or sampled else (-1, 0)
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
            batches = _across(support, query, self.settings.support, self.settings.query)
            found.append((batches | self._extras(query, sentences, t), chosen))
        return found

    def work(self, episodes: Sequence[tuple[Batches, int]], reward_items: int, reward_tokens: float) -> Work:
        """All steps of :class:`metaxcr.training.loop.MetaTrainer`; rewards: questions, and tokens of each."""
        settings, schedule, cost, last = self.settings, self.schedule, self.learner.passes, None
        scored = min(settings.reward, reward_items) * reward_tokens
        reward = REWARDS[schedule.kind] if schedule else None
        parts, draws = Counter[str](), Counter[tuple[Pool, int]]()
        for t, (batches, arms) in enumerate(episodes):
            draws.update(batches.values())
            tokens = {part: questions * pool.tokens for part, (pool, questions) in batches.items()}
            own = {part: n * tokens.get(part, 0) for part, n in cost.items()}
            found = own | {"alignment": cost["query"] * sum(tokens.get(part, 0) for part in PAIRS)}
            if t % settings.health_every == 0:
                aligned = sum(tokens.get(part, 0) for part in PAIRS)
                passes = health_passes(self.learner, aligned=aligned > 0)
                found["health"] = passes.pop("alignment", 0) * aligned
                found["health"] += sum(n * tokens.get(part, 0) for part, n in passes.items())
            if schedule and reward and arms and schedule.due(t):
                rewarded = arms if t < schedule.of_all else 1
                found["reward_support"] = (rewarded - 1) * sum(own.values())
                if schedule.needs_reference(t, last, settings.steps / 2):
                    found["reward"] = (reward.reference_passes + reward.compare_passes * rewarded) * scored
                    last = None if reward.compare_passes else t
            parts.update(found)
        scale = settings.steps / max(1, len(episodes))
        texts = [Draws(pool, questions, n * scale) for (pool, questions), n in draws.items()]
        return settings.steps, {part: n * scale for part, n in parts.items()}, texts


@dataclass(frozen=True)
class TrunkTokens:
    """What the trunk holds in the end."""

    tokens: float  # of the texts that a run draws: an expectation
    whole: float  # of all texts of its data
    drawn: float = 0.0  # part of ``tokens`` that is computed an episode at a time
    paired: float = 0.0  # part of ``tokens`` that is computed as a stage begins: its parallel sentences


def trunk_tokens(config: Config, amounts: Amounts, done: Iterable[StageWork]) -> TrunkTokens:
    """Count the tokens that pass through the trunk, each text once.

    Of a pool of N that is drawn from at random, N (1 - prod (1 - m / N)) count, m for each draw; the
    evaluated items, the shots, and the query and reward parts of the English target data count whole.
    """
    target, sentences = config.target, list(amounts.sentences.values())
    pools = {p.name: p for p in [*amounts.sources.values(), *amounts.auxiliary.values(), *sentences]}
    missed = dict.fromkeys(pools, 1.0)  # share of a pool that no draw has
    draws = [draws for work in done for draws in work.draws]
    if amounts.adaptations and target.auxiliary and target.auxiliary.nearest:
        draws += [Draws(pool, SENTENCES, 1) for pool in sentences]  # by which the nearest are chosen
    for pool, questions, times in draws:
        if pool.name in pools and pool.items:
            missed[pool.name] *= max(0.0, 1 - questions / pool.items) ** times
    always = list(amounts.baseline.values())
    if config.run.regimes:
        always = [] if amounts.baseline == amounts.evaluation else always
        always += [amounts.reward, *([amounts.query] if amounts.query else [])]
        always += [*amounts.shots.values(), *amounts.evaluation.values()]
    whole = sum(pool.all_tokens for pool in always)
    some = {name: pool.distinct(pool.items * (1 - missed[name])) for name, pool in pools.items()}
    drawn = [pool for pool in amounts.sources.values() if encoded_when_drawn(config, pool.items)]
    return TrunkTokens(
        whole + sum(some.values()),
        whole + sum(pool.all_tokens for pool in pools.values()),
        sum(some[pool.name] for pool in [*drawn, *amounts.auxiliary.values()]),
        sum(some[pool.name] for pool in sentences),
    )
