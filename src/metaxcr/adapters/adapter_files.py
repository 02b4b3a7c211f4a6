"""Adapters on disk in AdapterHub's layout, and in our own what that has no place for."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from metaxcr.adapters import native_format
from metaxcr.adapters.hub_config import HubConfig, read_config, write_config
from metaxcr.adapters.hub_tensors import from_hub, legacy_role, locations, to_hub
from metaxcr.adapters.invertible import Nice
from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.adapters.layers import FULL, NONE, SIZELESS, FullLayer, LayerAdapter, build_layer
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.encoders.families.family import Family
from metaxcr.encoders.shapes import published
from metaxcr.errors import UserError
from metaxcr.files import replacing, write_atomically
from metaxcr.parse import (
    read_json,
    read_pickled_tensors,
    read_tensors,
)

CONFIG, WEIGHTS, PICKLED = "adapter_config.json", "adapter.safetensors", "pytorch_adapter.bin"
NEEDED = f"an adapter needs {CONFIG} and {WEIGHTS} or {PICKLED}"


@dataclass(frozen=True)
class AdapterFile:
    """An adapter as it is on disk, not yet in an encoder.

    Attributes:
        config: What its configuration says.
        layers: Layer -> parameters under our names.
        invertible: The invertible part's parameters, or None.
        at: Hook -> where AdapterHub keeps the adapters of that hook for this family of encoders.
    """

    config: HubConfig
    layers: dict[int, dict[str, Tensor]]
    invertible: dict[str, Tensor] | None = None
    at: dict[str, str] = field(default_factory=lambda: dict(Family.adapters_at))


def read_adapter(folder: Path) -> AdapterFile:
    """Read an adapter folder: ours, or one that the ``adapters`` library wrote since 2020.

    Nothing is unpickled but tensors.

    Raises:
        UserError: A file is missing, damaged, malformed, or holds what has no place.
    """
    if os.path.exists(folder / native_format.CONFIG):
        return _read_own(folder)
    raw = read_json(folder / CONFIG, NEEDED)
    config = read_config(raw, str(folder / CONFIG))
    tensors = _read_tensors(folder)
    at = locations(config.family)
    layers, invertible = from_hub(config.shape.kind, config.name, tensors, str(folder), at)
    role = config.role or legacy_role(tensors)
    if role == "task" and not invertible:
        config = replace(config, invertible=None)  # task adapters of 2020 name one that they never had
    if (config.invertible is None) != (not invertible):
        told = "has" if invertible else "lacks"
        raise UserError(
            f"the adapter {told} an invertible part, other than its configuration says", str(folder)
        )
    return AdapterFile(replace(config, role=role), layers, invertible or None, at)


def _read_own(folder: Path) -> AdapterFile:
    """Read what :func:`_write_own` wrote."""
    path = folder / native_format.CONFIG
    config = native_format.read_native_config(read_json(path, NEEDED), str(path))
    if config.shape.kind == NONE:
        return AdapterFile(config, {})
    needed = f"an adapter of its kind needs {native_format.CONFIG} and {native_format.WEIGHTS}"
    tensors = _numbers(read_tensors(folder / native_format.WEIGHTS, needed), folder)
    return AdapterFile(config, native_format.from_native(tensors, str(folder / native_format.WEIGHTS)))


def write_adapter(folder: Path, adapter: AdapterFile, *, pickled: bool = False) -> None:
    """Write an adapter folder that this package and, but for the kinds without a width, ``adapters`` read.

    Args:
        folder: Created if missing.
        adapter: Its content; points in its name become underscores, which the library needs.
        pickled: Also write ``pytorch_adapter.bin``, which the library reads unless told otherwise.
    """
    name = adapter.config.name.replace(".", "_")
    config = replace(adapter.config, name=name)
    folder.mkdir(parents=True, exist_ok=True)
    if config.shape.kind in SIZELESS:
        raw, tensors = native_format.to_native(config, adapter.layers)
        if tensors:
            _write_tensors(folder / native_format.WEIGHTS, tensors)
        write_atomically(folder / native_format.CONFIG, json.dumps(raw, indent=2) + "\n")
        return
    tensors = to_hub(config.shape.kind, name, adapter.layers, adapter.invertible, adapter.at)
    _write_tensors(folder / WEIGHTS, tensors)
    if pickled:
        with replacing(folder / PICKLED) as temporary:
            torch.save(tensors, temporary)
    write_atomically(folder / CONFIG, json.dumps(write_config(config), indent=2) + "\n")


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    with replacing(path) as temporary:
        save_file(tensors, temporary)


def pack(
    name: str,
    role: str,
    layers: Mapping[int, LayerAdapter],
    encoder: FrozenEncoder,
    invertible: Nice | None = None,
) -> AdapterFile:
    """Gather modules for :func:`write_adapter`.

    Args:
        name: Of the adapter.
        role: ``"language"`` or ``"task"``.
        layers: Layer -> adapter; none where there is no task adapter.
        encoder: The encoder that it belongs to.
        invertible: On the embeddings, or None.
    """
    shapes = {i: adapter.shape for i, adapter in sorted(layers.items())}
    first = next(iter(shapes.values()), SIZELESS[NONE])
    config = HubConfig(
        name=name,
        role=role,
        encoder=encoder.name,
        family=_model_type(encoder),
        width=encoder.width,
        shape=first,
        bottlenecks={i: s.bottleneck for i, s in shapes.items() if s.bottleneck != first.bottleneck},
        invertible=None if invertible is None else invertible.reduction,
        leave_out=[i for i in range(encoder.depth) if i not in layers],
        layers=None,
    )
    parts = {i: _parameters(adapter) for i, adapter in sorted(layers.items())}
    front = None if invertible is None else _parameters(invertible)
    return AdapterFile(config, parts, front, dict(encoder.family.adapters_at))


def _parameters(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def save_language(folder: Path, name: str, adapter: LanguageAdapter, encoder: FrozenEncoder) -> None:
    """Write a language adapter.

    Args:
        folder: Created if missing.
        name: Of the adapter: the language's ISO 639-1 code.
        adapter: Trained for ``encoder``.
        encoder: The encoder that it belongs to.
    """
    layers = {i: layer for i in adapter.indices if (layer := adapter.at(i)) is not None}
    write_adapter(folder, pack(name, "language", layers, encoder, adapter.invertible))


def load_language(folder: Path, encoder: FrozenEncoder) -> LanguageAdapter:
    """Read a language adapter for an encoder.

    Raises:
        UserError: It is a task adapter, is incomplete, or does not fit the encoder.
    """
    file = read_adapter(folder)
    if file.config.role == "task":
        raise UserError(
            "a task adapter was given as a language adapter", str(folder), "give one of type text_lang"
        )
    return LanguageAdapter(fit(file, encoder, folder), front(file, folder))


def load_task(folder: Path, encoder: FrozenEncoder) -> dict[int, LayerAdapter]:
    """Read a task adapter for an encoder: layer -> adapter.

    Raises:
        UserError: It is a language adapter, is incomplete, or does not fit the encoder.
    """
    file = read_adapter(folder)
    if file.config.role == "language" or file.invertible is not None:
        raise UserError(
            "a language adapter was given as a task adapter", str(folder), "give one of type text_task"
        )
    return fit(file, encoder, folder)


def fit(file: AdapterFile, encoder: FrozenEncoder, folder: Path) -> dict[int, LayerAdapter]:
    """Turn an adapter's tensors into modules of an encoder: layer -> adapter.

    Args:
        file: From :func:`read_adapter`.
        encoder: The encoder that it goes into.
        folder: For messages.

    Raises:
        UserError: It was made for another encoder, or part of it would stay inactive.
    """
    check_encoder(file, encoder.name, encoder.family.model_types, encoder.width, encoder.depth, folder)
    adapters = modules(file, folder)
    for layer, adapter in adapters.items():
        if isinstance(adapter, FullLayer):  # its shapes are those of the encoder's own weights
            _check_shapes(
                dict(adapter.named_parameters()),
                FullLayer.of(encoder.original(layer)),
                f"layer {layer}",
                folder,
            )
    return adapters


def modules(file: AdapterFile, folder: Path) -> dict[int, LayerAdapter]:
    """Turn an adapter's tensors into modules: layer -> adapter.

    Raises:
        UserError: A tensor is missing or of another shape than the configuration says.
    """
    adapters: dict[int, LayerAdapter] = {}
    for layer, parts in sorted(file.layers.items()):
        if file.config.shape.kind == FULL:
            adapters[layer] = FullLayer({n.removeprefix("delta."): t.float() for n, t in parts.items()})
            continue
        shape = replace(file.config.shape, bottleneck=file.config.bottleneck(layer))
        _check_room(parts, file.config.width * shape.bottleneck, f"layer {layer}", folder)
        adapters[layer] = build_layer(file.config.width, shape, torch.Generator())
        _fill(adapters[layer], parts, f"layer {layer}", folder)
    return adapters


def front(file: AdapterFile, folder: Path) -> Nice | None:
    """Turn the tensors of the invertible part into a module; None without one.

    Raises:
        UserError: As for :func:`modules`.
    """
    config, reduction = file.config, file.config.invertible
    if file.invertible is None or reduction is None:
        return None
    half = config.width // 2
    _check_room(file.invertible, half * int(half // reduction), "the invertible part", folder)
    invertible = Nice(config.width, reduction, config.shape.nonlinearity, torch.Generator())
    _fill(invertible, file.invertible, "the invertible part", folder)
    return invertible


def _check_room(parts: Mapping[str, Tensor], size: int, place: str, folder: Path) -> None:
    """Refuse a configuration that asks for more than the file holds, before memory is taken for it."""
    if size < 1 or size > sum(tensor.numel() for tensor in parts.values()):
        raise UserError(f"the adapter's weights in {place} are incomplete or misshapen", str(folder))


def _fill(module: torch.nn.Module, parts: dict[str, Tensor], place: str, folder: Path) -> None:
    _check_shapes(parts, module, place, folder)
    module.load_state_dict({name: tensor.float() for name, tensor in parts.items()})


def _check_shapes(parts: Mapping[str, Tensor], module: torch.nn.Module, place: str, folder: Path) -> None:
    expected = {name: p.shape for name, p in module.named_parameters()}
    if {name: tensor.shape for name, tensor in parts.items()} != expected:
        raise UserError(f"the adapter's weights in {place} are incomplete or misshapen", str(folder))


def check_encoder(
    file: AdapterFile, name: str, model_types: Sequence[str], width: int, depth: int, folder: Path
) -> None:
    """Refuse an adapter of another encoder, also where it would fit: of two of one size, it belongs to one.

    Args:
        file: From :func:`read_adapter`.
        name: Of the encoder.
        model_types: What ``model_type`` may be in its family.
        width: Of its token vectors.
        depth: Number of its layers.
        folder: For messages.

    Raises:
        UserError: It was made for another encoder, or lacks layers that it should have.
    """
    config = file.config
    if config.width != width:
        raise UserError(
            f"the adapter (width {config.width}) does not fit {name} (width {width})",
            str(folder),
            f"it was made for {config.encoder or 'another encoder'}",
        )
    names = [config.encoder, name]
    others = all(_hub_like(name) for name in names) and len({n.rpartition("/")[2] for n in names}) > 1
    if others or (config.family and config.family not in model_types):
        raise UserError(
            f"the adapter was made for {config.encoder or config.family}, "
            f"the encoder is {name} ({model_types[0]})",
            str(folder),
            "give an adapter of this encoder",
        )
    wanted = config.layers
    if wanted is None:
        wanted = [i for i in range(depth) if i not in config.leave_out]
    if sorted(file.layers) != sorted(wanted):
        raise UserError(
            f"the adapter has weights in layers {sorted(file.layers)}, not in {sorted(wanted)}",
            str(folder),
            f"it is incomplete, or not made for the {depth} layers of {name}",
        )


def _model_type(encoder: FrozenEncoder) -> str:
    """The ``model_type`` of an encoder; empty where its family has several and its name does not tell."""
    known = published(encoder.name)
    if known is not None:
        return str(known.config["model_type"])
    types = encoder.family.model_types
    return types[0] if len(types) == 1 else ""


def _hub_like(name: str) -> bool:
    """Whether an encoder's name identifies it, as a folder's does not."""
    return (
        bool(name)
        and name.count("/") < 2
        and not name.startswith((".", "/", "~"))
        and not os.path.isdir(name)
    )


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    if os.path.exists(folder / WEIGHTS) or not os.path.exists(folder / PICKLED):
        return _numbers(read_tensors(folder / WEIGHTS, NEEDED), folder)
    return _numbers(read_pickled_tensors(folder / PICKLED, NEEDED), folder)


def _numbers(tensors: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Insist on weights: floating-point numbers."""
    odd = next((name for name, tensor in tensors.items() if not tensor.is_floating_point()), None)
    if odd is not None:
        raise UserError(f"the adapter's tensor {odd!r} holds no weights", str(folder), "give another file")
    return tensors


ADAPTERS = "adapters"


def language_folder(folder: Path, language: str) -> Path:
    """Where a run or a saved model keeps its copy of a language adapter."""
    return folder / ADAPTERS / f"lang.{language}"
