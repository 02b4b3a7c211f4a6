"""AdapterHub's tensor names, of 2020 and of now, and ours."""

import re
from collections.abc import Mapping

from torch import Tensor

from metaxcr.errors import UserError

_ADAPTER = {  # ours -> AdapterHub's
    "down.weight": "adapter_down.0.weight",
    "down.bias": "adapter_down.0.bias",
    "up.weight": "adapter_up.weight",
    "up.bias": "adapter_up.bias",
}
_NICE = {"down.weight": "0.weight", "down.bias": "0.bias", "up.weight": "2.weight", "up.bias": "2.bias"}
_LOW_RANK = {"down.weight": "lora_A", "up.weight": "lora_B"}
_LEGACY = {
    "attention_text_task_adapters": "adapters", "attention_text_lang_adapters": "adapters",
    "layer_text_task_adapters": "adapters", "layer_text_lang_adapters": "adapters",
    "invertible_lang_adapters": "invertible_adapters", "invertible_task_adapters": "invertible_adapters",
}  # fmt: skip
_LAYER = re.compile(r"(?:^|.*\.)(?:layer|layers)\.(\d+)\.(.+)$")
_INVERTIBLE = re.compile(r"(?:^|.*\.)invertible_adapters\.(.+)$")


def layer_names(kind: str, name: str) -> dict[str, str]:
    """Our parameter names of one layer's adapter -> AdapterHub's names below that layer.

    Args:
        kind: Of the adapter.
        name: Of the adapter.
    """
    if kind == "lora":
        return {
            f"{part}.{ours}": f"attention.self.{part}.loras.{name}.{theirs}"
            for part in ("query", "value")
            for ours, theirs in _LOW_RANK.items()
        }
    if kind == "houlsby":
        places = {"after_attention": "attention.output", "after_feed_forward": "output"}
        return {
            f"{part}.{ours}": f"{place}.adapters.{name}.{theirs}"
            for part, place in places.items()
            for ours, theirs in _ADAPTER.items()
        }
    return {ours: f"output.adapters.{name}.{theirs}" for ours, theirs in _ADAPTER.items()}


def invertible_names(name: str) -> dict[str, str]:
    """Our parameter names of the invertible adapter -> AdapterHub's names below ``invertible_adapters``."""
    return {f"{net}.{ours}": f"{name}.{net}.{theirs}" for net in "FG" for ours, theirs in _NICE.items()}


def to_hub(
    kind: str, name: str, layers: Mapping[int, Mapping[str, Tensor]], invertible: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Name tensors as the ``adapters`` library does for BERT and (XLM-)RoBERTa.

    Args:
        kind: Of the adapter.
        name: Of the adapter.
        layers: Layer -> parameters under our names.
        invertible: The invertible part's parameters under our names, or None.
    """
    names = layer_names(kind, name)
    tensors = {
        f"encoder.layer.{layer}.{names[part]}": tensor.contiguous()
        for layer, parts in layers.items()
        for part, tensor in parts.items()
    }
    theirs = invertible_names(name)
    for part, tensor in (invertible or {}).items():
        tensors[f"invertible_adapters.{theirs[part]}"] = tensor.contiguous()
    return tensors


def from_hub(
    kind: str, name: str, tensors: Mapping[str, Tensor], where: str
) -> tuple[dict[int, dict[str, Tensor]], dict[str, Tensor]]:
    """Sort AdapterHub's tensors, whatever the prefix, by layer under our names.

    Returns:
        Layer -> parameters, and the invertible part's parameters (empty without one).

    Raises:
        UserError: A tensor belongs nowhere, so that part of the adapter would stay inactive.
    """
    places = {theirs: ours for ours, theirs in layer_names(kind, name).items()}
    inverse = {theirs: ours for ours, theirs in invertible_names(name).items()}
    layers: dict[int, dict[str, Tensor]] = {}
    invertible: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        modern = key
        for old, new in _LEGACY.items():
            modern = modern.replace(old, new)
        in_layer, in_front = _LAYER.match(modern), _INVERTIBLE.match(modern)
        if in_layer and in_layer[2] in places:
            layers.setdefault(int(in_layer[1]), {})[places[in_layer[2]]] = tensor
        elif in_front and in_front[1] in inverse:
            invertible[inverse[in_front[1]]] = tensor
        else:
            raise UserError(f"the tensor {key!r} has no place in an adapter {name!r} of kind {kind}", where)
    return layers, invertible


def legacy_role(tensors: Mapping[str, Tensor]) -> str:
    """The role that tensor names of 2020 and 2021 tell: ``"language"``, ``"task"`` or nothing."""
    for role, word in (("language", "text_lang_adapters"), ("task", "text_task_adapters")):
        if any(word in key for key in tensors):
            return role
    return ""
