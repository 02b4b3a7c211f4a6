"""A run: data, encoder, CTML, CLML, few-shot adaptation, evaluation, results.

Its units of work are done in order; on resume, finished units are skipped and the interrupted one continues.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from metaxcr.adapters.adapter_files import language_folder, save_language
from metaxcr.autodiff import Params
from metaxcr.config.io import config_hash
from metaxcr.config.regimes import ALONE, REGIMES, SEVERAL_LANGUAGES, WITH_SHOTS
from metaxcr.config.schema import Config
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.loading import load_encoder
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import Predictions, predict
from metaxcr.evaluation.results import build_results, validate_results
from metaxcr.files import cache_folder
from metaxcr.hardware import available_threads, choose_device, memory_errors
from metaxcr.model.build import build_model, untrained_model
from metaxcr.records import (
    AGAIN,
    COSTS,
    ENVIRONMENT,
    RESULTS,
    TrackerRecord,
    checked,
    read_costs,
    read_environment,
)
from metaxcr.runs.clml import clml, few_shot, pooled, pooled_baseline
from metaxcr.runs.context import RunContext
from metaxcr.runs.ctml import ctml, ctml_result
from metaxcr.runs.environment import Costs, describe_environment, record_opening
from metaxcr.runs.progress import RECORD as TRACKED
from metaxcr.runs.progress import Progress, Tracking, check_trackers
from metaxcr.runs.raw_data import ProcessCache, RawData, read_data
from metaxcr.runs.run_data import RunData, prepare
from metaxcr.runs.run_dir import RunDir, load_pinned, open_folder
from metaxcr.runs.run_summary import announce

PHASES = ("train", "adapt", "baseline", "evaluate")
Unit = tuple[str, Callable[[str], None]]  # name, and the work, which gets the name


@dataclass(frozen=True)
class Shared:
    """What a run gets from the comparison that it is a part of."""

    cache: ProcessCache  # data and encoder that the process keeps between runs
    # called with the open folder before any unit of work, to put finished ones into it
    begin: Callable[[RunDir], None]
    # called with the open folder and the name of a unit of work that has just been finished
    done: Callable[[RunDir, str], None]


def run(
    config: Config,
    out: Path,
    *,
    progress: Progress,
    root: Path | None = None,
    resume: bool = False,
    phases: Sequence[str] = PHASES,
    command: str = "",
    shared: Shared | None = None,
    ledger: Path | None = None,
) -> dict[str, Any]:
    """Carry out a run in the folder ``out``, or continue one.

    Phases: ``train`` = CTML, ``adapt`` = CLML and fine-tuning, ``baseline`` = predictions of the untrained
    similarity, ``evaluate`` = all others, and results. ``root`` is the data root given by the user,
    ``command`` what the user typed, for the record; ``ledger`` lists evaluations on test splits.

    Returns:
        The content of results.json; empty if ``evaluate`` is not among the phases.

    Raises:
        UserError: A mistake that the user can correct; everything finished is kept for ``resume``.
    """
    torch.set_num_threads(config.run.threads or available_threads())
    torch.use_deterministic_algorithms(True)
    check_regimes(config)
    check_trackers(config.run.tracker)
    cache = shared.cache if shared else ProcessCache()
    raw = read_data(config, root, cache)  # before the folder: mistakes in the data show within seconds
    folder = open_folder(out, config, describe_environment(config, command), resume=resume)
    results: dict[str, Any] = {}
    tracked = checked(dict[str, TrackerRecord], folder.read_json(TRACKED, {}), str(out / TRACKED))
    tracking = Tracking(config.run.tracker, out, tracked, progress.say)
    folder.on_event = tracking.log_event
    try:
        if shared:
            shared.begin(folder)
        with memory_errors(choose_device(config.run.device)):
            results = _run_units(config, raw, folder, phases, progress, cache, shared)
        if results:
            tasks = [config.target.task] if config.evaluate.split == "test" else []
            record_opening(ledger, tasks, command, config_hash=results["config_hash"])
        return results
    finally:
        tracking.finish(results)
        progress.finish()
        folder.close()


def check_regimes(config: Config) -> None:
    """Raise UserError for a setting that no regime of the run would use."""
    for key, value, idle, needed in (
        ("clml.languages", config.clml.languages, "uniform", SEVERAL_LANGUAGES),
        ("clml.per_language", config.clml.per_language, False, SEVERAL_LANGUAGES),
        ("ctml.reward_data", config.ctml.reward_data, "english", ("few-shot",)),
    ):
        if value != idle and not set(config.regimes) & set(needed):
            what = f"{key}: {value} would have no effect in the regimes {', '.join(sorted(config.regimes))}"
            raise UserError(what, "run.regimes", f"add {' or '.join(needed)}, or leave it at {idle}")
    if "pooled-shots" in config.regimes and len(config.target.languages) < 2:
        what = "pooled-shots pools languages, and there is one"
        raise UserError(what, "target.languages", "name two or more")


def work_units(run: RunContext, phases: Sequence[str]) -> Iterator[Unit]:
    """The units of work of some phases in order, with their names."""
    seeds, regimes = run.config.run.seeds, run.config.regimes
    if "train" in phases:
        for seed in seeds:
            yield f"ctml seed {seed}", partial(ctml, run, seed=seed)
    if "adapt" in phases:
        for seed in seeds:
            yield from _adaptation_units(run, seed)
    if "baseline" in phases:
        yield "evaluate similarity", partial(evaluate, run, regime="none", seed=None)
    if "evaluate" in phases:
        for seed in seeds:
            for regime in regimes:
                yield f"evaluate {regime} seed {seed}", partial(evaluate, run, regime=regime, seed=seed)


def _adaptation_units(run: RunContext, seed: int) -> Iterator[Unit]:
    config, languages = run.config, run.config.target.languages
    if "zero-shot-aux" in config.regimes:
        for one in run.data.adaptations:
            yield f"{one.name} seed {seed}", partial(clml, run, seed=seed, adaptation=one)
    for language in languages if "few-shot" in config.regimes else ():
        if config.ctml.reward_data == "shots":
            yield f"ctml {language} seed {seed}", partial(ctml, run, seed=seed, language=language)
        yield f"few-shot {language} seed {seed}", partial(few_shot, run, seed=seed, language=language)
    if "pooled-shots" in config.regimes:
        for alone in languages if config.clml.per_language else (None,):
            name = f"pooled {alone} seed {seed}" if alone else f"pooled seed {seed}"
            yield name, partial(pooled, run, seed=seed, language=alone)
        yield f"pooled-alone seed {seed}", partial(pooled_baseline, run, seed=seed)


def _run_units(
    config: Config,
    raw: RawData,
    folder: RunDir,
    phases: Sequence[str],
    progress: Progress,
    cache: ProcessCache,
    shared: Shared | None,
) -> dict[str, Any]:
    """Encode the data, do the units of work that are not done yet, and gather the results."""
    costs = Costs(read_costs(path) if (path := folder.path / COSTS).exists() else {})
    with costs.stage("trunk"):
        encoder = load_pinned(config.encoder, folder, partial(cache.encoder, load_encoder))
        encoder.to(choose_device(config.run.device))
        model = build_model(config, encoder, config.run.seeds[0])
        store = ActivationCache(
            encoder,
            model.adapted.start,
            model.dtype,
            trunk_folder(),
            max_tokens=config.encoder.max_tokens,
            limit_bytes=int(config.encoder.cache_gb * 10**9),
            log=progress.say,
            languages=model.adapted.languages,
        )
    costs.follow(store.stats)
    try:
        with costs.stage("trunk"):
            data = prepare(config, raw, store, progress, cache)
            for language, adapter in model.adapted.languages.items():
                data.checksums[f"lang.{language}"] = adapter.checksum(encoder.depth)
                save_language(language_folder(folder.path, language), language, adapter, encoder)
        folder.write_json(COSTS, costs.summary())
        shares = announce(config, model, data, store, progress)
        _write_shots(config, data, folder)
        context = RunContext(config, data, store, model, folder, costs, progress)
        for name, work in work_units(context, phases):
            if name not in folder.journal.done:
                work(name)
                store.flush()
                folder.write_json(COSTS, costs.summary())
                folder.finish(name)
                if shared:
                    shared.done(folder, name)
    finally:
        store.flush(0)
        folder.write_json(COSTS, costs.interrupted())
    return _write_results(config, folder, data, shares) if "evaluate" in phases else {}


def evaluate(run: RunContext, unit: str, regime: str, seed: int | None) -> None:
    """Predict every evaluated language that the regime covers and write the predictions."""
    languages = {language for language, _ in run.data.evaluation}
    if regime in WITH_SHOTS:
        languages &= run.data.shot_pool.keys()
    if regime == "zero-shot-aux":
        languages &= run.data.auxiliary_for.keys()
    with run.costs.stage("evaluate"):
        for done, language in enumerate(sorted(languages)):
            for method in REGIMES[regime].methods:
                for predictions in _predict(run, language, method, regime, seed):
                    predictions.write(run.folder.path / "predictions")
            run.progress.update(unit, done + 1, len(languages))


def _predict(
    run: RunContext, language: str, method: str, regime: str, seed: int | None
) -> Iterator[Predictions]:
    """Predictions of one method in one language, for each version of the test items."""
    data, model, split = run.data, run.model, run.config.evaluate.split
    versions = [version for lang, version in data.evaluation if lang == language]
    encoded = data.baseline if regime == "none" else data.evaluation
    sets = [encoded[language, version] for version in versions]
    if seed is None:
        model = untrained_model(run.config, run.model.adapted.encoder)
    phi = model.params() if seed is None else _phi(run, regime, method, seed, language)
    probabilities, tokens = predict(model, phi, sets, run.store)
    run.costs.add_passes("evaluate", tokens)
    k, total = _labels(data, regime, seed, language)
    for version, items, p in zip(versions, sets, probabilities, strict=True):
        about = (items.task, items.language, split, version, regime, method, seed, k, total)
        yield Predictions(*about, items.ids, p, items.questions.labels.tolist())


def _phi(run: RunContext, regime: str, method: str, seed: int, language: str) -> Params:
    """The parameters that answer in a language under a regime."""
    if regime == "zero-shot":
        return ctml_result(run, seed)[0]
    if regime == "zero-shot-aux":
        name = run.data.auxiliary_for[language].name
    elif regime == "few-shot":
        name = f"few-shot.{language}"
    elif method == ALONE:
        name = "pooled-alone"
    else:
        name = f"pooled.{language}" if run.config.clml.per_language else "pooled"
    return run.load_phi(f"{name}.seed{seed}")[0]


def _labels(data: RunData, regime: str, seed: int | None, language: str) -> tuple[int, int]:
    """Labels used in the tested language, and in all languages but English together."""
    if regime == "zero-shot-aux":
        return 0, sum(len(data.auxiliary[name]) for name in data.auxiliary_for[language].auxiliary)
    if seed is None or regime not in WITH_SHOTS:
        return 0, 0
    k = len(data.shots[seed])
    return k, k * (len(data.shot_pool) if regime == "pooled-shots" else 1)


def _write_shots(config: Config, data: RunData, folder: RunDir) -> None:
    """Record the ids of the shots; refuse a folder whose finished work used others."""
    for seed, ids in data.shots.items():
        name = f"shots/{config.target.task}.seed{seed}.json"
        shots = {"k": len(ids), "seed": seed, "ids": ids}
        if folder.read_json(name, shots) != shots:
            place = str(folder.path / name)
            raise UserError("the run folder belongs to other shots", place, "choose another --out")
        folder.write_json(name, shots)


def _write_results(config: Config, folder: RunDir, data: RunData, shares: dict[str, Any]) -> dict[str, Any]:
    """Gather the predictions into results.json."""
    record = folder.path / ENVIRONMENT
    environment = read_environment(record)
    if "dtype" not in environment:
        raise UserError("the record of the run's environment has no 'dtype'", str(record), AGAIN)
    files = sorted((folder.path / "predictions").glob("*.jsonl"))
    results = build_results(
        [Predictions.read(path) for path in files],
        config_hash=config_hash(config, data.checksums, str(environment["dtype"])),
        data_hash=hashlib.sha256(json.dumps(data.checksums, sort_keys=True).encode()).hexdigest()[:16],
        shares=shares,
    )
    validate_results(results)
    folder.write_json("checksums.json", data.checksums)
    folder.write_json(RESULTS, results)
    return results


def trunk_folder() -> Path:
    """Where the trunk cache is."""
    return cache_folder() / "trunk"
