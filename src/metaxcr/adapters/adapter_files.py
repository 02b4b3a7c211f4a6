"""Adapters on disk: in AdapterHub's layout, and in a native one for the kinds that it has no format for.

Those are changed weights of whole layers, and no adapter at all.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from metaxcr.adapters import adapterhub
from metaxcr.adapters.adapterhub import MAX_WIDTH, AdapterConfig, layer_numbers
from metaxcr.adapters.language_adapter import InvertibleAdapter, LanguageAdapter
from metaxcr.adapters.layers import FULL, NONE, SIZELESS, FullLayer, LayerAdapter, build_layer
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.encoders.families.family import Family
from metaxcr.encoders.shapes import known_encoder
from metaxcr.errors import UserError
from metaxcr.files import replacing, write_atomically
from metaxcr.parse import digits_value, number, read_json, read_pickled_tensors, read_tensors

ADAPTERS = "adapters"
CONFIG, WEIGHTS, PICKLED = "adapter_config.json", "adapter.safetensors", "pytorch_adapter.bin"
NATIVE_CONFIG, NATIVE_WEIGHTS, NATIVE_VERSION = "layers_config.json", "layers.safetensors", 1
NEEDED = f"an adapter needs {CONFIG} and {WEIGHTS} or {PICKLED}"
NATIVE_NEEDED = f"an adapter of its kind needs {NATIVE_CONFIG} and {NATIVE_WEIGHTS}"
Layers = dict[int, dict[str, Tensor]]  # layer -> parameters under our names
Built = TypeVar("Built", bound=nn.Module)


@dataclass(frozen=True)
class AdapterFile:
    """An adapter as it is on disk, not yet in an encoder."""

    config: AdapterConfig
    layers: Layers
    invertible: dict[str, Tensor] | None = None  # the invertible part's parameters, or None
    # hook -> where AdapterHub keeps the adapters of that hook for this family of encoders
    at: dict[str, str] = field(default_factory=lambda: dict(Family.adapters_at))


def language_folder(folder: Path, language: str) -> Path:
    """Where a run or a saved model keeps its copy of a language adapter."""
    return folder / ADAPTERS / f"lang.{language}"


def read_adapter(folder: Path) -> AdapterFile:
    """Read an adapter folder: ours, or one that the ``adapters`` library wrote since 2020.

    Nothing is unpickled except tensors. A file that is missing, damaged or malformed, and a tensor that
    belongs nowhere, are errors.
    """
    if os.path.exists(folder / NATIVE_CONFIG):
        return _read_native(folder)
    config = adapterhub.read_config(read_json(folder / CONFIG, NEEDED), str(folder / CONFIG))
    if os.path.exists(folder / WEIGHTS) or not os.path.exists(folder / PICKLED):
        tensors = read_tensors(folder / WEIGHTS, NEEDED)
    else:
        tensors = read_pickled_tensors(folder / PICKLED, NEEDED)
    _check_floating(tensors, folder)
    at = adapterhub.adapter_paths(config.family)
    layers, invertible = adapterhub.from_hub(config.shape.kind, config.name, tensors, str(folder), at)
    role = config.role or adapterhub.legacy_role(tensors)
    if role == "task" and not invertible:
        config = replace(config, invertible=None)  # task adapters of 2020 name one that they never had
    if (config.invertible is None) != (not invertible):
        has, says = ("has", "without one") if invertible else ("lacks", "with one")
        raise UserError(f"the adapter {has} an invertible part, its configuration is {says}", str(folder))
    return AdapterFile(replace(config, role=role), layers, invertible or None, at)


def _read_native(folder: Path) -> AdapterFile:
    config_path, weights_path = folder / NATIVE_CONFIG, folder / NATIVE_WEIGHTS
    config = _native_config(read_json(config_path, NEEDED), str(config_path))
    layers: Layers = {}
    if config.shape.kind != NONE:
        tensors = read_tensors(weights_path, NATIVE_NEEDED)
        _check_floating(tensors, folder)
        for key, tensor in tensors.items():
            layer, dot, name = key.partition(".")
            at = digits_value(layer)
            if at is None or not dot:
                raise UserError(f"the adapter has a tensor {key!r} that has no place", str(weights_path))
            layers.setdefault(at, {})[name] = tensor
    return AdapterFile(config, layers)


def _native_config(raw: Any, where: str) -> AdapterConfig:
    try:
        kind, layers = raw["kind"], layer_numbers(raw["layers"], "layers", where)
        known = raw["version"] == NATIVE_VERSION and kind in SIZELESS and (kind == NONE) == (not layers)
        name, encoder, family = (str(raw[key]) for key in ("name", "model_name", "model_type"))
        width = int(number(raw["hidden_size"], "hidden_size", where, low=1, high=MAX_WIDTH, whole=True))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"the adapter's configuration is malformed: {error!r}", where) from error
    if not known:
        raise UserError("the adapter's configuration is of an unknown version or kind", where)
    return AdapterConfig(name, "task", encoder, family, width, SIZELESS[kind], layers=layers)


def _check_floating(tensors: Mapping[str, Tensor], folder: Path) -> None:
    odd = next((name for name, tensor in tensors.items() if not tensor.is_floating_point()), None)
    if odd is not None:
        raise UserError(f"the adapter's tensor {odd!r} holds no weights", str(folder), "give another file")


def write_adapter(folder: Path, adapter: AdapterFile, *, pickled: bool = False) -> None:
    """Write an adapter folder that this package and, except for the kinds without a width, ``adapters`` read.

    Dots in its name become underscores, as the library requires. With ``pickled`` it also gets the file
    ``pytorch_adapter.bin``, which the library reads by default.
    """
    name = adapter.config.name.replace(".", "_")
    config = replace(adapter.config, name=name)
    folder.mkdir(parents=True, exist_ok=True)
    if config.shape.kind in SIZELESS:
        raw = {
            "version": NATIVE_VERSION, "kind": config.shape.kind, "name": name, "model_name": config.encoder,
            "model_type": config.family, "hidden_size": config.width, "layers": sorted(adapter.layers),
        }  # fmt: skip
        parts = [(layer, *item) for layer, tensors in adapter.layers.items() for item in tensors.items()]
        tensors = {f"{layer}.{part}": tensor.contiguous() for layer, part, tensor in parts}
        config_path, weights_path = folder / NATIVE_CONFIG, folder / NATIVE_WEIGHTS
    else:
        raw = adapterhub.write_config(config)
        tensors = adapterhub.to_hub(config.shape.kind, name, adapter.layers, adapter.invertible, adapter.at)
        config_path, weights_path = folder / CONFIG, folder / WEIGHTS
    if tensors:
        with replacing(weights_path) as temporary:
            save_file(tensors, temporary)
    if pickled:
        with replacing(folder / PICKLED) as temporary:
            torch.save(tensors, temporary)
    write_atomically(config_path, json.dumps(raw, indent=2) + "\n")


def pack_adapter(
    name: str,
    role: str,
    layers: Mapping[int, LayerAdapter],
    encoder: FrozenEncoder,
    invertible: InvertibleAdapter | None = None,
) -> AdapterFile:
    """Gather modules for :func:`write_adapter`; ``role`` is ``"language"`` or ``"task"``."""
    shapes = {i: adapter.shape for i, adapter in sorted(layers.items())}
    first = next(iter(shapes.values()), SIZELESS[NONE])
    config = AdapterConfig(
        name=name,
        role=role,
        encoder=encoder.name,
        family=_model_type(encoder),
        width=encoder.width,
        shape=first,
        bottlenecks={i: s.bottleneck for i, s in shapes.items() if s.bottleneck != first.bottleneck},
        invertible=None if invertible is None else invertible.reduction,
        leave_out=[i for i in range(encoder.depth) if i not in layers],
    )
    parts = {i: _parameters(adapter) for i, adapter in sorted(layers.items())}
    front = None if invertible is None else _parameters(invertible)
    return AdapterFile(config, parts, front, dict(encoder.family.adapters_at))


def _model_type(encoder: FrozenEncoder) -> str:
    """The ``model_type`` of an encoder; empty if its family has several and its name does not say which."""
    known, types = known_encoder(encoder.name), encoder.family.model_types
    return str(known.config["model_type"]) if known else types[0] if len(types) == 1 else ""


def _parameters(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def save_language(folder: Path, name: str, adapter: LanguageAdapter, encoder: FrozenEncoder) -> None:
    """Write a language adapter of ``encoder``; ``name`` is the language's ISO 639-1 code."""
    write_adapter(folder, pack_adapter(name, "language", adapter.by_layer, encoder, adapter.invertible))


def load_language(folder: Path, encoder: FrozenEncoder) -> LanguageAdapter:
    """Read a language adapter for an encoder; one that is incomplete or does not fit is an error."""
    file = read_adapter(folder)
    if file.config.role == "task":
        what = "a task adapter was given as a language adapter"
        raise UserError(what, str(folder), "give one of type text_lang")
    return LanguageAdapter(build_for(file, encoder, folder), build_invertible(file, folder))


def load_task(folder: Path, encoder: FrozenEncoder) -> dict[int, LayerAdapter]:
    """Read a task adapter for an encoder: layer -> adapter; one that does not fit is an error."""
    file = read_adapter(folder)
    if file.config.role == "language" or file.invertible is not None:
        what = "a language adapter was given as a task adapter"
        raise UserError(what, str(folder), "give one of type text_task")
    return build_for(file, encoder, folder)


def build_for(file: AdapterFile, encoder: FrozenEncoder, folder: Path) -> dict[int, LayerAdapter]:
    """Build an adapter's modules for an encoder that it must fit: layer -> adapter."""
    check_encoder(file, encoder, folder)
    adapters = build_layers(file, folder)
    for layer, adapter in adapters.items():
        if isinstance(adapter, FullLayer):  # its shapes are those of the encoder's own weights
            expected = FullLayer.of(encoder.original(layer))
            if _shapes(adapter) != _shapes(expected):
                raise _misshapen(f"layer {layer}", folder)
    return adapters


def build_layers(file: AdapterFile, folder: Path) -> dict[int, LayerAdapter]:
    """Build an adapter's modules, whatever the encoder: layer -> adapter."""
    adapters: dict[int, LayerAdapter] = {}
    for layer, parts in sorted(file.layers.items()):
        if file.config.shape.kind == FULL:
            adapters[layer] = FullLayer({n.removeprefix("delta."): t.float() for n, t in parts.items()})
            continue
        width, place = file.config.width, f"layer {layer}"
        shape = replace(file.config.shape, bottleneck=file.config.bottleneck(layer))
        _check_size(parts, width * shape.bottleneck, place, folder)
        adapters[layer] = _filled(build_layer(width, shape, torch.Generator()), parts, place, folder)
    return adapters


def build_invertible(file: AdapterFile, folder: Path) -> InvertibleAdapter | None:
    """Build the invertible part; None without one. Raises as :func:`build_layers`."""
    config, reduction = file.config, file.config.invertible
    if file.invertible is None or reduction is None:
        return None
    half, place = config.width // 2, "the invertible part"
    _check_size(file.invertible, half * int(half // reduction), place, folder)
    fresh = InvertibleAdapter(config.width, reduction, config.shape.nonlinearity, torch.Generator())
    return _filled(fresh, file.invertible, place, folder)


def _check_size(parts: Mapping[str, Tensor], size: int, place: str, folder: Path) -> None:
    """Refuse a configuration that needs more than the file holds, before memory is allocated for it."""
    if size < 1 or size > sum(tensor.numel() for tensor in parts.values()):
        raise _misshapen(place, folder)


def _filled(module: Built, parts: Mapping[str, Tensor], place: str, folder: Path) -> Built:
    if _shapes(module) != {name: tensor.shape for name, tensor in parts.items()}:
        raise _misshapen(place, folder)
    module.load_state_dict({name: tensor.float() for name, tensor in parts.items()})
    return module


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in module.named_parameters()}


def _misshapen(place: str, folder: Path) -> UserError:
    return UserError(f"the adapter's weights in {place} are incomplete or misshapen", str(folder))


def check_encoder(file: AdapterFile, encoder: FrozenEncoder, folder: Path) -> None:
    """Refuse an adapter of another encoder, even one of the same size, or one with missing layers."""
    config, name, depth = file.config, encoder.name, encoder.depth
    if config.width != encoder.width:
        what = f"the adapter (width {config.width}) does not fit {name} (width {encoder.width})"
        raise UserError(what, str(folder), f"it was made for {config.encoder or 'another encoder'}")
    names, types = [config.encoder, name], encoder.family.model_types
    others = all(_is_hub_name(name) for name in names) and len({n.rpartition("/")[2] for n in names}) > 1
    if others or (config.family and config.family not in types):
        made_for = f"the adapter was made for {config.encoder or config.family}"
        what = f"{made_for}, the encoder is {name} ({types[0]})"
        raise UserError(what, str(folder), "give an adapter of this encoder")
    wanted, found = config.layers, sorted(file.layers)
    if wanted is None:
        wanted = [i for i in range(depth) if i not in config.leave_out]
    if found != sorted(wanted):
        what = f"the adapter has weights in layers {found}, not in {sorted(wanted)}"
        raise UserError(what, str(folder), f"it is incomplete, or not made for the {depth} layers of {name}")


def _is_hub_name(name: str) -> bool:
    """Whether a name identifies an encoder, as a folder's name does not."""
    local = name.startswith((".", "/", "~")) or os.path.isdir(name)
    return bool(name) and name.count("/") < 2 and not local
