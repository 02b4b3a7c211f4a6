"""The jobs that train, each run in a process of its own by ``run.py``: ``contenders.py WORK OUT JOB ...``.

WORK is described in ``common.py``; OUT gets the job's figures.
"""

import shutil
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import measure
import plain_loop
from common import MAX_TOKENS, Setup, Uncached, prepare, read_bert, write_encoder
from measure import Result, count_operations, speeds, timed
from metaxcr.data.example import Example
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.evaluation.predictions import predict
from metaxcr.model.batch import encode_task
from metaxcr.model.choice_model import ChoiceModel, Params
from metaxcr.sampling import make_sampler
from metaxcr.sampling.rewards import RewardSchedule
from metaxcr.training.loop import MetaState, MetaTrainer

# -- training ------------------------------------------------------------------------------------------------


def plain(s: SimpleNamespace, work: Path, setting: str) -> Result:
    """(a) The plain loop."""
    setup = Setup(s, work, setting)
    model = plain_loop.PlainModel(read_bert(), s.settings[setting], s.bottleneck)
    model.load_start(setup.start())
    episodes = setup.plain_episodes(s.steps)
    losses: list[tuple[float, float]] = []
    setup.memory.loaded_now()
    rates = (s.episodes, s.inner_lr, s.outer_lr)
    seconds = timed(losses.append(pair) for pair in plain_loop.meta_train(model, episodes, *rates))
    result = _training(setup, seconds, losses)
    if s.evaluate:
        result["right"] = _string(plain_loop.answers(model, setup.questions["dev"]))
    operations = count_operations(lambda: list(plain_loop.meta_train(model, episodes[:1], *rates)))
    return result | {"dtype": "float32", "operations_a_token": operations / setup.sizes[1][0]}


def project(s: SimpleNamespace, work: Path, setting: str, cache: str) -> Result:
    """(c) and (d) This project; ``cache`` is ``none``, ``cold`` or ``warm``."""
    setup = Setup(s, work, setting)
    model = setup.model()
    folder = None if cache == "none" else work / f"cache-{setting}" / "trunk"
    if folder is not None and cache == "cold":
        shutil.rmtree(folder.parent, ignore_errors=True)
    store = setup.store(model, folder)
    examples, phrased = setup.split("train")
    setup.memory.loaded_now()
    begun = time.perf_counter()
    data = encode_task(examples, phrased, store, kind="dual")
    opened = time.perf_counter() - begun
    states = deque[MetaState](maxlen=1)  # a state is some megabytes
    seconds = timed(states.append(state) for state in setup.train(model, data, store, s.steps))
    losses = [(e["support_loss"], e["query_loss"]) for e in setup.events]
    result = _training(setup, seconds, losses) | {"dtype": s.dtype, "cache_seconds": round(opened, 4)}
    if s.evaluate:
        result["right"] = _string(_project_answers(setup, model, states[-1].phi, s))
    steps = setup.train(model, data, store, 2)
    next(steps)  # with a look at the support loss after the inner loop, as one episode in ten
    result["operations_a_token"] = count_operations(lambda: next(steps)) / setup.sizes[1][1]
    if cache == "cold":
        filled = store.stats.computed_tokens
        result |= {
            "filled_texts": store.stats.texts,
            "filled_tokens": filled,
            "filled_tokens_per_s": filled / opened,
            "filling_operations_a_token": _filling_operations(store, examples, phrased),
        }
    return result


def _filling_operations(
    store: ActivationCache, examples: list[Example], phrased: Callable[[Example], Any]
) -> float:
    """Operations a token of filling the cache, counted on some texts of all lengths."""
    some = Uncached(store.encoder, store.layer, store.dtype, Path(), max_tokens=MAX_TOKENS)
    data = encode_task(examples[:: max(1, len(examples) // 128)], phrased, some, kind="dual")
    numbers = some.by_length(data.questions.texts)
    return count_operations(lambda: some.gather(numbers.tolist())) / sum(some.lengths(numbers))


def _training(setup: Setup, seconds: list[float], losses: list[tuple[float, float]]) -> Result:
    return {
        **speeds(seconds, *setup.sizes),
        "memory": setup.memory.report(),
        "first_losses": losses[0],
        "last_losses": losses[-1],
    }


def _project_answers(setup: Setup, model: ChoiceModel, phi: Params, s: SimpleNamespace) -> list[int]:
    examples, phrased = setup.split("dev")
    store = setup.store(model, None)
    data = encode_task(examples, phrased, store, kind="dual")
    probabilities = predict(model, phi, [data], store)[0][0]
    return [int(p.index(max(p)) == e.label) for p, e in zip(probabilities, examples, strict=True)]


def _string(right: list[int]) -> str:
    return "".join(map(str, right))


def fill(s: SimpleNamespace, work: Path, setting: str) -> Result:
    """Fill the trunk cache for the whole pool, as a run does that encodes every source example first."""
    setup = Setup(s, work, setting)
    model = setup.model()
    examples, phrased = setup.split("pool")
    folder = work / f"fill-{setting}" / "trunk"
    shutil.rmtree(folder.parent, ignore_errors=True)
    store = setup.store(model, folder)
    setup.memory.loaded_now()
    begun = time.perf_counter()
    encode_task(examples, phrased, store, kind="dual")
    seconds = time.perf_counter() - begun
    memory = setup.memory.report()
    shutil.rmtree(folder.parent)
    return {
        "seconds": round(seconds, 3),
        "texts": store.stats.texts,
        "tokens": store.stats.computed_tokens,
        "tokens_per_s": store.stats.computed_tokens / seconds,
        "dtype": s.dtype,
        "memory": memory,
        "operations_a_token": _filling_operations(store, examples, phrased),
    }


# -- properties of the meta-step -----------------------------------------------------------------------------


def inner(s: SimpleNamespace, work: Path, setting: str, order: str) -> Result:
    """Peak memory of MAML or FOMAML with five inner steps; ``order`` is ``first`` or ``second``."""
    learner = {"first": "fomaml", "second": "maml"}[order]
    setup = Setup(s, work, setting, learner=learner, inner_steps=5)
    model = setup.model()
    store = setup.store(model, work / f"cache-{setting}" / "trunk")
    examples, phrased = setup.split("train")
    data = encode_task(examples, phrased, store, kind="dual")
    warm = [store.gather([n]).hidden.sum() for n in data.questions.texts.tolist()]  # touches the mapped pages
    assert len(warm)
    setup.memory.loaded_now()
    seconds = timed(setup.train(model, data, store, s.inner_episodes))
    return speeds(seconds, *setup.sizes) | {"memory": setup.memory.report(), "learner": learner}


def sources(s: SimpleNamespace, work: Path, setting: str) -> Result:
    """Seconds of a meta-step with the reinforced sampler over 2 and over 50 sources, in turn.

    Both draw the same episodes, so a pair of steps differs by the number of sources alone.
    """
    setup = Setup(s, work, setting)
    model = setup.model()
    store = setup.store(model, work / f"cache-{setting}" / "trunk")
    examples, phrased = setup.split("train")
    data = encode_task(examples, phrased, store, kind="dual")
    rewards = RewardSchedule("gradient-cosine", False, 1, 8)  # the defaults of a run
    loops = {}
    for count in (2, 50):
        sampler = make_sampler(setup.config.sampler, [len(data)] * count)
        settings = setup.ctml.model_copy(update={"steps": s.source_steps + 1})
        episodes = setup.episodes(data, store, count)
        trainer = MetaTrainer(model, episodes, sampler, settings, s.seed, "ctml", rewards)
        loops[count] = trainer.train(trainer.start(setup.start(), sampler.init(s.seed)))
    seconds: dict[int, list[float]] = {2: [], 50: []}
    for step in range(s.source_steps + 1):
        for count in (2, 50) if step % 2 else (50, 2):
            begun = time.perf_counter()
            next(loops[count])
            seconds[count].append(time.perf_counter() - begun)
    two, fifty = (torch.tensor(seconds[count][1:], dtype=torch.float64) for count in (2, 50))
    logs = torch.log(fifty / two)
    spread = 1.96 * float(logs.std()) / len(logs) ** 0.5
    centre = float(logs.mean())
    return {
        "steps": s.source_steps,
        "median_seconds_2": float(two.median()),
        "median_seconds_50": float(fifty.median()),
        "ratio": float(torch.tensor(centre).exp()),
        "ratio_ci95": [float(torch.tensor(centre + d).exp()) for d in (-spread, spread)],
    }


JOBS: dict[str, Callable[..., Result]] = {
    "prepare": prepare,
    "encoder-files": write_encoder,
    "plain": plain,
    "project": project,
    "fill": fill,
    "inner": inner,
    "sources": sources,
}

if __name__ == "__main__":
    measure.main(JOBS)
