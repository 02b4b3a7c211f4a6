"""The units of work of a run, in order: what is finished is not done again, what was interrupted goes on.

The run: data, encoder, CTML, CLML, few-shot adaptation, evaluation, results.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from metaxcr.config.schema import Config
from metaxcr.errors import UserError
from metaxcr.runs.context import RunContext
from metaxcr.runs.stages import clml, ctml, evaluate, few_shot, pooled, pooled_baseline
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
import torch
from metaxcr.adapters.layers import NONE
from metaxcr.adapters.adapter_files import save_language
from metaxcr.config.schema import Config
from metaxcr.config.io import config_hash
from metaxcr.encoders.activation_cache import TrunkStore
from metaxcr.encoders.loading import load_encoder
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import Predictions
from metaxcr.evaluation.results import build_results, validate_results
from metaxcr.runs.environment import Costs, describe_environment
from metaxcr.runs.run_dir import RunDir, open_folder
from metaxcr.runs.process_cache import ProcessCache
from metaxcr.runs.run_dir import load_pinned
from metaxcr.runs.run_data import RawData, RunData, prepare, read_data
from metaxcr.runs.progress import Progress
from metaxcr.runs.context import RunContext
from metaxcr.runs.tracking import RECORD as TRACKED
from metaxcr.runs.tracking import Tracking, check_trackers
from metaxcr.files import cache_folder
from metaxcr.hardware import available_threads, choose_device, machine_in_words, memory_errors
from metaxcr.adapters.adapter_files import (language_folder)
from metaxcr.records import (AGAIN, COSTS, ENVIRONMENT, TrackerRecord, checked, read_costs, read_environment)
from metaxcr.runs.parameter_count import parameter_count
from metaxcr.model.build import build_model
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.data.registry import task_spec
from metaxcr.data.contamination import leak_summary

Unit = tuple[str, Callable[[str], None]]  # name, and the work, which is told its name
SEVERAL = ("zero-shot-aux", "pooled-shots")  # regimes with labels in several languages


def regimes_of(config: Config) -> list[str]:
    """The regimes that a run covers: without auxiliary data there is no zero-shot-aux."""
    return [r for r in config.run.regimes if r != "zero-shot-aux" or config.target.auxiliary]


def check_regimes(config: Config) -> None:
    """Refuse settings that no regime of the run would use.

    Raises:
        UserError: There is one; the message names it.
    """
    regimes = set(regimes_of(config))
    for key, value, idle, needed in (
        ("clml.languages", config.clml.languages, "uniform", SEVERAL),
        ("clml.per_language", config.clml.per_language, False, SEVERAL),
        ("ctml.reward_data", config.ctml.reward_data, "english", ("few-shot",)),
    ):
        if value != idle and not regimes & set(needed):
            raise UserError(
                f"{key}: {value} would have no effect in the regimes {', '.join(sorted(regimes))}",
                "run.regimes",
                f"add {' or '.join(needed)}, or leave it at {idle}",
            )
    if "pooled-shots" in regimes and len(config.target.languages) < 2:
        raise UserError(
            "pooled-shots pools languages, and there is one", "target.languages", "name two or more"
        )


def work_units(run: RunContext, phases: Sequence[str]) -> Iterator[Unit]:
    """The units of work of some phases in order, with their names."""
    config, regimes = run.config, regimes_of(run.config)
    if "train" in phases:
        for seed in config.run.seeds:
            yield f"ctml seed {seed}", partial(ctml, run, seed=seed)
    if "adapt" in phases:
        for seed in config.run.seeds:
            yield from _adapt(run, regimes, seed)
    if "baseline" in phases:
        yield "evaluate similarity", partial(evaluate, run, regime="none", seed=None)
    if "evaluate" in phases:
        for seed in config.run.seeds:
            for regime in regimes:
                yield f"evaluate {regime} seed {seed}", partial(evaluate, run, regime=regime, seed=seed)


def _adapt(run: RunContext, regimes: Sequence[str], seed: int) -> Iterator[Unit]:
    config, languages = run.config, run.config.target.languages
    if "zero-shot-aux" in regimes:
        for one in run.material.adaptations:
            yield f"{one.name} seed {seed}", partial(clml, run, seed=seed, adaptation=one)
    for language in languages if "few-shot" in regimes else ():
        if config.ctml.reward_data == "shots":
            yield f"ctml {language} seed {seed}", partial(ctml, run, seed=seed, language=language)
        yield f"few-shot {language} seed {seed}", partial(few_shot, run, seed=seed, language=language)
    if "pooled-shots" in regimes:
        for alone in languages if config.clml.per_language else (None,):
            name = f"pooled {alone} seed {seed}" if alone else f"pooled seed {seed}"
            yield name, partial(pooled, run, seed=seed, language=alone)
        yield f"pooled-alone seed {seed}", partial(pooled_baseline, run, seed=seed)

PHASES = ("train", "adapt", "baseline", "evaluate")


@dataclass(frozen=True)
class Shared:
    """What a run gets from the larger experiment that it is a part of.

    Attributes:
        kept: What the process keeps between runs.
        begin: Called with the open folder before any unit of work, to put finished ones into it.
        done: Called with the open folder and the name of a unit of work that has just been finished.
    """

    kept: ProcessCache
    begin: Callable[[RunDir], None]
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
) -> dict[str, Any]:
    """Carry out a run, or continue one.

    Args:
        config: The settings.
        out: The run folder.
        progress: Where to report.
        root: Data root given by the user.
        resume: Whether an existing folder may be continued.
        phases: ``train`` = CTML, ``adapt`` = CLML and fine-tuning, ``baseline`` = predictions of the
            untrained similarity, ``evaluate`` = all others, and results.
        command: What the user typed, for the record.
        shared: For a part of a larger experiment, which keeps the list of looks at test splits itself.

    Returns:
        The content of results.json; empty where ``evaluate`` is not among the phases.

    Raises:
        UserError: Something that the user can mend; everything finished is kept for ``resume``.
    """
    torch.set_num_threads(config.run.threads or available_threads())
    torch.use_deterministic_algorithms(True)
    check_regimes(config)
    check_trackers(config.run.tracker)
    # first, because mistakes in the data show within seconds
    loaded = read_data(config, root, shared.kept if shared else None)
    folder = open_folder(out, config, describe_environment(config, command), resume=resume)
    results: dict[str, Any] = {}
    tracked = checked(dict[str, TrackerRecord], folder.read_json(TRACKED, {}), str(out / TRACKED))
    tracking = Tracking(config.run.tracker, out, tracked, progress.say)
    folder.on_event = tracking.hear
    try:
        if shared:
            shared.begin(folder)
        with memory_errors(choose_device(config.run.device)):
            results = carry_out(config, loaded, folder, phases, progress, shared)
        if results and not shared:
            record_opening(config, results["config_hash"], read_environment(out / ENVIRONMENT))
        return results
    finally:
        tracking.finish(results)
        progress.finish()
        folder.close()


def carry_out(
    config: Config,
    loaded: RawData,
    folder: RunDir,
    phases: Sequence[str],
    progress: Progress,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Prepare the material, do the units of work that are not done yet, and gather the results."""
    costs = Costs(read_costs(out) if (out := folder.path / COSTS).exists() else {})
    kept = shared.kept if shared else ProcessCache()
    with costs.stage("trunk"):
        encoder = load_pinned(config.encoder, folder, partial(kept.encoder, load_encoder))
        encoder.to(choose_device(config.run.device))
        model = build_model(config, encoder, config.run.seeds[0])
        store = TrunkStore(
            encoder,
            model.adapted.start,
            model.dtype,
            trunk_folder(),
            max_tokens=config.encoder.max_tokens,
            limit_bytes=int(config.encoder.cache_gb * 10**9),
            log=progress.say,
            languages=model.adapted.languages,
        )
    with keeping(store, folder, costs):
        with costs.stage("trunk"):
            material = prepare(config, loaded, store, progress, kept)
            for language, adapter in model.adapted.languages.items():
                material.checksums[f"lang.{language}"] = adapter.checksum(encoder.depth)
                save_language(language_folder(folder.path, language), language, adapter, encoder)
        folder.write_json("costs.json", costs.summary())
        shares = announce(config, model, material, store, progress)
        write_shots(config, material, folder)
        context = RunContext(config, material, store, model, folder, costs, progress)
        for name, work in work_units(context, phases):
            if name not in folder.journal.done:
                work(name)
                store.flush()
                folder.write_json("costs.json", costs.summary())
                folder.finish(name)
                if shared:
                    shared.done(folder, name)
    return finish(config, folder, material, shares) if "evaluate" in phases else {}


@contextmanager
def keeping(store: TrunkStore, folder: RunDir, costs: Costs) -> Iterator[None]:
    """Keep what the trunk store computes, and account for it, however the run ends."""
    costs.follow(store.stats)
    try:
        yield
    finally:
        store.flush(0)
        folder.write_json("costs.json", costs.interrupted())


def write_shots(config: Config, material: RunData, folder: RunDir) -> None:
    """Record the ids of the shots.

    Raises:
        UserError: The folder was begun with others: what is trained already would not fit.
    """
    for seed, ids in material.shots.items():
        name = f"shots/{config.target.task}.seed{seed}.json"
        shots = {"k": len(ids), "seed": seed, "ids": ids}
        if folder.read_json(name, shots) != shots:
            raise UserError(
                "the run folder belongs to other shots", str(folder.path / name), "choose another --out"
            )
        folder.write_json(name, shots)


def announce(
    config: Config, model: ChoiceModel, material: RunData, store: TrunkStore, progress: Progress
) -> dict[str, Any]:
    """Print what is active, and stop where nothing would be trained or a choice would be cut silently."""
    encoder, phi = model.adapted.encoder, model.params()
    account = parameter_count(config, encoder)
    assert account["trained"] == sum(p.numel() for p in phi.values())  # of what is there
    stacks = {language: model.adapted.stack(language) for language in _languages(config)}
    if config.adapters.kind != NONE and not any(name.startswith("adapted.task") for name in phi):
        raise UserError("no task adapter is active", "adapters.layers", "give at least one layer")
    shown = sorted({" > ".join(stack) for stack in stacks.values()})
    progress.say(
        f"encoder {encoder.name}: {encoder.depth} layers, width {encoder.width}; "
        f"{model.adapted.trained}; stack {', '.join(shown)}; "
        f"scoring {config.scoring.kind}"
    )
    machine = machine_in_words(config.encoder.dtype, encoder.device)
    progress.say(f"{machine}; {torch.get_num_threads()} threads")
    progress.say(
        f"trained {account['trained']:,} parameters: {account['share']:.2%} of the encoder's "
        f"{account['encoder']:,}, "
        f"{account['share_without_embeddings']:.2%} without its embeddings"
    )
    for stage in account["stages"]:
        parts = ", ".join(f"{part} {count:,}" for part, count in stage["parts"].items())
        progress.say(f"  {stage['stage']}: {parts} = {stage['share']:.2%}")
    if account["frozen"]:
        parts = ", ".join(f"{part} {count:,}" for part, count in account["frozen"].items())
        progress.say(f"  frozen beside the encoder: {parts}")
    if not model.adapted.start:
        progress.say("training starts in the lowest layer: the trunk cache holds nothing but the embeddings")
    sizes = ", ".join(f"{name} {len(data)}" for name, data in material.english.sources.items())
    progress.say(f"sources: {sizes}; sampler {config.sampler.kind}; seeds {config.run.seeds}")
    announce_data(config, material, progress)
    if store.stats.cut_texts:
        progress.say(
            f"{store.stats.cut_texts} of {store.stats.texts} texts were cut at {store.max_tokens} tokens"
        )
    text = config.target.parallel
    shares = {
        "parameters": account,
        "stack": stacks,
        "repaired": material.repaired,
        "cut_texts": store.stats.cut_texts,
        "parallel_text": f"{text.corpus}/{text.split}" if text else None,
    }
    if material.skipped:
        shares["skipped"] = material.skipped
    if material.adaptations:
        shares["auxiliary"] = {one.name: list(one.auxiliary) for one in material.adaptations}
    if wrong := _mislabelled(config):
        shares["mislabelled"] = wrong
    if material.leaks:
        shares["leaks"] = leak_summary(material.leaks)
    return shares


def _languages(config: Config) -> list[str]:
    """All languages of a run's texts: English first, then in the order of the configuration."""
    target = config.target
    others = [group.languages for group in (target.auxiliary, target.parallel) if group]
    return list(dict.fromkeys(["en", *target.languages, *(code for codes in others for code in codes)]))


def _mislabelled(config: Config) -> dict[str, str]:
    """Sources with labels that are wrong on purpose: name -> how."""
    return {source.name: source.labels for source in config.sources if source.labels != "true"}


def announce_data(config: Config, material: RunData, progress: Progress) -> None:
    """Print what a reader of the results has to know about the data: leaks, shots, repairs, gaps."""
    if material.leaks:
        found = leak_summary(material.leaks)
        kinds = ", ".join(f"{kind} {count}" for kind, count in found["kinds"].items())
        progress.say(
            f"LEAKS ALLOWED: {found['count']} training examples are also held out ({kinds}), first "
            f"{found['pairs'][0]}; the results are no evidence"
        )
    if wrong := _mislabelled(config):
        progress.say(f"LABELS WRONG ON PURPOSE: {', '.join(wrong)}; the results say nothing about the method")
    target = config.target
    if target.shots_file is not None:
        k = len(next(iter(material.shots.values()), []))
        known = f", target.k = {target.k} does not count" if k != target.k else ""
        used = f"k = {k}{known}" if k else "not used, because no regime needs shots"
        progress.say(f"shots from {target.shots_file}: {used}")
    for one in material.adaptations:
        used = ", ".join(f"{name} {len(material.auxiliary[name])}" for name in one.auxiliary)
        progress.say(f"{one.name}: labels in {used}; tested in {', '.join(one.tested)}")
    if material.repaired:
        rows = ", ".join(f"{name} {count}" for name, count in sorted(material.repaired.items()))
        progress.say(f"repaired rows: {rows}")
    if material.skipped:
        rows = ", ".join(f"{name} {count}" for name, count in sorted(material.skipped.items()))
        progress.say(f"rows left out: {rows}")


def finish(config: Config, folder: RunDir, material: RunData, shares: dict[str, Any]) -> dict[str, Any]:
    """Gather the predictions into results.json."""
    files = sorted((folder.path / "predictions").glob("*.jsonl"))
    data_hash = hashlib.sha256(json.dumps(material.checksums, sort_keys=True).encode()).hexdigest()[:16]
    results = build_results(
        [Predictions.read(path) for path in files],
        config_hash=config_hash(config, material.checksums, _dtype(folder.path / ENVIRONMENT)),
        data_hash=data_hash,
        shares=shares,
    )
    validate_results(results)
    folder.write_json("checksums.json", material.checksums)
    folder.write_json("results.json", results)
    return results


def _dtype(record: Path) -> str:
    """The number format that the run was begun with."""
    environment = read_environment(record)
    if "dtype" not in environment:
        raise UserError("the record of the run's environment has no 'dtype'", str(record), AGAIN)
    return str(environment["dtype"])


def record_opening(config: Config, identity: str, environment: dict[str, Any]) -> None:
    """Append to the list of looks at a test split, where the working folder keeps one (``docs/results``)."""
    ledger = Path("docs/results/test-openings.jsonl")
    if config.evaluate.split != "test" or task_spec(config.target.task).package or not ledger.parent.is_dir():
        return
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": environment.get("commit"),
        "config_hash": identity,
        "task": config.target.task,
        "command": environment.get("command"),
    }
    with ledger.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def trunk_folder() -> Path:
    """Where the trunk cache lives."""
    return cache_folder() / "trunk"
