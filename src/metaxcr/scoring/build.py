"""From settings to a model, and the model's parameters to and from disk."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from metaxcr.adapters.stack import AdaptedEncoder
from metaxcr.adapters.store import load_adapter, save_adapter
from metaxcr.config import Config
from metaxcr.encoders.base import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.scoring.model import SCORER, ChoiceModel, Params
from metaxcr.tasks.seeding import derive

HEAD = "scorer.safetensors"
PARTS = ("down.weight", "down.bias", "up.weight", "up.bias")
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def adapter_layers(config: Config, encoder: FrozenEncoder) -> list[int]:
    """Resolve ``adapters.layers``: the top third of the layers, all of them, or a list."""
    layers = config.adapters.layers
    if isinstance(layers, list):
        return layers
    first = 0 if layers == "all" else encoder.depth - max(1, round(encoder.depth / 3))
    return list(range(first, encoder.depth))


def build_model(config: Config, encoder: FrozenEncoder, seed: int, *, kind: str | None = None) -> ChoiceModel:
    """Build the trainable system around an encoder.

    Args:
        config: The settings.
        encoder: The frozen encoder.
        seed: Draws the adapters' initial weights.
        kind: Of scoring, where it is not the configuration's own (the similarity baseline is always dual).
    """
    languages = {
        language: load_adapter(Path(folder), encoder) for language, folder in config.adapters.language.items()
    }
    adapted = AdaptedEncoder(
        encoder,
        adapter_layers(config, encoder),
        config.adapters.bottleneck,
        config.adapters.nonlinearity,
        torch.Generator().manual_seed(derive(seed, "adapters")),
        languages,
    )
    scoring = config.scoring
    dtype = DTYPES[config.encoder.dtype]
    return ChoiceModel(adapted, kind or scoring.kind, scoring.temperature, scoring.negatives, dtype)


def save_phi(folder: Path, name: str, phi: Params, config: Config, encoder: FrozenEncoder) -> None:
    """Write phi: the task adapter in AdapterHub's layout, the scorer beside it.

    Args:
        folder: Created if missing.
        name: Of the adapter.
        phi: The parameters.
        config: The settings that the model was built from.
        encoder: The frozen encoder.
    """
    layers = {
        layer: {part: phi[f"adapted.task.{layer}.{part}"] for part in PARTS}
        for layer in adapter_layers(config, encoder)
    }
    save_adapter(
        folder,
        name,
        layers,
        width=encoder.width,
        nonlinearity=config.adapters.nonlinearity,
        encoder=encoder.name,
    )
    save_file({SCORER: phi[SCORER].contiguous()}, folder / HEAD)


def load_phi(folder: Path, model: ChoiceModel) -> Params:
    """Read phi for a model.

    Raises:
        UserError: A file is missing, or the tensors are not exactly the model's.
    """
    adapters = load_adapter(folder, model.adapted.encoder)
    phi = {
        f"adapted.task.{i}.{n}": p.detach().clone()
        for i, a in adapters.items()
        for n, p in a.named_parameters()
    }
    try:
        phi |= load_file(folder / HEAD)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read the scorer: {error}", str(folder)) from error
    expected = model.params()
    if {n: p.shape for n, p in phi.items()} != {n: p.shape for n, p in expected.items()}:
        raise UserError(
            "the saved adapter is not of this model's shape", str(folder), "use its own config.yaml"
        )
    return {name: phi[name] for name in expected}
