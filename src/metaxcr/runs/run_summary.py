"""What a run prints before it starts, and what it records of itself under ``shares`` in results.json."""

from typing import Any

import torch

from metaxcr.adapters.layers import NONE
from metaxcr.config.regimes import WITH_SHOTS
from metaxcr.config.schema import Config
from metaxcr.data.contamination import leak_summary
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.errors import UserError
from metaxcr.hardware import describe_precision
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.runs.parameter_count import parameter_count
from metaxcr.runs.progress import Progress
from metaxcr.runs.run_data import RunData


def announce(
    config: Config, model: ChoiceModel, data: RunData, store: ActivationCache, progress: Progress
) -> dict[str, Any]:
    """Print model and data, and return the shares; UserError if no layer has a task adapter."""
    params = model.params()
    if config.adapters.kind != NONE and not any(name.startswith("adapted.task") for name in params):
        raise UserError("no task adapter is active", "adapters.layers", "give at least one layer")
    count = parameter_count(config, model.adapted.encoder)
    assert count["trained"] == sum(p.numel() for p in params.values())
    stacks = {language: model.adapted.stack(language) for language in _languages(config)}
    _announce_model(config, model, count, stacks, progress)
    sizes = ", ".join(f"{name} {len(source)}" for name, source in data.english.sources.items())
    progress.say(f"sources: {sizes}; sampler {config.sampler.kind}; seeds {config.run.seeds}")
    _announce_data(config, data, progress)
    if store.stats.cut_texts:
        progress.say(
            f"{store.stats.cut_texts} of {store.stats.texts} texts were cut at {store.max_tokens} tokens"
        )
    text = config.target.parallel
    shares = {
        "parameters": count,
        "stack": stacks,
        "repaired": data.repaired,
        "cut_texts": store.stats.cut_texts,
        "parallel_text": f"{text.corpus}/{text.split}" if text else None,
    }
    optional = {
        "skipped": data.skipped,
        "auxiliary": {one.name: list(one.auxiliary) for one in data.adaptations},
        "mislabelled": _mislabelled(config),
        "leaks": leak_summary(data.leaks) if data.leaks else None,
    }
    return shares | {name: value for name, value in optional.items() if value}


def _languages(config: Config) -> list[str]:
    """All languages of a run's texts: English first, then in the order of the configuration."""
    target = config.target
    others = [group.languages for group in (target.auxiliary, target.parallel) if group]
    return list(dict.fromkeys(["en", *target.languages, *(code for codes in others for code in codes)]))


def _mislabelled(config: Config) -> dict[str, str]:
    """Sources with labels that are wrong on purpose: name -> how."""
    return {source.name: source.labels for source in config.sources if source.labels != "true"}


def _announce_model(
    config: Config,
    model: ChoiceModel,
    count: dict[str, Any],
    stacks: dict[str, list[str]],
    progress: Progress,
) -> None:
    encoder = model.adapted.encoder
    shown = ", ".join(sorted({" > ".join(stack) for stack in stacks.values()}))
    progress.say(
        f"encoder {encoder.name}: {encoder.depth} layers, width {encoder.width}; "
        f"{model.adapted.trained}; stack {shown}; scoring {config.scoring.kind}"
    )
    machine = describe_precision(config.encoder.dtype, encoder.device)
    progress.say(f"{machine}; {torch.get_num_threads()} threads")
    progress.say(
        f"trained {count['trained']:,} parameters: {count['share']:.2%} of the encoder's "
        f"{count['encoder']:,}, {count['share_without_embeddings']:.2%} without its embeddings"
    )
    for stage in count["stages"]:
        progress.say(f"  {stage['stage']}: {_counts(stage['parts'])} = {stage['share']:.2%}")
    if count["frozen"]:
        progress.say(f"  frozen beside the encoder: {_counts(count['frozen'])}")
    if not model.adapted.start:
        progress.say("training starts in the lowest layer: the trunk cache holds nothing but the embeddings")


def _announce_data(config: Config, data: RunData, progress: Progress) -> None:
    """Print leaks, wrong labels, shots, auxiliary languages, repairs and rows that are left out."""
    if data.leaks:
        found = leak_summary(data.leaks)
        progress.say(
            f"LEAKS ALLOWED: {found['count']} training examples are also held out "
            f"({_counts(found['kinds'])}), first {found['pairs'][0]}; the results are no evidence"
        )
    if wrong := _mislabelled(config):
        progress.say(f"LABELS WRONG ON PURPOSE: {', '.join(wrong)}; the results say nothing about the method")
    target = config.target
    if target.shots_file is not None:
        k = len(next(iter(data.shots.values()), []))
        known = f", target.k = {target.k} is ignored" if k != target.k else ""
        used = f"k = {k}{known}" if k else "not used, because no regime needs shots"
        progress.say(f"shots from {target.shots_file}: {used}")
    for one in data.adaptations:
        used = _counts({name: len(data.auxiliary[name]) for name in one.auxiliary})
        progress.say(f"{one.name}: labels in {used}; tested in {', '.join(one.tested)}")
    with_shots = [regime for regime in config.regimes if regime in WITH_SHOTS]
    if config.clml.alignment and with_shots:
        progress.say(f"clml.alignment is not used in {' and '.join(with_shots)}: CLML aligns no text there")
    if data.repaired:
        progress.say(f"repaired rows: {_counts(dict(sorted(data.repaired.items())))}")
    if data.skipped:
        progress.say(f"rows left out: {_counts(dict(sorted(data.skipped.items())))}")


def _counts(parts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in parts.items())
