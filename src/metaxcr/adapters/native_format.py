"""The files of what AdapterHub has no format for: changed weights of whole layers, or no adapter at all."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from metaxcr.adapters.hub_config import LARGEST, LAYERS, HubConfig
from metaxcr.adapters.layers import NONE, SIZELESS
from metaxcr.errors import UserError
from metaxcr.parse import digits_value, number

CONFIG, WEIGHTS = "layers_config.json", "layers.safetensors"
VERSION = 1
Layers = Mapping[int, Mapping[str, Tensor]]  # layer -> parameters under our names


def to_native(config: HubConfig, layers: Layers) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What is written: the content of :data:`CONFIG`, and the tensors of :data:`WEIGHTS`.

    Args:
        config: Of the adapter.
        layers: Its parameters.
    """
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


def read_native_config(raw: Any, where: str) -> HubConfig:
    """Read the content of :data:`CONFIG`.

    Raises:
        UserError: It is malformed, or of a version or kind that is not known.
    """
    try:
        kind, layers = raw["kind"], _indices(raw["layers"], where)
        known = raw["version"] == VERSION and kind in SIZELESS and (kind == NONE) == (not layers)
        names = [str(raw[key]) for key in ("name", "model_name", "model_type")]
        width = int(number(raw["hidden_size"], "hidden_size", where, low=1, high=LARGEST, whole=True))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"the adapter's configuration is malformed: {error!r}", where) from error
    if not known:
        raise UserError("the adapter's configuration is of an unknown version or kind", where)
    name, encoder, family = names
    return HubConfig(
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


def _indices(value: Any, where: str) -> list[int]:
    return [int(number(i, "a layer", where, low=0, high=LAYERS, whole=True)) for i in value]


def from_native(tensors: Mapping[str, Tensor], where: str) -> dict[int, dict[str, Tensor]]:
    """Sort the tensors of :data:`WEIGHTS` by layer.

    Raises:
        UserError: A name is not of ours.
    """
    layers: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        layer, point, name = key.partition(".")
        at = digits_value(layer)
        if at is None or not point:
            raise UserError(f"the adapter has a tensor {key!r} that has no place", where)
        layers.setdefault(at, {})[name] = tensor
    return layers
