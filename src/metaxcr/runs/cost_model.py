"""What a configuration costs in token-passes, stage by stage, and which texts it needs: pure functions."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean

from metaxcr.config.regimes import REGIMES, WITH_SHOTS
from metaxcr.config.schema import Config, Finetune
from metaxcr.meta.learners.base import GRADIENT
from metaxcr.runs.clml import shots_reward, with_shots
from metaxcr.runs.data_amounts import Amounts, Pool
from metaxcr.runs.replay import Draws, Parts, Replay, Work
from metaxcr.runs.run_data import encoded_when_drawn


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


def works(config: Config, amounts: Amounts, most: int = 2000) -> list[StageWork]:
    """Everything that a run does after the trunk, in order: one entry for each stage and regime.

    At most ``most`` steps of each run of meta-training are replayed; further ones are taken to be like them.
    """
    found, seeds = [], config.run.seeds
    if config.run.regimes:
        ctml = StageWork("ctml", "")
        for seed in seeds:
            ctml.add(_ctml(config, amounts, seed, most))
        found.append(ctml)
    if "zero-shot-aux" in config.regimes:
        found.append(_auxiliary(config, amounts, most))
    for regime in WITH_SHOTS:
        if regime in config.regimes:
            found += _shots(config, amounts, regime, ctml, most)
    similarity = StageWork("evaluate", "none")
    similarity.add(_evaluation(amounts.baseline.values()))
    found.append(similarity)
    for regime in config.regimes:
        work = StageWork("evaluate", regime)
        for _ in range(len(seeds) * len(REGIMES[regime].methods)):
            work.add(_evaluation(_evaluated(amounts, regime)))
        found.append(work)
    return found


def _ctml(
    config: Config, amounts: Amounts, seed: int, most: int, language: str = "", reward: Pool | None = None
) -> Work:
    purpose, reward = f"ctml/{language}" if language else "ctml", reward or amounts.reward
    replay = Replay(config, config.ctml, amounts, seed, purpose, most)
    return replay.work(replay.cross_task(), (reward.items, reward.tokens))


def _auxiliary(config: Config, amounts: Amounts, most: int) -> StageWork:
    """CLML on auxiliary languages, for zero-shot in the tested ones."""
    work = StageWork("clml", "zero-shot-aux")
    for one in amounts.adaptations:
        data = {language: amounts.auxiliary[language] for language in one.auxiliary}
        wanted = ("en", *one.tested) if one.alone else tuple(amounts.sentences)
        sentences = {name: pool for name, pool in amounts.sentences.items() if name in wanted}
        for seed in config.run.seeds:
            replay = Replay(config, config.clml, amounts, seed, one.name.replace(".", "/"), most)
            episodes = replay.cross_lingual(data, data, sentences, halved=False)
            work.add(replay.work(episodes, (amounts.reward.items, amounts.reward.tokens)))
    return work


def _shots(config: Config, amounts: Amounts, regime: str, ctml: StageWork, most: int) -> list[StageWork]:
    """CLML towards languages with shots, and fine-tuning on them; their own runs of CTML go into ``ctml``."""
    adapt, tune, shots = StageWork("clml", regime), StageWork("finetune", regime), amounts.shots
    english = {"en": amounts.target}
    if regime == "few-shot":
        runs = [(f"few-shot/{name}", {name: pool}, english) for name, pool in shots.items()]
    elif config.clml.per_language:
        runs = [(f"pooled/{name}", {name: pool}, english | shots) for name, pool in shots.items()]
    else:
        runs = [("pooled", dict(shots), english | shots)]
    k = next(iter(shots.values())).items
    halved = shots_reward(config.clml, k)
    for purpose, target, others in runs:
        settings = with_shots(config.clml, len(target))
        reward = amounts.reward.items, amounts.reward.tokens
        if halved:
            reward = k // 2, fmean(pool.tokens for pool in target.values())
        for seed in config.run.seeds:
            if config.ctml.reward_data == "shots" and regime == "few-shot":
                ((language, pool),) = target.items()
                ctml.add(_ctml(config, amounts, seed, most, language, pool))
            replay = Replay(config, settings, amounts, seed, purpose, most)
            adapt.add(replay.work(replay.cross_lingual(target, others, {}, halved), reward))
            tune.add(_finetuning(config, target.values()))
    for _ in config.run.seeds if regime == "pooled-shots" else ():
        tune.add(_finetuning(config, shots.values()))  # the baseline without CLML
    return [adapt, tune]


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


@dataclass(frozen=True)
class TrunkTokens:
    """What the trunk holds in the end."""

    tokens: float  # of the texts that a run draws: an expectation
    whole: float  # of all texts of its data
    drawn: float = 0.0  # part of ``tokens`` that is computed an episode at a time
    paired: float = 0.0  # part of ``tokens`` that is computed as a stage begins: its parallel sentences

    @property
    def prepared(self) -> float:
        """Part of the tokens that is computed before any stage begins."""
        return self.tokens - self.drawn - self.paired

    @property
    def parts(self) -> Parts:
        """The tokens, by how many are computed together."""
        return {"texts": self.tokens - self.drawn, "drawn": self.drawn}


def trunk_tokens(config: Config, amounts: Amounts, done: Iterable[StageWork]) -> TrunkTokens:
    """Count the tokens that pass through the trunk, each text once.

    Of a pool of N that is drawn from at random, N (1 - prod (1 - m / N)) count, m for each draw; the
    evaluated items, the shots, and the query and reward parts of the English target data count whole.
    """
    pools = {pool.name: pool for pool in [*amounts.sources.values(), *amounts.auxiliary.values()]}
    pools |= {pool.name: pool for pool in amounts.sentences.values()}
    missed = dict.fromkeys(pools, 1.0)  # share of a pool that no draw has
    for draws in (draws for work in done for draws in work.draws):
        pool = draws.pool
        if pool.name in pools and pool.items:
            missed[pool.name] *= max(0.0, 1 - draws.questions / pool.items) ** draws.times
    for pool in amounts.sentences.values() if amounts.near else ():
        missed[pool.name] *= max(0.0, 1 - amounts.near / pool.items)
    always = list(amounts.baseline.values())
    if config.run.regimes:
        always = [amounts.reward, *([amounts.query] if amounts.query else []), *amounts.shots.values()]
        always += amounts.evaluation.values()
        always += amounts.baseline.values() if amounts.baseline is not amounts.evaluation else ()
    whole = sum(pool.all_tokens for pool in always)
    some = {name: pool.distinct(pool.items * (1 - missed[name])) for name, pool in pools.items()}
    drawn = [pool for pool in amounts.sources.values() if encoded_when_drawn(config, pool.items)]
    drawn += amounts.auxiliary.values()
    return TrunkTokens(
        whole + sum(some.values()),
        whole + sum(pool.all_tokens for pool in pools.values()),
        sum(some[pool.name] for pool in drawn),
        sum(some[pool.name] for pool in amounts.sentences.values()),
    )
