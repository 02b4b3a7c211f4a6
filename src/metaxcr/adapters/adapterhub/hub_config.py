"""AdapterHub's ``adapter_config.json``: read in its old and new spellings, written in the new one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metaxcr.adapters.bottleneck import NONLINEARITIES
from metaxcr.adapters.layers import AdapterShape
from metaxcr.errors import UserError
from metaxcr.parse import number

VERSION = "adapters.1.3.0"  # whose format is written; a file without a version is of 2020 or 2021
MAX_WIDTH, MAX_LAYER, MAX_FACTOR = 2**16, 10**4, 1e6
TYPES = {"text_lang": "language", "text_task": "task"}
_RENAMED = {  # spelling of 2020 -> now
    "LN_after": "ln_after", "LN_before": "ln_before", "MH_Adapter": "mh_adapter",
    "Output_Adapter": "output_adapter",
}  # fmt: skip
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
# Keys without effect here: about training, or defaults of what is switched off.
_IDLE = {
    "architecture", "attention_type", "new_attention_norm", "init_weights", "init_weights_seed", "dropout",
    "stochastic_depth", "phm_dim", "factorized_phm_W", "shared_W_phm", "shared_phm_rule",
    "factorized_phm_rule", "phm_c_init", "phm_init_range", "learn_phm", "hypercomplex_nonlinearity",
    "phm_rank", "phm_bias", "dtype",
}  # fmt: skip
_READ = {
    "non_linearity", "reduction_factor", "scaling", "inv_adapter", "inv_adapter_reduction_factor",
    "invertible_adapter", "leave_out", "layers", "r", "alpha",
}  # fmt: skip


@dataclass(frozen=True)
class AdapterConfig:
    """The configuration of an adapter."""

    name: str
    role: str  # "language", "task", or empty if the file does not say
    encoder: str  # name of the encoder that it was made for; may be empty
    family: str  # model_type of that encoder; may be empty
    width: int  # width of its token vectors
    shape: AdapterShape  # kind and size; the bottleneck is that of most layers
    bottlenecks: dict[int, int]  # layer -> width of its bottleneck, where they differ
    invertible: float | None
    leave_out: list[int]  # layers without an adapter
    layers: list[int] | None  # layers with an adapter, in files of this package's first version; else None

    def bottleneck(self, layer: int) -> int:
        """Width of the bottleneck in a layer."""
        return self.bottlenecks.get(layer, self.shape.bottleneck)


def read_config(raw: Any, where: str) -> AdapterConfig:
    """Parse the content of an ``adapter_config.json``.

    A UserError if a key is missing or unknown, or the adapter is of an unsupported kind.
    """
    try:
        name, width, inner = raw["name"], _whole(raw["hidden_size"], "hidden_size", where), raw["config"]
    except (KeyError, TypeError) as error:
        raise UserError(f"the adapter's configuration lacks {error}", where) from error
    for key in ("name", "type", "model_name", "model_type", "version"):
        if not isinstance(raw.get(key), str) and (key == "name" or raw.get(key) is not None):
            raise UserError(f"the adapter's {key!r} is no text", where, "correct the configuration")
    if isinstance(inner, str):
        if inner not in _NAMED:
            raise UserError(f"unknown adapter configuration {inner!r}", where)
        inner = _NAMED[inner]
    if not isinstance(inner, dict):
        raise UserError("the adapter's configuration is no mapping", where)
    config = {_RENAMED.get(str(key), str(key)): value for key, value in inner.items()}
    old = "version" not in raw and "layers" not in config
    bottlenecks: dict[int, int] = {}
    try:
        if config.get("architecture") == "lora":
            shape = _lora_shape(config, raw.get("version") or "", where)
        else:
            shape, bottlenecks = _bottleneck_shape(config, width, old=old, where=where)
        return AdapterConfig(
            name=name,
            role=TYPES.get(raw.get("type") or "", ""),
            encoder=raw.get("model_name") or "",
            family=raw.get("model_type") or "",
            width=width,
            shape=shape,
            bottlenecks=bottlenecks,
            invertible=_invertible(config, where),
            leave_out=layer_numbers(config.get("leave_out") or [], "leave_out", where),
            layers=None if config.get("layers") is None else layer_numbers(config["layers"], "layers", where),
        )
    except KeyError as error:
        raise UserError(f"the adapter's configuration lacks {error}", where) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"the adapter's configuration is malformed: {error}", where) from error


def _bottleneck_shape(
    config: dict[str, Any], width: int, *, old: bool, where: str
) -> tuple[AdapterShape, dict[int, int]]:
    """The shape of a bottleneck adapter, and the layers whose bottleneck is of another width."""
    _check_keys(config, set(_PFEIFFER), where)
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
    name = {"gelu": "gelu_new", "gelu_orig": "gelu"}.get(name, name) if old else name
    name = {"silu": "swish"}.get(name, name)
    if name not in NONLINEARITIES:
        raise UserError(f"the adapter's non-linearity {name!r} is not supported", where)
    scaling = config.get("scaling", 1.0)
    if isinstance(scaling, str):
        raise UserError(f"an adapter with {scaling[:40]} scaling is not supported", where)
    scaling = number(scaling, "scaling", where, low=-MAX_FACTOR, high=MAX_FACTOR)
    factors = config["reduction_factor"]
    factors = factors if isinstance(factors, Mapping) else {"default": factors}
    widths = {key: _bottleneck_width(width, value, where) for key, value in factors.items()}
    default = widths.pop("default", 0)
    return AdapterShape(kind, default, name, scaling), {int(key): value for key, value in widths.items()}


def _bottleneck_width(width: int, factor: Any, where: str) -> int:
    """Round like the library, except that a quotient within rounding of a whole number is that number."""
    factor = number(factor, "reduction_factor", where, low=width / MAX_WIDTH, high=width)
    exact = width / factor
    return round(exact) if math.isclose(exact, round(exact), rel_tol=1e-9) else int(width // factor)


def _lora_shape(config: dict[str, Any], version: str, where: str) -> AdapterShape:
    _check_keys(config, set(_LORA), where)
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


def _invertible(config: dict[str, Any], where: str) -> float | None:
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


def _check_keys(config: dict[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(config) - known - _READ - _IDLE)
    if unknown:
        raise UserError(
            f"unknown key {unknown[0]!r} in the adapter's configuration", where, "it may change the adapter"
        )


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
            factors = {"default": factors} | {
                str(i): _reduction_factor(config.width, b) for i, b in sorted(config.bottlenecks.items())
            }
        inner = {
            "architecture": None, **_PLACEMENTS[shape.kind], "non_linearity": shape.nonlinearity,
            "reduction_factor": factors, "scaling": shape.scaling,
            "inv_adapter": None if config.invertible is None else "nice",
            "inv_adapter_reduction_factor": config.invertible,
        }  # fmt: skip
    names = {role: theirs for theirs, role in TYPES.items()}
    return {
        "config": inner | {"leave_out": config.leave_out},
        "hidden_size": config.width,
        "model_name": config.encoder,
        "model_type": config.family,
        "name": config.name,
        "type": names.get(config.role),
        "version": VERSION,
    }


def _reduction_factor(width: int, bottleneck: int) -> float:
    """The reduction from which the library's floor division gives this bottleneck.

    ``width / bottleneck`` alone may give one less: 768 // 3.2 is 239.
    """
    factor = width / bottleneck
    while int(width // factor) < bottleneck:
        factor = math.nextafter(factor, 0)
    return factor
