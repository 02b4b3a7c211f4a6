"""Seconds and memory of every stage, by doing a little of each on the machine at hand.

The real model takes real meta steps, on batches as long as those of the run, over activations that are made
up: what the trunk would give has no influence on the time. So neither weights nor a filled trunk are needed.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from metaxcr.training.finetune import finetune
from metaxcr.training.batch_sampler import BatchSampler, English
from metaxcr.sampling.composite_sampler import SourcesAndLanguages
from metaxcr.config.schema import Config, Meta
from metaxcr.encoders.encoder import FrozenEncoder, Ragged, Text
from metaxcr.encoders.activation_cache import TrunkStats, TrunkStore
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import predict
from metaxcr.runs.cost_model import Amounts, Parts, Pool, StageWork
from metaxcr.runs.environment import Costs, forget_peak, peak_rss_mb
from metaxcr.runs.clml import CrossLingualEpisodes, shots_reward, with_language_policy, with_shots
from metaxcr.runs.ctml import CrossTaskEpisodes
from metaxcr.training.loop import Diverged, MetaTrainer
from metaxcr.hardware import CPU
from metaxcr.sampling.sampler import Sampler
from metaxcr.sampling import make_sampler
from metaxcr.sampling import make_reward_schedule
from metaxcr.model.batch import Questions, TaskData
from metaxcr.model.build import build_model, memory_store

QUESTIONS = 200  # of a pool that batches are drawn from here
MOST_STEPS = 40
PLACES = 499  # where the activations of texts begin, so that few of them are the same
TOGETHER = 240  # texts that are computed together, as a small set is
WARM_TEXTS = 8  # with which the trunk is warmed up
TRUNK_SHARE, CTML_SHARE = 0.15, 0.35  # of the time
CLOCKED = {  # part by the clock of a run -> parts of its token-passes
    "support": ("support",),
    "query": ("query", "alignment"),
    "target": ("target_support", "target_query"),
    "health": ("health",),
    "reward": ("reward", "reward_support"),
}


@dataclass(frozen=True)
class Timing:
    """What a stage takes.

    Attributes:
        rates: Part of the token-passes -> seconds for each of them.
        mean: Seconds a token-pass, for parts that did not come up.
        step: Seconds a step besides.
        steps: Steps that were timed.
        memory_mb: Largest resident memory meanwhile; on CUDA largest allocated memory of the device.
    """

    rates: dict[str, float]
    mean: float
    step: float
    steps: int
    memory_mb: float

    def seconds(self, steps: float, parts: Parts) -> float:
        """Of so many steps with so many token-passes."""
        return steps * self.step + sum(n * self.rates.get(part, self.mean) for part, n in parts.items())


@dataclass
class StageTimings:
    """What was measured.

    Attributes:
        stages: (stage, regime) -> its timing, the trunk's among them.
        seconds: What measuring took.
    """

    stages: dict[tuple[str, str], Timing] = field(default_factory=dict)
    seconds: float = 0.0

    def timing(self, work: StageWork) -> Timing:
        """That of a piece of work; every evaluation is like the other."""
        return self.stages[_key(work)]


def _key(work: StageWork) -> tuple[str, str]:
    return (work.stage, "" if work.stage == "evaluate" else work.regime)


class StandIn(TrunkStore):
    """A trunk store of made-up activations: any text has them at once."""

    def __init__(self, encoder: FrozenEncoder, layer: int, dtype: torch.dtype, max_tokens: int) -> None:
        self.encoder, self.layer, self.dtype, self.stats = encoder, layer, dtype, TrunkStats()
        self._lengths: list[int] = []
        rows, generator = PLACES + max_tokens, torch.Generator().manual_seed(0)
        self._noise = torch.randn(rows, encoder.width, generator=generator).to(dtype)

    def add(self, tokens: Sequence[int]) -> list[int]:
        """Take in texts of so many tokens and return their numbers."""
        first = len(self._lengths)
        self._lengths += tokens
        return list(range(first, len(self._lengths)))

    def gather(self, numbers: Sequence[int]) -> Ragged:
        """See :meth:`metaxcr.encoders.activation_cache.TrunkStore.gather`."""
        lengths, places = [self._lengths[n] for n in numbers], [n % PLACES for n in numbers]
        rows = [self._noise[at : at + n] for at, n in zip(places, lengths, strict=True)]
        return Ragged(torch.cat(rows).to(self.encoder.device), torch.tensor(lengths, device=CPU))

    def lengths(self, numbers: Tensor) -> list[int]:
        """See :meth:`metaxcr.encoders.activation_cache.TrunkStore.lengths`."""
        return [self._lengths[n] for n in numbers.tolist()]


def stand_in(pool: Pool, store: StandIn, language: str, kind: str) -> TaskData:
    """Questions as long as those of a pool, with made-up labels.

    Args:
        pool: Whose.
        store: Takes the texts in.
        language: Of the texts.
        kind: Of scoring.
    """
    share = max(2, round(pool.tokens / 3))
    rows = _rows(pool, (0, share, 2 * share) if kind == "cross" else (share, share, share))
    size = len(rows)
    most = max(len(row) for row in rows) - 1
    context, choices = [], []
    for row in rows:
        context.append(store.add([row[0]])[0] if row[0] else -1)
        choices.append([*store.add(row[1:]), *[-1] * (most - len(row) + 1)])
    labels = torch.tensor([n % (len(row) - 1) for n, row in enumerate(rows)], device=CPU)
    questions = Questions(
        torch.tensor(context, device=CPU),
        torch.tensor(choices, device=CPU),
        torch.tensor([(1.0, 0.0)] * size, device=CPU),
        labels,
        1.0,
    )
    return TaskData(pool.task, language, [f"{pool.task}-{n}" for n in range(size)], questions)


def _rows(pool: Pool, usual: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Lengths of the texts of as many items as are made up; ``usual`` where nothing was looked at."""
    sample = pool.lengths or (usual,)
    return [sample[n % len(sample)] for n in range(max(1, min(pool.items, QUESTIONS)))]


class Bench:
    """The model of a configuration, with made-up data of the right sizes.

    Args:
        config: The settings.
        amounts: Of the data.
        encoder: Its encoder, or one of the same shape.
        dtype: Of the layers' arithmetic and the trunk.
    """

    def __init__(self, config: Config, amounts: Amounts, encoder: FrozenEncoder, dtype: torch.dtype) -> None:
        self.config, self.amounts = config, amounts
        self.model = build_model(config, encoder, config.run.seeds[0])
        self.store = StandIn(encoder, self.model.adapted.start, dtype, config.encoder.max_tokens)
        self.dtype, kind = dtype, config.scoring.kind

        def data(pool: Pool, language: str = "en", source: int | None = None) -> TaskData:
            made = stand_in(pool, self.store, language, kind)
            return made if source is None else TaskData(
                made.task, made.language, made.ids, made.questions, source
            )  # fmt: skip

        mixed = config.adapters.mixture
        sources = {
            name: data(pool, source=n if mixed else None)
            for n, (name, pool) in enumerate(amounts.sources.items())
        }
        query = data(amounts.query) if amounts.query else None
        self.english = English(sources, query, data(amounts.reward), list(sources)[-1])
        self.auxiliary = {name: data(pool, name) for name, pool in amounts.auxiliary.items()}
        self.shots = {name: data(pool, name) for name, pool in amounts.shots.items()}
        self.sentences = {
            name: self.store.add([row[0] for row in _rows(pool, (round(pool.tokens),))])
            for name, pool in amounts.sentences.items()
        }
        language, pool = next(
            iter(amounts.baseline.items() if not config.run.regimes else amounts.evaluation.items())
        )
        self.evaluated = data(pool, language)

    def stages(self) -> Iterator[tuple[tuple[str, str], Meta, Callable[[BatchSampler], CrossTaskEpisodes | CrossLingualEpisodes]]]:
        """The runs of meta-training: (stage, regime), settings, and where the episodes come from."""
        config, english = self.config, self.english
        yield (
            ("ctml", ""), config.ctml, lambda draw: CrossTaskEpisodes(english, self.sentences, config.ctml, draw)
        )  # fmt: skip
        if self.amounts.adaptations:
            one = self.amounts.adaptations[0]
            data = {name: self.auxiliary[name] for name in one.auxiliary}
            wanted = ("en", *one.tested) if one.alone else tuple(self.sentences)
            text = {name: numbers for name, numbers in self.sentences.items() if name in wanted}
            yield (
                ("clml", "zero-shot-aux"), config.clml,
                lambda draw: CrossLingualEpisodes(english, data, data, english.reward, text, config.clml, draw),
            )  # fmt: skip
        if not self.shots:
            return
        k, alone = len(next(iter(self.shots.values()))), dict(list(self.shots.items())[:1])
        reward = None if shots_reward(config.clml, k) else english.reward
        own = {"en": english.sources[english.target]}
        pooled = alone if config.clml.per_language else self.shots
        for regime, target, others in (
            ("few-shot", alone, own), ("pooled-shots", pooled, {**own, **self.shots})
        ):  # fmt: skip
            if regime in config.run.regimes:
                settings = with_shots(config.clml, len(target))
                yield (
                    ("clml", regime), settings,
                    lambda draw, t=target, o=others, s=settings: CrossLingualEpisodes(  # type: ignore[misc]
                        english, t, o, reward, {}, s, draw
                    ),
                )  # fmt: skip

    def sampler(self, episodes: CrossTaskEpisodes | CrossLingualEpisodes) -> Sampler:
        """The sampler of a run of meta-training, with a second one where languages are chosen."""
        sizes = [len(data) for data in self.english.sources.values()]
        sampler = make_sampler(self.config.sampler, sizes)
        if isinstance(episodes, CrossTaskEpisodes):
            return sampler
        return with_language_policy(sampler, self.config.sampler, episodes)

    def time_meta(
        self, settings: Meta, build: Callable[[BatchSampler], CrossTaskEpisodes | CrossLingualEpisodes], purpose: str, limit: float
    ) -> Timing:
        """Time steps of meta-training for about so many seconds."""
        seed = self.config.run.seeds[0]
        draw = BatchSampler(self.store, seed, purpose)
        episodes, rewards = build(draw), make_reward_schedule(self.config.sampler.reward)
        sampler = self.sampler(episodes)
        trainer = MetaTrainer(self.model, episodes, sampler, settings, seed, purpose, rewards)
        state = begin = trainer.start(self.model.params(), sampler.init(seed))

        def steps(costs: Costs, seconds: float) -> int:
            nonlocal state
            state, clock, done, until = begin, costs.clock("stage"), 0, time.perf_counter() + seconds
            timed = replace(trainer, timer=clock)
            while done < min(settings.steps, MOST_STEPS) and (not done or time.perf_counter() < until):
                try:
                    state, event = timed.step(state)
                except Diverged as error:
                    raise UserError(
                        f"trying {purpose} out: {error}",
                        None,
                        "lower its rates, or leave the time out (--no-time)",
                    ) from error
                clock("files")
                costs.add_passes("stage", event["token_passes"], event["passes"])
                done += 1
            return done

        before = time.perf_counter()
        costs = Costs({})
        done = steps(costs, 0.0)  # the first step warms up, and counts where there is no time for another
        if time.perf_counter() - before < limit:
            costs = Costs({})
            done = steps(costs, limit - (time.perf_counter() - before))
        return _timing(costs, done)

    def time_finetuning(self, limit: float) -> Timing:
        """Time steps of fine-tuning."""
        language, shots = next(iter(self.shots.items()))
        draw = BatchSampler(self.store, self.config.run.seeds[0], f"finetune/{language}")
        found, begun, last = [], time.perf_counter(), time.perf_counter()
        for _, _, passes in finetune(self.model, self.model.params(), [shots], self.config.finetune, draw):
            now = time.perf_counter()
            found.append((now - last, passes))
            last = now
            if now - begun > limit:
                break
        return _plain(found)

    def time_evaluation(self, limit: float) -> Timing:
        """Time predictions."""
        phi, found, begun, size = self.model.params(), [], time.perf_counter(), 8
        while True:
            data = self.evaluated.subset(self.evaluated.ids[:size])
            last = time.perf_counter()
            _, tokens = predict(self.model, phi, [data], self.store)
            now = time.perf_counter()
            found.append((now - last, tokens))
            if now - begun + 2 * (now - last) > limit or len(found) > 12:
                return _plain(found)
            size = min(len(self.evaluated), 2 * size)

    def time_trunk(self, limit: float) -> Timing:
        """Time the trunk on the texts of an episode, and on many together, which fill its tiles better.

        It is warmed up by a few of them.
        """
        store = memory_store(self.model, self.config)
        texts = list(self.amounts.texts) or [
            Text(" ".join(f"word{n}" for n in range(at, at + max(1, round(pool.tokens / 6)))))
            for at, pool in enumerate([self.amounts.reward] * QUESTIONS)
        ]
        store.ensure(texts[-WARM_TEXTS:])
        few = min(len(texts) // 4, 3 * (self.config.ctml.support + self.config.ctml.query))
        texts, begun = texts[:-WARM_TEXTS] or texts, time.perf_counter()
        drawn = _spend([texts[:few], texts[few : 2 * few]], store, begun + limit / 3)
        together = texts[2 * few :]
        groups = [together[at : at + TOGETHER] for at in range(0, len(together), TOGETHER)]
        together_timing = _plain(_spend(groups, store, begun + limit), warm=False)
        return replace(together_timing, rates={"drawn": _plain(drawn, warm=False).mean})


def calibrate(
    config: Config,
    amounts: Amounts,
    encoder: FrozenEncoder,
    dtype: torch.dtype,
    done: Sequence[StageWork],
    seconds: float,
) -> StageTimings:
    """Do a little of every stage.

    Args:
        config: The settings.
        amounts: Of the data.
        encoder: The configuration's, or one of the same shape.
        dtype: Of the layers' arithmetic.
        done: What the run does: only that is timed.
        seconds: For all of it; at least one step of every stage is done, however long it takes.
    """
    begun = time.perf_counter()
    bench = Bench(config, amounts, encoder, dtype)
    wanted = {_key(work) for work in done if work.steps}
    others = max(1, len(wanted) - 1)
    forget_peak()
    found = StageTimings({("trunk", ""): bench.time_trunk(TRUNK_SHARE * seconds)})
    limit = (1 - TRUNK_SHARE - CTML_SHARE) * seconds / others

    def timed(key: tuple[str, str], what: Callable[[], Timing]) -> None:
        if key in wanted:
            forget_peak()
            found.stages[key] = what()

    for key, settings, build in bench.stages():
        share = CTML_SHARE * seconds if key[0] == "ctml" else limit
        timed(key, lambda s=settings, b=build, k=key, t=share: bench.time_meta(s, b, k[0], t))  # type: ignore[misc]
    for regime in ("few-shot", "pooled-shots"):
        timed(("finetune", regime), lambda: bench.time_finetuning(limit))
    timed(("evaluate", ""), lambda: bench.time_evaluation(limit))
    found.seconds = time.perf_counter() - begun
    return found


def _timing(costs: Costs, steps: int) -> Timing:
    """Rates from what the clock of a run has booked."""
    stage = costs.summary()["stages"][0]
    parts: Mapping[str, Mapping[str, Any]] = stage["parts"]
    rates: dict[str, float] = {}
    worked = 0.0
    for clocked, members in CLOCKED.items():
        passes = sum(parts.get(part, {}).get("token_passes", 0) for part in members)
        seconds = parts.get(clocked, {}).get("seconds", 0.0)
        worked += seconds
        if passes:
            rates |= dict.fromkeys(members, seconds / passes)
    everything = sum(part["seconds"] for part in parts.values())
    return Timing(
        rates,
        worked / max(1, stage["token_passes"]),
        (everything - worked) / max(1, steps),
        steps,
        memory_mb(),
    )


def _spend(groups: Sequence[Sequence[Text]], store: TrunkStore, until: float) -> list[tuple[float, int]]:
    """Seconds and tokens of each group of texts that the trunk computes; the first one in any case."""
    found: list[tuple[float, int]] = []
    for group in groups:
        before, last = store.stats.computed_tokens, time.perf_counter()
        store.ensure(group)
        now = time.perf_counter()
        found.append((now - last, store.stats.computed_tokens - before))
        if now + (now - last) > until:
            break
    return found


def _plain(found: Sequence[tuple[float, int]], warm: bool = True) -> Timing:
    """Rates from seconds and token-passes of steps; the first one warms up where there are others."""
    timed = found[1:] or found if warm else found
    mean = sum(seconds for seconds, _ in timed) / max(1, sum(passes for _, passes in timed))
    return Timing({}, mean, 0.0, len(timed), memory_mb())


def memory_mb() -> float:
    """Largest memory since the last :func:`forget_peak`: of the process, or allocated on a CUDA device."""
    if torch.cuda.is_available() and torch.cuda.memory_allocated():
        return torch.cuda.max_memory_allocated() / 1e6
    return float(peak_rss_mb())


@contextlib.contextmanager
def as_in_a_run(threads: int) -> Iterator[None]:
    """Threads and deterministic algorithms as a run has them, and afterwards as they were."""
    before, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic)
