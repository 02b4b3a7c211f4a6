"""How many parameters each stage trains, part by part, and their share of the encoder."""

from pathlib import Path
from typing import Any

import torch

from metaxcr.adapters.adapter_files import read_adapter
from metaxcr.adapters.layers import FULL, Mixture, build_layer
from metaxcr.config.regimes import REGIMES, WITH_SHOTS
from metaxcr.config.schema import Config
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.meta.learners import make_learner
from metaxcr.model.build import adapter_layers, source_adapters, task_shape

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
    return {
        **_shares(sum(parts.values()), encoder),
        "encoder": encoder.parameters,
        "embeddings": encoder.embedding_parameters,
        "stages": [_stage(stage, parts, config, encoder) for stage in _stages(config)],
        "frozen": _frozen_parts(config),
        "rule": RULE,
    }


def _trained_parts(config: Config, encoder: FrozenEncoder) -> dict[str, int]:
    """Parameters of task adapters or fine-tuned layers, of a mixture, and of the scorer."""
    chosen = adapter_layers(config, encoder.depth)
    if config.adapters.kind == FULL:
        parts = {"weights of layers": sum(encoder.layer_parameters[layer] for layer in chosen)}
    elif chosen:
        parts = _adapter_parts(config, encoder, len(chosen))
    else:
        parts = {}
    parts["scorer"] = encoder.width if config.scoring.kind == "cross" else encoder.width**2
    return parts


def _adapter_parts(config: Config, encoder: FrozenEncoder, layers: int) -> dict[str, int]:
    shape, sources, generator = task_shape(config), source_adapters(config), torch.Generator()
    one = sum(p.numel() for p in build_layer(encoder.width, shape, generator).parameters())
    parts = {"task adapters": layers * one * max(1, sources)}
    if sources:
        mixture = Mixture(encoder.width, shape, generator, sources)
        parts["mixture"] = layers * mixture.logits.numel()
    return parts


def _frozen_parts(config: Config) -> dict[str, int]:
    """Parameters of the language adapters in the settings, which no stage trains."""
    parts = {"language adapters": 0, "invertible adapters": 0}
    for folder in config.adapters.language.values():
        file = read_adapter(Path(folder))
        parts["language adapters"] += sum(t.numel() for p in file.layers.values() for t in p.values())
        parts["invertible adapters"] += sum(t.numel() for t in (file.invertible or {}).values())
    return {name: count for name, count in parts.items() if count}


def _stages(config: Config) -> list[str]:
    """Stages that train something."""
    shots, tune = set(config.regimes) & set(WITH_SHOTS), config.finetune
    tunings = [
        *(tune.choose.candidates if tune.choose else []),
        *([tune.many_shots] if tune.many_shots else []),
    ]
    steps = {
        "ctml": config.ctml.steps,
        "clml": max(config.clml.steps, config.clml.few_shot_steps if shots else 0),
        "finetune": max(t.steps for t in (tune, *tunings)),
    }
    needed = {"ctml", *(stage for name in config.regimes for stage in REGIMES[name].stages)}
    return [stage for stage, count in steps.items() if count and stage in needed]


def _stage(stage: str, parts: dict[str, int], config: Config, encoder: FrozenEncoder) -> dict[str, Any]:
    trained = dict(parts)
    if stage != "finetune":
        phi = {name: torch.empty(count, device="meta") for name, count in parts.items()}
        rates = make_learner(getattr(config, stage)).init(phi)
        if rates:  # learned beside phi, and no part of the model that results
            trained["learned rates"] = sum(t.numel() for t in rates.values())
    return {"stage": stage, "parts": trained, **_shares(sum(trained.values()), encoder)}


def _shares(trained: int, encoder: FrozenEncoder) -> dict[str, Any]:
    body = encoder.parameters - encoder.embedding_parameters
    return {
        "trained": trained,
        "share": round(trained / encoder.parameters, 6),
        "share_without_embeddings": round(trained / body, 6),
    }
