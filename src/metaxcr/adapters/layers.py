"""Adapters in one layer: their interface, the registry of kinds, and mixtures of several sources' adapters.

Also the two kinds that adapters are compared with: all weights of a layer are trained, or none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import torch
from torch import Tensor, nn

from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.encoders.layer import FrozenLayer, Hooks, Norm
from metaxcr.errors import UserError
from metaxcr.hardware import cast_weight

FULL = "full"  # full fine-tuning of the layers that carry a "task adapter"
NONE = "none"  # no task adapter: only the scorer is trained
MIXTURE_WEIGHTS = ".logits"  # end of the names of the weights of the mixture
MIXED = -1  # in place of a source's number: all sources' adapters, mixed


@dataclass(frozen=True)
class AdapterShape:
    """Kind and size of the adapters of one stack level."""

    kind: str  # a name in KINDS, FULL or NONE
    bottleneck: int  # width of the bottleneck; LoRA's rank r
    nonlinearity: str = "relu"  # "relu", "gelu", "gelu_new" or "swish"; LoRA has none
    scaling: float = 1.0  # factor on what the adapter adds; LoRA's alpha / r


SIZELESS = {kind: AdapterShape(kind, 0) for kind in (FULL, NONE)}  # shapes of the kinds without a width


class LayerAdapter(Hooks, nn.Module):
    """One adapter in one layer.

    A kind of adapter is a subclass with the constructor ``(width, shape, generator)``, registered under a
    name; fresh ones add zero. Its matrices are called ``down`` and ``up`` (:class:`torch.nn.Linear`), because
    mixtures rely on that. ``shape`` is set by :func:`build_layer`.
    """

    shape: AdapterShape

    def deltas(self) -> dict[str, Tensor]:
        """Added to the layer's own weights, by name; float32."""
        return {}


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

    What adapters add to activations is left to the stack. The encoder's own layer stays as it is.
    """
    deltas: dict[str, Tensor] = {}
    for adapter in adapters:
        for name, delta in adapter.deltas().items():
            deltas[name] = deltas[name] + delta if name in deltas else delta
    return encoder.original(index).cast(dtype, deltas) if deltas else encoder.layer(index, dtype)


class Mixture(LayerAdapter):
    """One adapter a source task: in one layer, it adds sum_i w_i A_i(x) with w = softmax(logits).

    How MetaXCR mixes its adapters of several sources is not public: this is our reading. What is learned on a
    source's support batch moves that source's adapter alone; queries, the target and inference use the
    mixture, whose weights they learn.

    Source: The weighted sum is ours; Pfeiffer et al. 2021 (AdapterFusion) attend over adapters instead, which
    does not reduce to one adapter.
    """

    def __init__(self, width: int, shape: AdapterShape, generator: torch.Generator, sources: int) -> None:
        super().__init__()
        self.shape = shape
        self.sources = nn.ModuleList([build_layer(width, shape, generator) for _ in range(sources)])
        self.logits = nn.Parameter(torch.zeros(sources))

    def source(self, index: int) -> LayerAdapter:
        """The adapter of one source; :data:`MIXED` is the mixture itself."""
        if index == MIXED:
            return self
        adapter = self.sources[index]
        assert isinstance(adapter, LayerAdapter)
        return adapter

    def projections(self, hidden: Tensor) -> Tensor | None:
        """See :class:`metaxcr.encoders.layer.Hooks`."""
        return self._mixed([a.projections(hidden) for a in self._all()])

    def attended(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor | None:
        """See :class:`metaxcr.encoders.layer.Hooks`."""
        return self._mixed([a.attended(z, output, norm) for a in self._all()])

    def feed_forward(self, hidden: Tensor) -> Tensor | None:
        """See :class:`metaxcr.encoders.layer.Hooks`."""
        return self._mixed([a.feed_forward(hidden) for a in self._all()])

    def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor | None:
        """See :class:`metaxcr.encoders.layer.Hooks`."""
        return self._mixed([a.output(z, output, norm) for a in self._all()])

    def _all(self) -> list[LayerAdapter]:
        return [self.source(i) for i in range(len(self.sources))]

    def _mixed(self, added: list[Tensor | None]) -> Tensor | None:
        tensors = [tensor for tensor in added if tensor is not None]
        if not tensors:
            return None
        weights = cast_weight(torch.softmax(self.logits, dim=0), tensors[0].dtype)
        total = weights[0] * tensors[0]
        for weight, tensor in zip(weights[1:], tensors[1:], strict=True):
            total = total + weight * tensor
        return total


def reduce_mixture(phi: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turn a mixture's parameters into those of the one adapter that computes the same, for inference.

    A weighted sum of bottlenecks is one bottleneck of their summed width: down-projections side by side,
    up-projections side by side each times its weight, biases summed. Exact except for rounding. Parameters
    without a mixture are returned as they are.
    """
    mixtures = [name.removesuffix("logits") for name in phi if name.endswith(".logits")]
    parts_of = tuple(f"{mixture}{part}" for mixture in mixtures for part in ("sources.", "logits"))
    reduced = {name: tensor for name, tensor in phi.items() if not name.startswith(parts_of)}
    for mixture in mixtures:
        weights = torch.softmax(phi[f"{mixture}logits"], dim=0)
        first = f"{mixture}sources.0."
        for name in [n.removeprefix(first) for n in phi if n.startswith(first)]:
            parts = [phi[f"{mixture}sources.{i}.{name}"] for i in range(len(weights))]
            reduced[mixture + name] = _joined(name, parts, weights)
    return reduced


def _joined(name: str, parts: list[Tensor], weights: Tensor) -> Tensor:
    if "down." in name:
        return torch.cat(parts)
    weighted = [w * part for w, part in zip(weights, parts, strict=True)]
    return torch.cat(weighted, dim=1) if name.endswith("weight") else torch.stack(weighted).sum(0)
