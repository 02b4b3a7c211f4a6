"""LoRA: a low-rank change of the query and value projections."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaxcr.adapters.layers import AdapterShape, LayerAdapter, register
from metaxcr.hardware import cast_weight


class LowRank(nn.Module):
    """x A' B' with A (rank, width) and B (width, rank); zero at the start because B is."""

    def __init__(self, width: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width, bias=False)
        nn.init.normal_(self.down.weight, std=width**-0.5, generator=generator)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (tokens, width) to (tokens, width) in the dtype of ``x``."""
        inner = F.linear(x, cast_weight(self.down.weight, x.dtype))
        return F.linear(inner, cast_weight(self.up.weight, x.dtype))


@register("lora")
class LoRA(LayerAdapter):
    """Query and value projections get W + (alpha / r) B A; nothing is added to the key's.

    ``shape.bottleneck`` is r, ``shape.scaling`` is alpha / r.

    Source: Hu et al. 2022 (ICLR), section 4.1.
    """

    def __init__(self, width: int, shape: AdapterShape, generator: torch.Generator) -> None:
        super().__init__()
        self.query = LowRank(width, shape.bottleneck, generator)
        self.value = LowRank(width, shape.bottleneck, generator)

    def projections(self, hidden: Tensor) -> Tensor:
        """See :class:`metaxcr.encoders.layer.Hooks`."""
        query, value = self.query(hidden), self.value(hidden)
        return torch.cat([query, torch.zeros_like(query), value], dim=1) * self.shape.scaling

    def delta(self) -> Tensor:
        """The change of the fused ``qkv`` matrix, (3 * width, width): added to it, it merges the adapter."""
        query, value = (part.up.weight @ part.down.weight for part in (self.query, self.value))
        return torch.cat([query, torch.zeros_like(query), value]) * self.shape.scaling
