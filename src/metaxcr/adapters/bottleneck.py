"""The bottleneck adapter: down, non-linearity, up."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "swish": F.silu}


class Bottleneck(nn.Module):
    """A(x) = up(f(down(x))), which is zero at the start because ``up`` starts at zero.

    Weights are float32 and are cast to the activations' dtype on use, so that gradients and updates stay in
    float32.

    Args:
        width: Width of the token vectors.
        bottleneck: Width of the bottleneck.
        nonlinearity: ``"relu"``, ``"gelu"`` or ``"swish"``.
        generator: Draws the initial down-projection.

    Source:
        Houlsby et al. 2019 (ICML), section 2; Pfeiffer et al. 2020 (MAD-X), section 3.
    """

    def __init__(self, width: int, bottleneck: int, nonlinearity: str, generator: torch.Generator) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        self.nonlinearity = nonlinearity
        nn.init.normal_(self.down.weight, std=width**-0.5, generator=generator)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        """Map (tokens, width) to (tokens, width) in the dtype of ``x``."""
        inner = F.linear(x, self.down.weight.to(x.dtype), self.down.bias.to(x.dtype))
        inner = NONLINEARITIES[self.nonlinearity](inner)
        return F.linear(inner, self.up.weight.to(x.dtype), self.up.bias.to(x.dtype))
