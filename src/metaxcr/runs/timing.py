"""Seconds and memory of every stage, measured by a few real steps of each on this machine."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from metaxcr.config.schema import Config, Meta
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import FrozenEncoder, Text
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import predict
from metaxcr.model.build import memory_store
from metaxcr.runs.bench import QUESTIONS, Bench, MetaEpisodes
from metaxcr.runs.cost_model import StageWork
from metaxcr.runs.data_amounts import Amounts
from metaxcr.runs.environment import Costs, forget_peak, peak_rss_mb
from metaxcr.runs.replay import Parts
from metaxcr.sampling import make_reward_schedule
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.training.finetune import finetune
from metaxcr.training.loop import Diverged, MetaTrainer

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
Measured = Sequence[tuple[float, int]]  # seconds and token-passes


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


@dataclass
class StageTimings:
    """What was measured."""

    # (stage, regime) -> its timing, the trunk's among them
    stages: dict[tuple[str, str], Timing] = field(default_factory=dict)
    seconds: float = 0.0  # what measuring took

    def timing(self, work: StageWork) -> Timing:
        """The timing of a piece of work."""
        return self.stages[_key(work)]


def _key(work: StageWork) -> tuple[str, str]:
    return (work.stage, "" if work.stage == "evaluate" else work.regime)  # evaluations are all alike


def calibrate(
    config: Config,
    amounts: Amounts,
    encoder: FrozenEncoder,
    dtype: torch.dtype,
    done: Sequence[StageWork],
    seconds: float,
) -> StageTimings:
    """Time a few steps of every stage that occurs in ``done``, for about ``seconds`` seconds in all.

    At least one step of every stage is done, however long it takes.
    """
    begun = time.perf_counter()
    bench = Bench(config, amounts, encoder, dtype)
    wanted = {_key(work) for work in done if work.steps}
    limit = (1 - TRUNK_SHARE - CTML_SHARE) * seconds / max(1, len(wanted) - 1)
    forget_peak()
    found = StageTimings({("trunk", ""): _time_trunk(bench, TRUNK_SHARE * seconds)})

    def timed(key: tuple[str, str], measure: Callable[[], Timing]) -> None:
        if key in wanted:
            forget_peak()
            found.stages[key] = measure()

    for key, settings, build in bench.stages():
        share = CTML_SHARE * seconds if key[0] == "ctml" else limit
        timed(key, partial(_time_meta, bench, settings, build, key[0], share))
    for regime in ("few-shot", "pooled-shots"):
        timed(("finetune", regime), partial(_time_finetuning, bench, limit))
    timed(("evaluate", ""), partial(_time_evaluation, bench, limit))
    found.seconds = time.perf_counter() - begun
    return found


def _time_meta(
    bench: Bench, settings: Meta, build: Callable[[BatchSampler], MetaEpisodes], purpose: str, limit: float
) -> Timing:
    """Time steps of meta-training for about ``limit`` seconds."""
    seed = bench.config.run.seeds[0]
    episodes = build(BatchSampler(bench.store, seed, purpose))
    sampler, rewards = bench.sampler(episodes), make_reward_schedule(bench.config.sampler.reward, fresh=False)
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
                raise UserError(
                    f"timing {purpose}: {error}", None, "lower its rates, or skip the timing (--no-time)"
                ) from error
            timer("files")
            costs.add_passes("stage", event["token_passes"], event["passes"])
            done += 1
        return _by_part(costs, done)

    before = time.perf_counter()
    warm_up = timed_steps(0.0)  # one step, which counts if there is no time for another
    left = limit - (time.perf_counter() - before)
    return timed_steps(left) if left > 0 else warm_up


def _time_finetuning(bench: Bench, limit: float) -> Timing:
    language, shots = next(iter(bench.shots.items()))
    draw = BatchSampler(bench.store, bench.config.run.seeds[0], f"finetune/{language}")
    found, begun, last = [], time.perf_counter(), time.perf_counter()
    for _, _, passes in finetune(bench.model, bench.model.params(), [shots], bench.config.finetune, draw):
        now = time.perf_counter()
        found.append((now - last, passes))
        last = now
        if now - begun > limit:
            break
    return _overall(_warm(found))


def _time_evaluation(bench: Bench, limit: float) -> Timing:
    params, found, begun, size = bench.model.params(), [], time.perf_counter(), 8
    while True:
        data = bench.evaluated.subset(bench.evaluated.ids[:size])
        last = time.perf_counter()
        _, tokens = predict(bench.model, params, [data], bench.store)
        now = time.perf_counter()
        found.append((now - last, tokens))
        if now - begun + 2 * (now - last) > limit or len(found) > 12:
            return _overall(_warm(found))
        size = min(len(bench.evaluated), 2 * size)


def _time_trunk(bench: Bench, limit: float) -> Timing:
    """Time the trunk on the texts of an episode, and on many together, which fill its tiles better."""
    store = memory_store(bench.model, bench.config)
    words = max(1, round(bench.amounts.reward.tokens / 6))
    texts = list(bench.amounts.texts) or [
        Text(" ".join(f"word{n}" for n in range(at, at + words))) for at in range(QUESTIONS)
    ]
    store.ensure(texts[-WARM_TEXTS:])
    few = min(len(texts) // 4, 3 * (bench.config.ctml.support + bench.config.ctml.query))
    texts, begun = texts[:-WARM_TEXTS] or texts, time.perf_counter()
    drawn = _overall(_time_texts([texts[:few], texts[few : 2 * few]], store, begun + limit / 3))
    together = texts[2 * few :]
    groups = [together[at : at + TOGETHER] for at in range(0, len(together), TOGETHER)]
    return replace(_overall(_time_texts(groups, store, begun + limit)), rates={"drawn": drawn.mean})


def _time_texts(groups: Sequence[Sequence[Text]], store: ActivationCache, until: float) -> Measured:
    """Time the trunk on each group of texts; the first one in any case."""
    found: list[tuple[float, int]] = []
    for group in groups:
        before, last = store.stats.computed_tokens, time.perf_counter()
        store.ensure(group)
        now = time.perf_counter()
        found.append((now - last, store.stats.computed_tokens - before))
        if now + (now - last) > until:
            break
    return found


def _by_part(costs: Costs, steps: int) -> Timing:
    """Rates of the parts of a step, from the costs of a run."""
    stage = costs.summary()["stages"][0]
    parts: Mapping[str, Mapping[str, Any]] = stage["parts"]
    rates: dict[str, float] = {}
    worked = 0.0
    for timed, members in TIMED_PARTS.items():
        passes = sum(parts.get(part, {}).get("token_passes", 0) for part in members)
        seconds = parts.get(timed, {}).get("seconds", 0.0)
        worked += seconds
        if passes:
            rates |= dict.fromkeys(members, seconds / passes)
    rest = sum(part["seconds"] for part in parts.values()) - worked
    mean = worked / max(1, stage["token_passes"])
    return Timing(rates, mean, rest / max(1, steps), steps, memory_mb())


def _warm(found: Measured) -> Measured:
    """Leave out the first measurement, which warms up, if there are others."""
    return found[1:] or found


def _overall(found: Measured) -> Timing:
    """One rate for all parts."""
    mean = sum(seconds for seconds, _ in found) / max(1, sum(passes for _, passes in found))
    return Timing({}, mean, 0.0, len(found), memory_mb())


def memory_mb() -> float:
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
