"""A language adapter: one adapter in each of its layers and, usually, an invertible one on the embeddings.

It is trained by masked-language modelling only and frozen everywhere else, so the part of it below the first
task adapter belongs to the trunk.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from metaxcr.adapters.bottleneck import Bottleneck
from metaxcr.adapters.layers import AdapterShape, LayerAdapter, build_layer
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.encoders.layer import AdapterStack, Context

MAD_X_REDUCTION = 2  # of language adapters in MAD-X; the `adapters` library's own default is 16


class InvertibleAdapter(nn.Module):
    """y1 = x1 + F(x2), y2 = x2 + G(y1) on the halves of each vector; undone exactly by subtraction.

    It adapts the embeddings to a language's words, and its inverse stands before the language-modelling head
    whose weights are the embeddings'. A fresh one is the identity. ``reduction`` is the width of a half over
    the width of F's and G's bottlenecks.

    Source: Dinh et al. 2015 (NICE), section 3.2; Pfeiffer et al. 2020 (MAD-X), section 3.3.
    """

    def __init__(self, width: int, reduction: float, nonlinearity: str, generator: torch.Generator) -> None:
        super().__init__()
        self.first = width // 2
        self.reduction, self.nonlinearity = reduction, nonlinearity
        second = width - self.first
        self.F = Bottleneck(second, int(second // reduction), nonlinearity, generator, self.first)
        self.G = Bottleneck(self.first, int(self.first // reduction), nonlinearity, generator, second)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings to adapted embeddings: (tokens, width) to (tokens, width)."""
        x1, x2 = x[:, : self.first], x[:, self.first :]
        y1 = x1 + self.F(x2)
        return torch.cat([y1, x2 + self.G(y1)], dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        """The inverse of :meth:`forward`."""
        y1, y2 = y[:, : self.first], y[:, self.first :]
        x2 = y2 - self.G(y1)
        return torch.cat([y1 - self.F(x2), x2], dim=1)


class LanguageAdapter(nn.Module):
    """The adapters of one language by layer, and the invertible one on the embeddings or None."""

    def __init__(
        self, layers: Mapping[int, LayerAdapter], invertible: InvertibleAdapter | None = None
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({str(i): adapter for i, adapter in sorted(layers.items())})
        self.invertible = invertible
        self._checksums: dict[int, str] = {}

    @classmethod
    def create(
        cls,
        encoder: FrozenEncoder,
        generator: torch.Generator,
        *,
        layers: Sequence[int] | None = None,
        shape: AdapterShape | None = None,
        invertible_reduction: float | None = MAD_X_REDUCTION,
    ) -> Self:
        """Build a fresh, trainable language adapter that changes nothing yet; default: MAD-X's in all layers.

        ``invertible_reduction`` is that of the invertible adapter on the embeddings; None: there is none.
        """
        shape = shape or AdapterShape("pfeiffer", encoder.width // MAD_X_REDUCTION)
        indices = range(encoder.depth) if layers is None else layers
        modules = {i: build_layer(encoder.width, shape, generator) for i in indices}
        invertible = None
        if invertible_reduction is not None:
            invertible = InvertibleAdapter(encoder.width, invertible_reduction, shape.nonlinearity, generator)
        return cls(modules, invertible)

    @property
    def by_layer(self) -> dict[int, LayerAdapter]:
        """Layer -> its adapter, ascending."""
        return {int(key): layer for key, layer in self.layers.items() if isinstance(layer, LayerAdapter)}

    @property
    def indices(self) -> list[int]:
        """Layers that carry an adapter, ascending."""
        return list(self.by_layer)

    @property
    def width(self) -> int:
        """Width of the token vectors that it takes."""
        return next(p.shape[1] for n, p in self.layers.named_parameters() if n.endswith("down.weight"))

    def hooks(self, index: int) -> AdapterStack:
        """The hooks of a layer in which no other adapter acts."""
        adapter = self.by_layer.get(index)
        return AdapterStack([] if adapter is None else [adapter])

    def trunk(
        self, encoder: FrozenEncoder, embedded: Tensor, context: Context, dtype: torch.dtype, stop: int
    ) -> Tensor:
        """Run layers 0 to ``stop - 1`` with this adapter on embeddings: (tokens, width) in ``dtype``.

        For a language-modelling head, see :meth:`before_head`.
        """
        hidden = embedded if self.invertible is None else self.invertible(embedded)
        return encoder.apply(hidden.to(dtype), context, range(stop), self.hooks)

    def before_head(self, hidden: Tensor) -> Tensor:
        """Undo the invertible part before a head whose weights are the embeddings': (tokens, width)."""
        if self.invertible is None:
            return hidden
        undone: Tensor = self.invertible.inverse(hidden)
        return undone

    def checksum(self, stop: int) -> str:
        """Identity of what acts below layer ``stop``; empty if nothing does.

        Computed once: only call it on a frozen adapter.
        """
        if stop not in self._checksums:
            digest, lower = hashlib.sha256(), {i: a for i, a in self.by_layer.items() if i < stop}
            if not lower and self.invertible is None:
                return ""
            for index, adapter in lower.items():
                digest.update(f"{index} {adapter.shape}".encode())
                _update(digest, adapter)
            if self.invertible is not None:
                digest.update(f"nice {self.invertible.nonlinearity}".encode())
                _update(digest, self.invertible)
            self._checksums[stop] = digest.hexdigest()
        return self._checksums[stop]


def _update(digest: "hashlib._Hash", module: nn.Module) -> None:
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(memoryview(tensor.detach().cpu().contiguous().numpy()).cast("B"))
