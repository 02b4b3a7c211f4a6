"""The files of what AdapterHub has no format for: changed weights of whole layers, or no adapter at all."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from metaxcr.adapters.adapterhub.hub_config import MAX_WIDTH, AdapterConfig, layer_numbers
from metaxcr.adapters.layers import NONE, SIZELESS
from metaxcr.errors import UserError
from metaxcr.parse import digits_value, number

CONFIG, WEIGHTS = "layers_config.json", "layers.safetensors"
VERSION = 1


def to_native(
    config: AdapterConfig, layers: Mapping[int, Mapping[str, Tensor]]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The content of :data:`CONFIG` and of :data:`WEIGHTS`; ``layers`` is layer -> parameters."""
    raw = {
        "version": VERSION,
        "kind": config.shape.kind,
        "name": config.name,
        "model_name": config.encoder,
        "model_type": config.family,
        "hidden_size": config.width,
        "layers": sorted(layers),
    }
    tensors = {
        f"{layer}.{name}": t.contiguous() for layer, parts in layers.items() for name, t in parts.items()
    }
    return raw, tensors


def read_native_config(raw: Any, where: str) -> AdapterConfig:
    """Parse the content of :data:`CONFIG`."""
    try:
        kind, layers = raw["kind"], layer_numbers(raw["layers"], "layers", where)
        known = raw["version"] == VERSION and kind in SIZELESS and (kind == NONE) == (not layers)
        name, encoder, family = (str(raw[key]) for key in ("name", "model_name", "model_type"))
        width = int(number(raw["hidden_size"], "hidden_size", where, low=1, high=MAX_WIDTH, whole=True))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"the adapter's configuration is malformed: {error!r}", where) from error
    if not known:
        raise UserError("the adapter's configuration is of an unknown version or kind", where)
    return AdapterConfig(
        name=name,
        role="task",
        encoder=encoder,
        family=family,
        width=width,
        shape=SIZELESS[kind],
        bottlenecks={},
        invertible=None,
        leave_out=[],
        layers=layers,
    )


def from_native(tensors: Mapping[str, Tensor], where: str) -> dict[int, dict[str, Tensor]]:
    """Sort the tensors of :data:`WEIGHTS` by layer."""
    layers: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        layer, dot, name = key.partition(".")
        at = digits_value(layer)
        if at is None or not dot:
            raise UserError(f"the adapter has a tensor {key!r} that has no place", where)
        layers.setdefault(at, {})[name] = tensor
    return layers
