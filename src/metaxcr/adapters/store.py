"""Adapters on disk in AdapterHub's layout, and the account of trained parameters."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from metaxcr.adapters.bottleneck import NONLINEARITIES, Bottleneck
from metaxcr.encoders.base import FrozenEncoder
from metaxcr.errors import UserError

CONFIG, WEIGHTS, HEAD = "adapter_config.json", "adapter.safetensors", "scorer.safetensors"
_HUB_NAMES = {  # ours -> AdapterHub's
    "down.weight": "adapter_down.0.weight",
    "down.bias": "adapter_down.0.bias",
    "up.weight": "adapter_up.weight",
    "up.bias": "adapter_up.bias",
}


def save_adapter(
    folder: Path, name: str, layers: dict[int, dict[str, Tensor]], *, width: int, nonlinearity: str, encoder: str
) -> None:
    """Write one adapter: ``adapter_config.json`` and ``adapter.safetensors`` with AdapterHub's tensor names.

    Args:
        folder: Created if missing.
        name: Of the adapter.
        layers: Layer -> {"down.weight", "down.bias", "up.weight", "up.bias"}.
        width: Width of the token vectors.
        nonlinearity: Of the bottleneck.
        encoder: Name of the encoder that the adapter belongs to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bottleneck = next(iter(layers.values()))["down.bias"].shape[0]
    tensors = {
        f"encoder.layer.{layer}.output.adapters.{name}.{_HUB_NAMES[part]}": tensor.contiguous()
        for layer, parts in layers.items()
        for part, tensor in parts.items()
    }
    config = {
        "name": name,
        "model_name": encoder,
        "hidden_size": width,
        "config": {
            "architecture": None, "mh_adapter": False, "output_adapter": True, "original_ln_before": True,
            "original_ln_after": True, "ln_before": False, "ln_after": False, "residual_before_ln": True,
            "adapter_residual_before_ln": False, "inv_adapter": None, "non_linearity": nonlinearity,
            "reduction_factor": width / bottleneck, "scaling": 1.0, "layers": sorted(layers),
        },
    }  # fmt: skip
    save_file(tensors, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_adapter(folder: Path, encoder: FrozenEncoder) -> dict[int, Bottleneck]:
    """Read one adapter for an encoder.

    Args:
        folder: Written by :func:`save_adapter`.
        encoder: The encoder that it goes into.

    Returns:
        Layer -> adapter.

    Raises:
        UserError: Something is missing or does not fit, so that part of the adapter would stay inactive.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, json.JSONDecodeError, SafetensorError) as error:
        raise UserError(f"cannot read an adapter: {error}", str(folder), f"it needs {CONFIG} and {WEIGHTS}") from error
    settings: dict[str, Any] = config["config"]
    if settings.get("inv_adapter"):
        raise UserError("the adapter has an invertible part, which would stay inactive", str(folder))
    if config["hidden_size"] != encoder.width or settings["non_linearity"] not in NONLINEARITIES:
        raise UserError(
            f"the adapter (width {config['hidden_size']}, {settings['non_linearity']}) does not fit {encoder.name}",
            str(folder),
        )
    adapters: dict[int, Bottleneck] = {}
    ours = {theirs: mine for mine, theirs in _HUB_NAMES.items()}
    for key, tensor in tensors.items():
        head, _, part = key.partition(f".output.adapters.{config['name']}.")
        layer = int(head.rpartition(".")[2]) if part in ours else -1
        if not 0 <= layer < encoder.depth:
            raise UserError(f"the tensor {key!r} has no place in {encoder.name}", str(folder))
        if layer not in adapters:
            bottleneck = round(encoder.width / settings["reduction_factor"])
            adapters[layer] = Bottleneck(encoder.width, bottleneck, settings["non_linearity"], torch.Generator())
        adapters[layer].get_parameter(ours[part]).data.copy_(tensor)
    return adapters


def parameter_account(trained: int, encoder: FrozenEncoder) -> dict[str, float]:
    """Share of trained parameters, with and without the encoder's embeddings in the denominator.

    Args:
        trained: Number of parameters trained in a stage.
        encoder: The frozen encoder.
    """
    body = encoder.parameters - encoder.embedding_parameters
    return {
        "trained": trained,
        "encoder": encoder.parameters,
        "share": round(trained / encoder.parameters, 6),
        "share_without_embeddings": round(trained / body, 6),
    }
