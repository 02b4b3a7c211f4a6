"""The multi-source adapter: one adapter a source task and a learned mixture of them.

How MetaXCR mixes its adapters of several sources is not public: this is our reading. What is learned on a
source's support batch moves that source's adapter alone; queries, the target and inference use the mixture,
whose weights they learn.
"""

import torch
from torch import Tensor, nn

from metaxcr.adapters.layers import AdapterShape, LayerAdapter, build_layer
from metaxcr.encoders.layer import Norm
from metaxcr.hardware import cast_weight

MIXTURE_WEIGHTS = ".logits"  # end of the names of the weights of the mixture
MIXED = -1  # in place of a source's number: all sources' adapters, mixed


class Mixture(LayerAdapter):
    """In one layer, it adds sum_i w_i A_i(x) over all sources' adapters, with w = softmax(logits).

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
        """See :class:`metaxcr.adapters.layers.LayerAdapter`."""
        return self._mixed([a.projections(hidden) for a in self._all()])

    def attended(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor | None:
        """See :class:`metaxcr.adapters.layers.LayerAdapter`."""
        return self._mixed([a.attended(z, output, norm) for a in self._all()])

    def feed_forward(self, hidden: Tensor) -> Tensor | None:
        """See :class:`metaxcr.adapters.layers.LayerAdapter`."""
        return self._mixed([a.feed_forward(hidden) for a in self._all()])

    def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor | None:
        """See :class:`metaxcr.adapters.layers.LayerAdapter`."""
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
    reduced, mixtures = {}, [name.removesuffix("logits") for name in phi if name.endswith(".logits")]
    for name, tensor in phi.items():
        if not any(name.startswith((f"{m}sources.", f"{m}logits")) for m in mixtures):
            reduced[name] = tensor
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
