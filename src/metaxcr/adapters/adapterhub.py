"""AdapterHub's format: ``adapter_config.json`` and the names of tensors, of 2020 and of now.

Both spellings are read, the new one is written.
"""

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from metaxcr.adapters.bottleneck import NONLINEARITIES
from metaxcr.adapters.layers import AdapterShape
from metaxcr.encoders.families.family import Family, family_of
from metaxcr.errors import UserError
from metaxcr.parse import number

VERSION = "adapters.1.3.0"  # whose format is written; a file without a version is of 2020 or 2021
MAX_WIDTH, MAX_LAYER, MAX_FACTOR = 2**16, 10**4, 1e6
TYPES = {"text_lang": "language", "text_task": "task"}
_RENAMED = {key: key.lower() for key in ("LN_after", "LN_before", "MH_Adapter", "Output_Adapter")}  # of 2020
_PFEIFFER = {
    "mh_adapter": False, "output_adapter": True, "original_ln_before": True, "original_ln_after": True,
    "ln_before": False, "ln_after": False, "residual_before_ln": True, "adapter_residual_before_ln": False,
    "is_parallel": False, "use_gating": False, "cross_adapter": False, "phm_layer": False,
}  # fmt: skip
_PLACEMENTS: dict[str, dict[str, Any]] = {
    "pfeiffer": _PFEIFFER,
    "houlsby": {**_PFEIFFER, "mh_adapter": True, "original_ln_before": False},
    "parallel": {**_PFEIFFER, "is_parallel": True, "original_ln_before": False},
}
_LORA = {
    "selfattn_lora": True, "intermediate_lora": False, "output_lora": False, "attn_matrices": ["q", "v"],
    "composition_mode": "add", "use_gating": False, "use_dora": False, "vera_d": None, "vera_b": None,
}  # fmt: skip
_NAMED: dict[str, dict[str, Any]] = {  # configurations that a file may give by name
    "pfeiffer": {**_PFEIFFER, "non_linearity": "relu", "reduction_factor": 16},
    "houlsby": {**_PLACEMENTS["houlsby"], "non_linearity": "swish", "reduction_factor": 16},
    "parallel": {
        **_PLACEMENTS["parallel"], "non_linearity": "relu", "reduction_factor": 2, "scaling": 4.0,
    },
    "lora": {"architecture": "lora", **_LORA, "r": 8, "alpha": 8},
}  # fmt: skip
_NAMED |= {"seq_bn": _NAMED["pfeiffer"], "double_seq_bn": _NAMED["houlsby"], "par_bn": _NAMED["parallel"]}
for _name in ("pfeiffer", "houlsby", "seq_bn", "double_seq_bn"):
    _inverse = {**_NAMED[_name], "inv_adapter": "nice", "inv_adapter_reduction_factor": 2}
    _NAMED[f"{_name}+inv"] = _NAMED[f"{_name}_inv"] = _inverse
_READ = {
    "non_linearity", "reduction_factor", "scaling", "inv_adapter", "inv_adapter_reduction_factor",
    "invertible_adapter", "leave_out", "layers", "r", "alpha",
    # Without effect here: about training, or defaults of what is switched off.
    "architecture", "attention_type", "new_attention_norm", "init_weights", "init_weights_seed", "dropout",
    "stochastic_depth", "phm_dim", "factorized_phm_W", "shared_W_phm", "shared_phm_rule",
    "factorized_phm_rule", "phm_c_init", "phm_init_range", "learn_phm", "hypercomplex_nonlinearity",
    "phm_rank", "phm_bias", "dtype",
}  # fmt: skip
_ADAPTER = {  # ours -> AdapterHub's
    "down.weight": "adapter_down.0.weight", "down.bias": "adapter_down.0.bias",
    "up.weight": "adapter_up.weight", "up.bias": "adapter_up.bias",
}  # fmt: skip
_NICE = {"down.weight": "0.weight", "down.bias": "0.bias", "up.weight": "2.weight", "up.bias": "2.bias"}
_LOW_RANK = {"down.weight": "lora_A", "up.weight": "lora_B"}
# In names of 2020: attention_text_task_adapters, layer_text_lang_adapters, invertible_lang_adapters.
_LEGACY = re.compile(r"\b(?:(?:attention|layer)_text|(invertible))_(?:task|lang)_adapters\b")
_INVERTIBLE = re.compile(r"(?:^|.*\.)invertible_adapters\.(.+)$")
_HOOKS = {"after_attention": "attended", "after_feed_forward": "output"}  # of Houlsby's two


@dataclass(frozen=True)
class AdapterConfig:
    """The configuration of an adapter."""

    name: str
    role: str  # "language", "task", or empty if the file does not say
    encoder: str  # name of the encoder that it was made for; may be empty
    family: str  # model_type of that encoder; may be empty
    width: int  # width of its token vectors
    shape: AdapterShape  # kind and size; the bottleneck is that of most layers
    bottlenecks: dict[int, int] = field(default_factory=dict)  # layer -> its width where they differ
    invertible: float | None = None  # reduction of the invertible part
    leave_out: Sequence[int] = ()  # layers without an adapter
    # layers with an adapter, in native files and those of this package's first version; else None
    layers: Sequence[int] | None = None

    def bottleneck(self, layer: int) -> int:
        """Width of the bottleneck in a layer."""
        return self.bottlenecks.get(layer, self.shape.bottleneck)


def read_config(raw: Any, where: str) -> AdapterConfig:
    """Parse the content of an ``adapter_config.json``; unknown keys and unsupported kinds are errors."""
    try:
        name, width, inner = raw["name"], _whole(raw["hidden_size"], "hidden_size", where), raw["config"]
        for key in ("name", "type", "model_name", "model_type", "version"):
            if not isinstance(raw.get(key), str) and (key == "name" or raw.get(key) is not None):
                raise UserError(f"the adapter's {key!r} is no text", where, "correct the configuration")
        if isinstance(inner, str) and inner not in _NAMED:
            raise UserError(f"unknown adapter configuration {inner!r}", where)
        inner = _NAMED[inner] if isinstance(inner, str) else inner
        if not isinstance(inner, dict):
            raise UserError("the adapter's configuration is no mapping", where)
        config = {_RENAMED.get(str(key), str(key)): value for key, value in inner.items()}
        old = "version" not in raw and "layers" not in config
        widths: dict[int, int] = {}
        if config.get("architecture") == "lora":
            shape = _lora_shape(config, raw.get("version") or "", where)
        else:
            shape, widths = _bottleneck_shape(config, width, old, where)
        layers = config.get("layers")
        return AdapterConfig(
            name=name,
            role=TYPES.get(raw.get("type") or "", ""),
            encoder=raw.get("model_name") or "",
            family=raw.get("model_type") or "",
            width=width,
            shape=shape,
            bottlenecks=widths,
            invertible=_invertible(config, where),
            leave_out=layer_numbers(config.get("leave_out") or [], "leave_out", where),
            layers=None if layers is None else layer_numbers(layers, "layers", where),
        )
    except KeyError as error:
        raise UserError(f"the adapter's configuration lacks {error}", where) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"the adapter's configuration is malformed: {error}", where) from error


def _bottleneck_shape(
    config: Mapping[str, Any], width: int, old: bool, where: str
) -> tuple[AdapterShape, dict[int, int]]:
    """The shape of a bottleneck adapter, and the layers whose bottleneck is of another width."""
    _check_keys(config, _PFEIFFER, where)
    if config.get("architecture"):
        raise UserError(f"adapters of the kind {config['architecture']!r} are not supported", where)
    placed = {key: config.get(key, default) for key, default in _PFEIFFER.items()}
    if not placed["ln_after"]:
        placed["adapter_residual_before_ln"] = False  # the position relative to ln_after, which is absent
    if not placed["original_ln_before"]:
        placed["residual_before_ln"] = True  # has no effect
    kind = next((kind for kind, placement in _PLACEMENTS.items() if placement == placed), None)
    if kind is None:
        odd = ", ".join(f"{k} {v}" for k, v in placed.items() if v != _PFEIFFER[k])
        raise UserError(f"this placement of adapters is not supported: {odd}", where)
    name = str(config["non_linearity"]).lower()
    renamed = {"silu": "swish"} | ({"gelu": "gelu_new", "gelu_orig": "gelu"} if old else {})
    name = renamed.get(name, name)
    if name not in NONLINEARITIES:
        raise UserError(f"the adapter's non-linearity {name!r} is not supported", where)
    scaling, factors = config.get("scaling", 1.0), config["reduction_factor"]
    if isinstance(scaling, str):
        raise UserError(f"an adapter with {scaling[:40]} scaling is not supported", where)
    scaling = number(scaling, "scaling", where, low=-MAX_FACTOR, high=MAX_FACTOR)
    factors = factors if isinstance(factors, Mapping) else {"default": factors}
    widths = {key: _bottleneck_width(width, value, where) for key, value in factors.items()}
    default = widths.pop("default", 0)
    return AdapterShape(kind, default, name, scaling), {int(key): value for key, value in widths.items()}


def _bottleneck_width(width: int, factor: Any, where: str) -> int:
    """Round like the library, except that a quotient within rounding of a whole number is that number."""
    factor = number(factor, "reduction_factor", where, low=width / MAX_WIDTH, high=width)
    exact = width / factor
    return round(exact) if math.isclose(exact, round(exact), rel_tol=1e-9) else int(width // factor)


def _lora_shape(config: Mapping[str, Any], version: str, where: str) -> AdapterShape:
    _check_keys(config, _LORA, where)
    odd = [f"{k} {config[k]}" for k, v in _LORA.items() if config.get(k, v) != v]
    if odd:
        raise UserError(f"this kind of LoRA is not supported: {', '.join(odd)}", where)
    rank = _whole(config["r"], "r", where)
    alpha = number(config["alpha"], "alpha", where, low=-MAX_FACTOR, high=MAX_FACTOR)
    if version.startswith("adapters."):
        major, minor = (int(part) for part in version.removeprefix("adapters.").split(".")[:2])
        if (major, minor) < (1, 1):
            alpha = float(rank)  # versions before 1.1.0 scaled by 1, whatever the configuration said
    return AdapterShape("lora", rank, "relu", alpha / rank)


def _invertible(config: Mapping[str, Any], where: str) -> float | None:
    """Reduction of the invertible part; files of 2020 have a mapping for it."""
    nested = config.get("invertible_adapter")
    kind = nested["block_type"] if nested else config.get("inv_adapter")
    if not kind:
        return None
    if kind != "nice":
        raise UserError(f"invertible adapters of the kind {kind!r} are not supported", where)
    reduction = nested["reduction_factor"] if nested else config["inv_adapter_reduction_factor"]
    return number(reduction, "the invertible part's reduction_factor", where, low=1 / 64, high=MAX_WIDTH)


def _whole(value: Any, name: str, where: str) -> int:
    return int(number(value, name, where, low=1, high=MAX_WIDTH, whole=True))


def layer_numbers(value: Any, name: str, where: str) -> list[int]:
    """Check a list of layers that a file gives under a name."""
    if not isinstance(value, list):
        raise UserError(f"{name} is no list of layers", where, "correct the configuration")
    return [int(number(i, f"a layer in {name}", where, low=0, high=MAX_LAYER, whole=True)) for i in value]


def _check_keys(config: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    unknown = sorted(set(config) - set(known) - _READ)
    if unknown:
        what = f"unknown key {unknown[0]!r} in the adapter's configuration"
        raise UserError(what, where, "it may change the adapter")


def write_config(config: AdapterConfig) -> dict[str, Any]:
    """The content of an ``adapter_config.json`` that the ``adapters`` library reads."""
    shape = config.shape
    inner: dict[str, Any]
    if shape.kind == "lora":
        inner = {
            "architecture": "lora", **_LORA, "r": shape.bottleneck,
            "alpha": shape.scaling * shape.bottleneck, "dropout": 0.0, "init_weights": "lora",
        }  # fmt: skip
    else:
        factors: Any = _reduction_factor(config.width, shape.bottleneck)
        if config.bottlenecks:
            others = sorted(config.bottlenecks.items())
            factors = {"default": factors} | {str(i): _reduction_factor(config.width, b) for i, b in others}
        inner = {
            "architecture": None, **_PLACEMENTS[shape.kind], "non_linearity": shape.nonlinearity,
            "reduction_factor": factors, "scaling": shape.scaling,
            "inv_adapter": None if config.invertible is None else "nice",
            "inv_adapter_reduction_factor": config.invertible,
        }  # fmt: skip
    kind = {role: theirs for theirs, role in TYPES.items()}.get(config.role)
    return {
        "config": inner | {"leave_out": list(config.leave_out)}, "hidden_size": config.width,
        "model_name": config.encoder, "model_type": config.family, "name": config.name, "type": kind,
        "version": VERSION,
    }  # fmt: skip


def _reduction_factor(width: int, bottleneck: int) -> float:
    """The reduction from which the library's floor division gives this bottleneck.

    ``width / bottleneck`` alone may give one less: 768 // 3.2 is 239.
    """
    factor = width / bottleneck
    while int(width // factor) < bottleneck:
        factor = math.nextafter(factor, 0)
    return factor


def adapter_paths(model_type: str) -> dict[str, str]:
    """Hook -> where AdapterHub keeps its adapters in encoders of a ``model_type``; BERT's if unknown."""
    return dict((family_of(model_type) or Family).adapters_at)


def _layer_names(kind: str, name: str, at: Mapping[str, str]) -> dict[str, str]:
    """Our parameter names of one layer's adapter -> AdapterHub's, with ``{layer}`` for the layer's number.

    The library's names of LoRA are those of BERT and RoBERTa.
    """
    names = _LOW_RANK if kind == "lora" else _ADAPTER
    if kind == "lora":
        places = {f"{p}.": f"encoder.layer.{{layer}}.attention.self.{p}.loras" for p in ("query", "value")}
    elif kind == "houlsby":
        places = {f"{part}.": f"{at[hook]}.adapters" for part, hook in _HOOKS.items()}
    else:
        places = {"": f"{at['output']}.adapters"}
    parts = itertools.product(places.items(), names.items())
    return {part + ours: f"{place}.{name}.{theirs}" for (part, place), (ours, theirs) in parts}


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

    Returns layer -> parameters, and the invertible part's parameters. A tensor that belongs nowhere is an
    error, as that part of the adapter would stay inactive.
    """
    places = {
        re.compile(r"(?:^|.*\.)" + re.escape(theirs).replace(r"\{layer\}", r"(\d{1,9})") + "$"): ours
        for ours, theirs in _layer_names(kind, name, at).items()
    }
    inverse = {theirs: ours for ours, theirs in _invertible_names(name).items()}
    layers: dict[int, dict[str, Tensor]] = {}
    invertible: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        modern = _LEGACY.sub(lambda m: f"{m[1]}_adapters" if m[1] else "adapters", key)
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
