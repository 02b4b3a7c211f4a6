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

CONFIG, WEIGHTS = "adapter_config.json", "adapter.safetensors"
_HUB_NAMES = {  # ours -> AdapterHub's
    "down.weight": "adapter_down.0.weight",
    "down.bias": "adapter_down.0.bias",
    "up.weight": "adapter_up.weight",
    "up.bias": "adapter_up.bias",
}


def save_adapter(
    folder: Path,
    name: str,
    layers: dict[int, dict[str, Tensor]],
    *,
    width: int,
    nonlinearity: str,
    encoder: str,
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
    config, tensors = _read(folder)
    settings: dict[str, Any] = config["config"]
    if settings.get("inv_adapter"):
        raise UserError("the adapter has an invertible part, which would stay inactive", str(folder))
    width, nonlinearity = config["hidden_size"], settings["non_linearity"]
    if width != encoder.width or nonlinearity not in NONLINEARITIES:
        raise UserError(
            f"the adapter (width {width}, {nonlinearity}) does not fit {encoder.name}", str(folder)
        )
    layers = _by_layer(config["name"], tensors, encoder, folder)
    listed = settings.get("layers")
    if not layers or (listed is not None and sorted(listed) != sorted(layers)):
        raise UserError(f"the adapter has weights in layers {sorted(layers)}, not in {listed}", str(folder))
    adapters = {}
    for layer, parts in sorted(layers.items()):
        bottleneck = round(width / settings["reduction_factor"])
        adapter = Bottleneck(width, bottleneck, nonlinearity, torch.Generator())
        expected = {name: p.shape for name, p in adapter.named_parameters()}
        if {name: tensor.shape for name, tensor in parts.items()} != expected:
            raise UserError(
                f"the adapter's weights in layer {layer} are incomplete or misshapen", str(folder)
            )
        adapter.load_state_dict(parts)
        adapters[layer] = adapter
    return adapters


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        for needed in ("name", "hidden_size", "config"):
            config[needed]
        for needed in ("non_linearity", "reduction_factor"):
            config["config"][needed]
        return config, load_file(folder / WEIGHTS)
    except KeyError as error:
        raise UserError(f"the adapter's configuration lacks {error}", str(folder / CONFIG)) from error
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise UserError(
            f"cannot read an adapter: {error}", str(folder), f"it needs {CONFIG} and {WEIGHTS}"
        ) from error


def _by_layer(
    name: str, tensors: dict[str, Tensor], encoder: FrozenEncoder, folder: Path
) -> dict[int, dict[str, Tensor]]:
    """Sort AdapterHub's tensors by layer, under our names."""
    ours = {theirs: mine for mine, theirs in _HUB_NAMES.items()}
    layers: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        head, _, part = key.partition(f".output.adapters.{name}.")
        layer = head.rpartition(".")[2]
        if part not in ours or not layer.isdecimal() or int(layer) >= encoder.depth:
            raise UserError(f"the tensor {key!r} has no place in {encoder.name}", str(folder))
        layers.setdefault(int(layer), {})[ours[part]] = tensor
    return layers


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
