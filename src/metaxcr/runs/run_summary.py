"""What a run says of its model and data: parameters, stacks, leaks, shots, repairs.

It is printed before the run starts, and recorded under ``shares`` in results.json.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from metaxcr.adapters.adapter_files import read_adapter
from metaxcr.adapters.layers import FULL, NONE, Mixture, build_layer
from metaxcr.config.regimes import REGIMES, WITH_SHOTS
from metaxcr.config.schema import Config
from metaxcr.data.contamination import leak_summary
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.hardware import describe_precision
from metaxcr.meta.learners import make_learner
from metaxcr.model.build import adapter_layers, source_adapters, task_shape
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.runs.progress import Progress
from metaxcr.runs.run_data import RunData

RULE = (
    "share = parameters trained in a stage / encoder parameters with embeddings; adapters are not in the "
    "denominator"
)


def parameter_count(config: Config, encoder: FrozenEncoder) -> dict[str, Any]:
    """Count what is trained and what is frozen.

    Returns:
        ``trained``, ``share`` and ``share_without_embeddings`` of the resulting model; the same for every
        stage under ``stages``, with its ``parts``; ``frozen`` parts; and the encoder's own parameters,
        ``encoder`` and ``embeddings``.
    """
    parts = _trained_parts(config, encoder)
    few_shot, tune = set(config.regimes) & set(WITH_SHOTS), config.finetune
    tunings = [candidate.steps for candidate in tune.choose.candidates] if tune.choose else []
    tunings += [tune.many_shots.steps] if tune.many_shots else []
    steps = {
        "ctml": config.ctml.steps,
        "clml": max(config.clml.steps, config.clml.few_shot_steps if few_shot else 0),
        "finetune": max(tune.steps, *tunings, 0),
    }
    needed = {"ctml", *(stage for name in config.regimes for stage in REGIMES[name].stages)}
    stages = []
    for stage in (stage for stage, count in steps.items() if count and stage in needed):
        trained = dict(parts)
        if stage != "finetune":
            phi = {name: torch.empty(count, device="meta") for name, count in parts.items()}
            rates = make_learner(getattr(config, stage)).init(phi)
            if rates:  # learned beside phi, and no part of the model that results
                trained["learned rates"] = sum(t.numel() for t in rates.values())
        stages.append({"stage": stage, "parts": trained, **_shares(sum(trained.values()), encoder)})
    return {
        **_shares(sum(parts.values()), encoder),
        "encoder": encoder.parameters,
        "embeddings": encoder.embedding_parameters,
        "stages": stages,
        "frozen": _frozen_parts(config),
        "rule": RULE,
    }


def _trained_parts(config: Config, encoder: FrozenEncoder) -> dict[str, int]:
    """Parameters of task adapters or fine-tuned layers, of a mixture, and of the scorer."""
    layers, parts = adapter_layers(config, encoder.depth), {}
    if config.adapters.kind == FULL:
        parts["weights of layers"] = sum(encoder.layer_parameters[layer] for layer in layers)
    elif layers:
        shape, sources, generator = task_shape(config), source_adapters(config), torch.Generator()
        one = sum(p.numel() for p in build_layer(encoder.width, shape, generator).parameters())
        parts["task adapters"] = len(layers) * one * max(1, sources)
        if sources:
            mixture = Mixture(encoder.width, shape, generator, sources)
            parts["mixture"] = len(layers) * mixture.logits.numel()
    parts["scorer"] = encoder.width if config.scoring.kind == "cross" else encoder.width**2
    return parts


def _frozen_parts(config: Config) -> dict[str, int]:
    """Parameters of the language adapters in the settings, which no stage trains."""
    parts = {"language adapters": 0, "invertible adapters": 0}
    for folder in config.adapters.language.values():
        file = read_adapter(Path(folder))
        parts["language adapters"] += sum(t.numel() for p in file.layers.values() for t in p.values())
        parts["invertible adapters"] += sum(t.numel() for t in (file.invertible or {}).values())
    return {name: count for name, count in parts.items() if count}


def _shares(trained: int, encoder: FrozenEncoder) -> dict[str, Any]:
    body = encoder.parameters - encoder.embedding_parameters
    return {
        "trained": trained,
        "share": round(trained / encoder.parameters, 6),
        "share_without_embeddings": round(trained / body, 6),
    }


def announce(
    config: Config, model: ChoiceModel, data: RunData, store: ActivationCache, progress: Progress
) -> dict[str, Any]:
    """Print model and data, and return the shares; UserError if no layer has a task adapter."""
    params, target = model.params(), config.target
    if config.adapters.kind != NONE and not any(name.startswith("adapted.task") for name in params):
        raise UserError("no task adapter is active", "adapters.layers", "give at least one layer")
    count = parameter_count(config, model.adapted.encoder)
    assert count["trained"] == sum(p.numel() for p in params.values())
    others = [group.languages for group in (target.auxiliary, target.parallel) if group]
    languages = dict.fromkeys(["en", *target.languages, *(code for codes in others for code in codes)])
    stacks = {language: model.adapted.stack(language) for language in languages}
    _announce_model(config, model, count, stacks, progress)
    sizes = ", ".join(f"{name} {len(source)}" for name, source in data.english.sources.items())
    progress.say(f"sources: {sizes}; sampler {config.sampler.kind}; seeds {config.run.seeds}")
    _announce_data(config, data, progress)
    if cut := store.stats.cut_texts:
        progress.say(f"{cut} of {store.stats.texts} texts were cut at {store.max_tokens} tokens")
    text = target.parallel
    shares = {
        "parameters": count,
        "stack": stacks,
        "repaired": data.repaired,
        "cut_texts": cut,
        "parallel_text": f"{text.corpus}/{text.split}" if text else None,
    }
    optional = {
        "skipped": data.skipped,
        "auxiliary": {one.name: list(one.auxiliary) for one in data.adaptations},
        "mislabelled": _mislabelled(config),
        "leaks": leak_summary(data.leaks) if data.leaks else None,
    }
    return shares | {name: value for name, value in optional.items() if value}


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
    for stage in ("ctml", "clml"):
        if getattr(config, stage).alignment and config.target.parallel is None:
            progress.say(f"{stage}.alignment is not used: there is no parallel text (target.parallel)")
    with_shots = [regime for regime in config.regimes if regime in WITH_SHOTS]
    if config.clml.alignment and with_shots:
        progress.say(f"clml.alignment is not used in {' and '.join(with_shots)}: CLML aligns no text there")
    if data.repaired:
        progress.say(f"repaired rows: {_counts(dict(sorted(data.repaired.items())))}")
    if data.skipped:
        progress.say(f"rows left out: {_counts(dict(sorted(data.skipped.items())))}")


def _counts(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in parts.items())
