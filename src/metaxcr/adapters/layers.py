"""Adapters in one layer: their interface, the registry of kinds, and stacks of them.

Also the two kinds that adapters are compared with: all weights of a layer are trained, or none.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import torch
from torch import Tensor, nn

from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.encoders.layer import FrozenLayer, Hooks, Norm
from metaxcr.errors import UserError

FULL = "full"  # full fine-tuning of the layers that carry a "task adapter"
NONE = "none"  # no task adapter: only the scorer is trained
OutputHook = Callable[[Tensor, Tensor, Norm], Tensor | None]


@dataclass(frozen=True)
class AdapterShape:
    """Kind and size of the adapters of one stack level."""

    kind: str  # a name in KINDS, FULL or NONE
    bottleneck: int  # width of the bottleneck; LoRA's rank r
    nonlinearity: str = "relu"  # "relu", "gelu", "gelu_new" or "swish"; LoRA has none
    scaling: float = 1.0  # factor on what the adapter adds; LoRA's alpha / r


SIZELESS = {kind: AdapterShape(kind, 0) for kind in (FULL, NONE)}  # shapes of the kinds without a width


class LayerAdapter(nn.Module):
    """One adapter in one layer. The hooks return what the adapter adds there, None for nothing.

    A kind of adapter is a subclass with the constructor ``(width, shape, generator)``, registered under a
    name; fresh ones add zero. Its matrices are called ``down`` and ``up`` (:class:`torch.nn.Linear`), because
    mixtures rely on that. ``shape`` is set by :func:`build_layer`.
    """

    shape: AdapterShape

    def deltas(self) -> dict[str, Tensor]:
        """Added to the layer's own weights, by name; float32."""
        return {}

    def projections(self, hidden: Tensor) -> Tensor | None:
        """Added to query, key and value side by side (tokens, 3 * width), made from ``hidden``."""
        return None

    def attended(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor | None:
        """Added to attention's ``output``; z is that plus its residual, ``norm`` the LayerNorm after it."""
        return None

    def feed_forward(self, hidden: Tensor) -> Tensor | None:
        """Added to the feed-forward output, made from its input ``hidden``."""
        return None

    def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor | None:
        """Added to the feed-forward ``output``; z is that plus its residual, ``norm`` the last LayerNorm."""
        return None


Kind = Callable[[int, AdapterShape, torch.Generator], LayerAdapter]  # (width, shape, generator)
Registered = TypeVar("Registered", bound=Kind)
KINDS: dict[str, Kind] = {}


def register(name: str) -> Callable[[Registered], Registered]:
    """Register a kind of adapter under a value of the setting ``adapters.kind``; a decorator."""

    def add(kind: Registered) -> Registered:
        KINDS[name] = kind
        return kind

    return add


def build_layer(width: int, shape: AdapterShape, generator: torch.Generator) -> LayerAdapter:
    """Build a fresh adapter of a registered kind for one layer; ``generator`` draws its initial weights."""
    if shape.kind not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise UserError(f"unknown kind of adapter {shape.kind!r}", "adapters.kind", f"use one of {known}")
    adapter = KINDS[shape.kind](width, shape, generator)
    adapter.shape = shape
    return adapter


class FullLayer(LayerAdapter):
    """All weights of a layer are trained: the adapter is their change, which is zero at the start.

    The change is float32 and is added to the frozen float32 weights before these are cast, so that updates
    smaller than a bfloat16 weight's last bit are not lost. The frozen encoder stays as it is, for the trunk
    and for the untrained baseline.
    """

    def __init__(self, deltas: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.shape = SIZELESS[FULL]
        self.delta = nn.ParameterDict({name: nn.Parameter(tensor) for name, tensor in deltas.items()})

    @classmethod
    def of(cls, layer: FrozenLayer) -> Self:
        """A fresh one for a layer."""
        return cls({n: torch.zeros_like(w, dtype=torch.float32) for n, w in layer.weights.items()})

    def deltas(self) -> dict[str, Tensor]:
        """See :class:`LayerAdapter`."""
        return dict(self.delta.items())


def fresh_layer(
    encoder: FrozenEncoder, index: int, shape: AdapterShape, generator: torch.Generator
) -> LayerAdapter:
    """Build a fresh task adapter of any kind for layer ``index``, full fine-tuning included."""
    if shape.kind == FULL:
        return FullLayer.of(encoder.original(index))
    return build_layer(encoder.width, shape, generator)


def adapted_layer(
    encoder: FrozenEncoder, index: int, dtype: torch.dtype, adapters: Sequence[LayerAdapter]
) -> FrozenLayer:
    """A layer of the encoder with the adapters' :meth:`~LayerAdapter.deltas` in its weights.

    What adapters add to activations is left to :class:`AdapterStack`. The encoder's own layer stays as it is.
    """
    deltas: dict[str, Tensor] = {}
    for adapter in adapters:
        for name, delta in adapter.deltas().items():
            deltas[name] = deltas[name] + delta if name in deltas else delta
    return encoder.original(index).cast(dtype, deltas) if deltas else encoder.layer(index, dtype)


class AdapterStack(Hooks):
    """Adapters on top of each other in one layer, from below.

    Each sees what the ones below it have added: with z the output of a sub-layer plus its residual,
    z_k = z_(k-1) + what the k-th adapter adds.
    """

    def __init__(self, adapters: Sequence[LayerAdapter]) -> None:
        self._adapters = adapters

    def projections(self, hidden: Tensor, qkv: Tensor) -> Tensor:
        """See :class:`metaxcr.encoders.layer.Hooks`."""
        return _sum(qkv, (adapter.projections(hidden) for adapter in self._adapters))

    def attended(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
        """See :class:`metaxcr.encoders.layer.Hooks`."""
        return _climb([adapter.attended for adapter in self._adapters], z, output, norm)

    def feed_forward(self, hidden: Tensor, output: Tensor) -> Tensor:
        """See :class:`metaxcr.encoders.layer.Hooks`."""
        return _sum(output, (adapter.feed_forward(hidden) for adapter in self._adapters))

    def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
        """See :class:`metaxcr.encoders.layer.Hooks`."""
        return _climb([adapter.output for adapter in self._adapters], z, output, norm)


def _sum(total: Tensor, added: Iterable[Tensor | None]) -> Tensor:
    for part in added:
        total = total if part is None else total + part
    return total


def _climb(hooks: Sequence[OutputHook], z: Tensor, output: Tensor, norm: Norm) -> Tensor:
    """Let adapters add to ``output`` and to z, from below."""
    for position, hook in enumerate(hooks):
        added = hook(z, output, norm)
        if added is None:
            continue
        z = z + added
        if position + 1 < len(hooks):  # no adapter sees the output of the uppermost one
            output = output + added
    return z
