"""Seconds and memory of every stage, measured by a few real steps of each on this machine.

The steps are those of the configuration's model on made-up data of the right sizes: the activations of the
trunk have no influence on the time, so neither weights nor a filled trunk are needed.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from metaxcr.config.regimes import WITH_SHOTS
from metaxcr.config.schema import Config, Meta
from metaxcr.encoders.activation_cache import ActivationCache, CacheStats
from metaxcr.encoders.encoder import FrozenEncoder, Ragged, Text
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import predict
from metaxcr.hardware import CPU
from metaxcr.model.batch import Questions, TaskData
from metaxcr.model.build import build_model, memory_store
from metaxcr.runs.clml import CrossLingualEpisodes, shots_reward, with_language_policy
from metaxcr.runs.cost_model import Parts, StageWork, clml_runs
from metaxcr.runs.ctml import CrossTaskEpisodes
from metaxcr.runs.data_amounts import Amounts, Pool
from metaxcr.runs.environment import Costs, forget_peak, peak_rss_mb
from metaxcr.sampling import make_reward_schedule, make_sampler
from metaxcr.sampling.sampler import Sampler
from metaxcr.training.batch_sampler import BatchSampler, English
from metaxcr.training.finetune import finetune
from metaxcr.training.loop import Diverged, MetaTrainer

QUESTIONS = 200  # that are made up of a pool
PLACES = 499  # different starts of a text's activations, so that few texts have the same
MOST_STEPS = 40
TOGETHER = 240  # texts that are computed together, as a small set is
WARM_TEXTS = 8  # that warm the trunk up
TRUNK_SHARE, CTML_SHARE = 0.15, 0.35  # of the time
TIMED_PARTS = {  # part of a step as a run times it -> its parts of the token-passes
    "support": ("support",),
    "query": ("query", "alignment"),
    "target": ("target_support", "target_query"),
    "health": ("health",),
    "reward": ("reward", "reward_support"),
}

MetaEpisodes = CrossTaskEpisodes | CrossLingualEpisodes
Key = tuple[str, str]  # stage, regime


class MadeUpStore(ActivationCache):
    """A trunk store of random activations: every text has them at once."""

    def __init__(self, encoder: FrozenEncoder, layer: int, dtype: torch.dtype, max_tokens: int) -> None:
        self.encoder, self.layer, self.dtype, self.stats = encoder, layer, dtype, CacheStats()
        self._lengths: list[int] = []
        rows, generator = PLACES + max_tokens, torch.Generator().manual_seed(0)
        self._noise = torch.randn(rows, encoder.width, generator=generator).to(dtype)

    def add(self, tokens: Sequence[int]) -> list[int]:
        """Add texts of these lengths and return their numbers."""
        first = len(self._lengths)
        self._lengths += tokens
        return list(range(first, len(self._lengths)))

    def gather(self, numbers: Sequence[int]) -> Ragged:
        """See :meth:`metaxcr.encoders.activation_cache.ActivationCache.gather`."""
        lengths, places = [self._lengths[n] for n in numbers], [n % PLACES for n in numbers]
        rows = [self._noise[at : at + n] for at, n in zip(places, lengths, strict=True)]
        return Ragged(torch.cat(rows).to(self.encoder.device), torch.tensor(lengths, device=CPU))

    def lengths(self, numbers: Tensor) -> list[int]:
        """See :meth:`metaxcr.encoders.activation_cache.ActivationCache.lengths`."""
        return [self._lengths[n] for n in numbers.tolist()]


def _lengths(pool: Pool, usual: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Lengths of the texts of each made-up item; ``usual`` if none of the pool is known."""
    sample = pool.lengths or (usual,)
    return [sample[n % len(sample)] for n in range(max(1, min(pool.items, QUESTIONS)))]


class Bench:
    """The model of a configuration, with made-up data; ``encoder`` is its own, or one of the same shape."""

    def __init__(self, config: Config, amounts: Amounts, encoder: FrozenEncoder, dtype: torch.dtype) -> None:
        self.config, self.amounts, data = config, amounts, self._questions
        self.model = build_model(config, encoder, config.run.seeds[0])
        self.store = MadeUpStore(encoder, self.model.adapted.start, dtype, config.encoder.max_tokens)
        sources = {name: data(pool) for name, pool in amounts.sources.items()}
        if config.adapters.mixture:
            sources = {name: replace(made, source=n) for n, (name, made) in enumerate(sources.items())}
        query = data(amounts.query) if amounts.query else None
        self.english = English(sources, query, data(amounts.reward), list(sources)[-1])
        self.auxiliary = {name: data(pool, name) for name, pool in amounts.auxiliary.items()}
        self.shots = {name: data(pool, name) for name, pool in amounts.shots.items()}
        self.sentences = {
            name: self.store.add([row[0] for row in _lengths(pool, (round(pool.tokens),))])
            for name, pool in amounts.sentences.items()
        }
        evaluated = amounts.evaluation if config.run.regimes else amounts.baseline
        language, pool = next(iter(evaluated.items()))
        self.evaluated = data(pool, language)

    def _questions(self, pool: Pool, language: str = "en") -> TaskData:
        """Questions as long as those of a pool, with made-up labels."""
        share = max(2, round(pool.tokens / 3))
        usual = (0, share, 2 * share) if self.config.scoring.kind == "cross" else (share, share, share)
        rows = _lengths(pool, usual)
        most = max(len(row) for row in rows) - 1
        context, choices = [], []
        for row in rows:
            context.append(self.store.add([row[0]])[0] if row[0] else -1)
            choices.append([*self.store.add(row[1:]), *[-1] * (most - len(row) + 1)])
        questions = Questions(
            torch.tensor(context, device=CPU),
            torch.tensor(choices, device=CPU),
            torch.tensor([(1.0, 0.0)] * len(rows), device=CPU),
            torch.tensor([n % (len(row) - 1) for n, row in enumerate(rows)], device=CPU),
            1.0,
        )
        return TaskData(pool.task, language, [f"{pool.task}-{n}" for n in range(len(rows))], questions)

    def stages(self) -> Iterator[tuple[Key, Meta, Callable[[BatchSampler], MetaEpisodes]]]:
        """The runs of meta-training: (stage, regime), settings, and what makes their episodes."""
        english, ctml = self.english, self.config.ctml
        yield ("ctml", ""), ctml, partial(CrossTaskEpisodes, english, self.sentences, ctml)
        runs = clml_runs(self.config, self.amounts)
        for run in {run.regime: run for run in reversed(runs)}.values():  # the first one of each regime
            data = self.auxiliary
            reward: TaskData | None = english.reward
            if run.regime in WITH_SHOTS:
                data = {"en": english.sources[english.target], **self.shots}
                reward = None if shots_reward(run.settings, len(data[run.target[0]])) else reward
            target, others = ({name: data[name] for name in names} for names in (run.target, run.others))
            texts = {name: numbers for name, numbers in self.sentences.items() if name in run.aligned}
            episodes = partial(CrossLingualEpisodes, english, target, others, reward, texts, run.settings)
            yield ("clml", run.regime), run.settings, episodes

    def sampler(self, episodes: MetaEpisodes) -> Sampler:
        """The sampler of a run of meta-training, with a second one if languages are chosen."""
        sampler = make_sampler(self.config.sampler, [len(data) for data in self.english.sources.values()])
        if isinstance(episodes, CrossTaskEpisodes):
            return sampler
        return with_language_policy(sampler, self.config.sampler, episodes)


@dataclass(frozen=True)
class Timing:
    """What a stage takes."""

    rates: dict[str, float]  # part of the token-passes -> seconds for each of them
    mean: float  # seconds a token-pass, for parts that did not occur
    step: float  # seconds a step besides
    steps: int  # steps that were timed
    memory_mb: float  # largest resident memory meanwhile; on CUDA largest allocated memory of the device

    def seconds(self, steps: float, parts: Parts) -> float:
        """Seconds of steps with these token-passes."""
        return steps * self.step + sum(n * self.rates.get(part, self.mean) for part, n in parts.items())


def timing_key(work: StageWork) -> Key:
    """The key of a piece of work among the timings; evaluations are all alike."""
    return work.stage, "" if work.stage == "evaluate" else work.regime


def calibrate(
    config: Config,
    amounts: Amounts,
    encoder: FrozenEncoder,
    dtype: torch.dtype,
    done: Sequence[StageWork],
    seconds: float,
) -> dict[Key, Timing]:
    """Time the trunk and a few steps of every stage in ``done``, for about ``seconds`` seconds in all.

    At least one step of every stage is done, however long it takes.
    """
    bench = Bench(config, amounts, encoder, dtype)
    needed = {timing_key(work) for work in done if work.steps}
    limit = (1 - TRUNK_SHARE - CTML_SHARE) * seconds / max(1, len(needed) - 1)
    measures: dict[Key, Callable[[], Timing]] = {}
    for key, settings, build in bench.stages():
        share = CTML_SHARE * seconds if key[0] == "ctml" else limit
        measures[key] = partial(_time_meta, bench, settings, build, key[0], share)
    for regime in ("few-shot", "pooled-shots"):
        measures["finetune", regime] = lambda: _pace(_tune(bench), limit)
    measures["evaluate", ""] = lambda: _pace(_evaluate(bench), limit)
    forget_peak()
    found = {("trunk", ""): _time_trunk(bench, TRUNK_SHARE * seconds)}
    for key, measure in measures.items():
        if key in needed:
            forget_peak()
            found[key] = measure()
    return found


def _time_meta(
    bench: Bench, settings: Meta, build: Callable[[BatchSampler], MetaEpisodes], purpose: str, limit: float
) -> Timing:
    """Time steps of meta-training for about ``limit`` seconds."""
    seed = bench.config.run.seeds[0]
    episodes = build(BatchSampler(bench.store, seed, purpose))
    sampler = bench.sampler(episodes)
    rewards = make_reward_schedule(bench.config.sampler.reward, fresh=False)
    trainer = MetaTrainer(bench.model, episodes, sampler, settings, seed, purpose, rewards)
    first = trainer.start(bench.model.params(), sampler.init(seed))

    def timed_steps(seconds: float) -> Timing:
        costs, state, done, until = Costs({}), first, 0, time.perf_counter() + seconds
        timer = costs.timer("stage")
        timed = replace(trainer, timer=timer)
        while done < min(settings.steps, MOST_STEPS) and (not done or time.perf_counter() < until):
            try:
                state, event = timed.step(state)
            except Diverged as error:
                fix = "lower its rates, or skip the timing (--no-time)"
                raise UserError(f"timing {purpose}: {error}", None, fix) from error
            timer("files")
            costs.add_passes("stage", event["token_passes"], event["passes"])
            done += 1
        return _by_part(costs, done)

    before = time.perf_counter()
    warm_up = timed_steps(0.0)  # one step, which counts if there is no time for another
    left = limit - (time.perf_counter() - before)
    return timed_steps(left) if left > 0 else warm_up


def _by_part(costs: Costs, steps: int) -> Timing:
    """Rates of the parts of a step, from the costs of a run."""
    stage = costs.summary()["stages"][0]
    rates: dict[str, float] = {}
    parts, worked = stage["parts"], 0.0
    for timed, members in TIMED_PARTS.items():
        passes = sum(parts[part]["token_passes"] for part in members if part in parts)
        seconds = parts[timed]["seconds"] if timed in parts else 0.0
        worked += seconds
        if passes:
            rates |= dict.fromkeys(members, seconds / passes)
    rest = sum(part["seconds"] for part in parts.values()) - worked
    return Timing(rates, worked / max(1, stage["token_passes"]), rest / max(1, steps), steps, _memory_mb())


def _pace(work: Iterable[int], limit: float, *, warm_up: bool = True) -> Timing:
    """Time pieces of work, of which each gives its token-passes, for about ``limit`` seconds.

    The first piece is done in any case; as a warm-up it does not count if there are others.
    """
    found: list[tuple[float, int]] = []
    last = time.perf_counter()
    until = last + limit
    for passes in work:
        now = time.perf_counter()
        found.append((now - last, passes))
        if now + (now - last) > until:  # another piece would take as long
            break
        last = now
    counted = found[1:] if warm_up and len(found) > 1 else found
    mean = sum(seconds for seconds, _ in counted) / max(1, sum(passes for _, passes in counted))
    return Timing({}, mean, 0.0, len(counted), _memory_mb())


def _tune(bench: Bench) -> Iterator[int]:
    language, shots = next(iter(bench.shots.items()))
    batches = BatchSampler(bench.store, bench.config.run.seeds[0], f"finetune/{language}")
    for _, _, passes in finetune(bench.model, bench.model.params(), [shots], bench.config.finetune, batches):
        yield passes


def _evaluate(bench: Bench) -> Iterator[int]:
    for doubled in range(13):
        data = bench.evaluated.subset(bench.evaluated.ids[: 8 * 2**doubled])
        yield predict(bench.model, bench.model.params(), [data], bench.store)[1]


def _encode(groups: Iterable[Sequence[Text]], store: ActivationCache) -> Iterator[int]:
    for group in groups:
        before = store.stats.computed_tokens
        store.ensure(group)
        yield store.stats.computed_tokens - before


def _time_trunk(bench: Bench, limit: float) -> Timing:
    """Time the trunk on the texts of an episode, and on many together, which fill its tiles better."""
    store, ctml = memory_store(bench.model, bench.config), bench.config.ctml
    words, begun = max(1, round(bench.amounts.reward.tokens / 6)), time.perf_counter()
    texts = list(bench.amounts.texts) or [
        Text(" ".join(f"word{n}" for n in range(at, at + words))) for at in range(QUESTIONS)
    ]
    store.ensure(texts[-WARM_TEXTS:])
    few = min(len(texts) // 4, 3 * (ctml.support + ctml.query))
    texts = texts[:-WARM_TEXTS] or texts
    drawn = _pace(_encode([texts[:few], texts[few : 2 * few]], store), limit / 3, warm_up=False)
    groups = [texts[at : at + TOGETHER] for at in range(2 * few, len(texts), TOGETHER)]
    left = limit - (time.perf_counter() - begun)
    return replace(_pace(_encode(groups, store), left, warm_up=False), rates={"drawn": drawn.mean})


def _memory_mb() -> float:
    """Largest memory since the last :func:`forget_peak`: of the process, or allocated on a CUDA device."""
    if torch.cuda.is_available() and torch.cuda.memory_allocated():
        return torch.cuda.max_memory_allocated() / 1e6
    return float(peak_rss_mb())


@contextlib.contextmanager
def as_in_a_run(threads: int) -> Iterator[None]:
    """Set threads and deterministic algorithms as a run does, and restore them afterwards."""
    before, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic)
