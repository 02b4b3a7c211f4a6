"""The invertible adapter on the embeddings: an additive (NICE) coupling of their two halves."""

import torch
from torch import Tensor, nn

from metaxcr.adapters.bottleneck import Bottleneck


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
