"""AdapterHub's tensor names, of 2020 and of now, and ours."""

import re
from collections.abc import Mapping

from torch import Tensor

from metaxcr.encoders.families.family import Family, family_of
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
_INVERTIBLE = re.compile(r"(?:^|.*\.)invertible_adapters\.(.+)$")
_HOOKS = {"after_attention": "attended", "after_feed_forward": "output"}  # of Houlsby's two


def adapter_paths(model_type: str) -> dict[str, str]:
    """Hook -> where AdapterHub keeps its adapters in encoders of a ``model_type``; BERT's if unknown."""
    return dict((family_of(model_type) or Family).adapters_at)


def _layer_names(kind: str, name: str, at: Mapping[str, str]) -> dict[str, str]:
    """Our parameter names of one layer's adapter -> AdapterHub's, with ``{layer}`` for the layer's number.

    The library's names of LoRA are those of BERT and RoBERTa.
    """
    if kind == "lora":
        return {
            f"{part}.{ours}": f"encoder.layer.{{layer}}.attention.self.{part}.loras.{name}.{theirs}"
            for part in ("query", "value")
            for ours, theirs in _LOW_RANK.items()
        }
    if kind == "houlsby":
        return {
            f"{part}.{ours}": f"{at[hook]}.adapters.{name}.{theirs}"
            for part, hook in _HOOKS.items()
            for ours, theirs in _ADAPTER.items()
        }
    return {ours: f"{at['output']}.adapters.{name}.{theirs}" for ours, theirs in _ADAPTER.items()}


def _invertible_names(name: str) -> dict[str, str]:
    """Our parameter names of the invertible adapter -> AdapterHub's names below ``invertible_adapters``."""
    return {f"{net}.{ours}": f"{name}.{net}.{theirs}" for net in "FG" for ours, theirs in _NICE.items()}


def to_hub(
    kind: str,
    name: str,
    layers: Mapping[int, Mapping[str, Tensor]],
    invertible: Mapping[str, Tensor] | None,
    at: Mapping[str, str],
) -> dict[str, Tensor]:
    """Name tensors as the ``adapters`` library does; ``at`` is from :func:`adapter_paths`."""
    names = _layer_names(kind, name, at)
    tensors = {
        names[part].format(layer=layer): tensor.contiguous()
        for layer, parts in layers.items()
        for part, tensor in parts.items()
    }
    theirs = _invertible_names(name)
    for part, tensor in (invertible or {}).items():
        tensors[f"invertible_adapters.{theirs[part]}"] = tensor.contiguous()
    return tensors


def from_hub(
    kind: str, name: str, tensors: Mapping[str, Tensor], where: str, at: Mapping[str, str]
) -> tuple[dict[int, dict[str, Tensor]], dict[str, Tensor]]:
    """Sort AdapterHub's tensors, whatever their prefix, under our names.

    Returns layer -> parameters, and the invertible part's parameters.
    A UserError if a tensor belongs nowhere, as that part of the adapter would stay inactive.
    """
    places = {
        re.compile(r"(?:^|.*\.)" + re.escape(theirs).replace(r"\{layer\}", r"(\d{1,9})") + "$"): ours
        for ours, theirs in _layer_names(kind, name, at).items()
    }
    inverse = {theirs: ours for ours, theirs in _invertible_names(name).items()}
    layers: dict[int, dict[str, Tensor]] = {}
    invertible: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        modern = key
        for old, new in _LEGACY.items():
            modern = modern.replace(old, new)
        found = next(((m, ours) for place, ours in places.items() if (m := place.match(modern))), None)
        in_front = _INVERTIBLE.match(modern)
        if found:
            layers.setdefault(int(found[0][1]), {})[found[1]] = tensor
        elif in_front and in_front[1] in inverse:
            invertible[inverse[in_front[1]]] = tensor
        else:
            raise UserError(f"the tensor {key!r} has no place in an adapter {name!r} of kind {kind}", where)
    return layers, invertible


def legacy_role(tensors: Mapping[str, Tensor]) -> str:
    """The role in tensor names of 2020 and 2021: ``"language"``, ``"task"`` or empty."""
    for role, word in (("language", "text_lang_adapters"), ("task", "text_task_adapters")):
        if any(word in key for key in tensors):
            return role
    return ""
