"""Bottleneck adapters (down, non-linearity, up) and their three placements in a layer."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaxcr.adapters.layers import AdapterShape, LayerAdapter, register
from metaxcr.encoders.layer import Norm
from metaxcr.hardware import cast_weight

NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),  # what AdapterHub's files of 2020 mean by "gelu"
    "swish": F.silu,
}


class Bottleneck(nn.Module):
    """A(x) = up(f(down(x))), which is zero at the start because ``up`` starts at zero.

    Weights are float32 and are cast to the activations' dtype on use, so that gradients and updates stay in
    float32. The width of the result is ``out``, by default the input's.

    Source: Houlsby et al. 2019 (ICML), section 2; Pfeiffer et al. 2020 (MAD-X), section 3.
    """

    def __init__(
        self, width: int, bottleneck: int, nonlinearity: str, generator: torch.Generator, out: int = 0
    ) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, out or width)
        self.nonlinearity = nonlinearity
        nn.init.normal_(self.down.weight, std=width**-0.5, generator=generator)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        """Map (tokens, width) to (tokens, out) in the dtype of ``x``."""
        inner = F.linear(x, cast_weight(self.down.weight, x.dtype), cast_weight(self.down.bias, x.dtype))
        inner = NONLINEARITIES[self.nonlinearity](inner)
        return F.linear(inner, cast_weight(self.up.weight, x.dtype), cast_weight(self.up.bias, x.dtype))


class ScaledBottleneck(Bottleneck):
    """scaling * A(x), for an adapter shape."""

    def __init__(self, width: int, shape: AdapterShape, generator: torch.Generator) -> None:
        super().__init__(width, shape.bottleneck, shape.nonlinearity, generator)
        self.scaling = shape.scaling

    def forward(self, x: Tensor) -> Tensor:
        """Map (tokens, width) to (tokens, width) in the dtype of ``x``."""
        added = super().forward(x)
        return added if self.scaling == 1 else added * self.scaling


@register("pfeiffer")
class Pfeiffer(ScaledBottleneck, LayerAdapter):
    """One bottleneck after the feed-forward part: it adds A(LN(z)), LN being the layer's own last LayerNorm.

    Source: Pfeiffer et al. 2020 (MAD-X), section 3; ``seq_bn`` in the ``adapters`` library.
    """

    def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
        """See :class:`metaxcr.encoders.layer.Hooks`."""
        added: Tensor = self(norm(z))
        return added


@register("houlsby")
class Houlsby(LayerAdapter):
    """Two bottlenecks, after attention and after the feed-forward part: each adds A(output).

    They act on a sub-layer's output before its residual is added and see no LayerNorm.

    Source: Houlsby et al. 2019 (ICML), figure 2; ``double_seq_bn`` in the ``adapters`` library.
    """

    def __init__(self, width: int, shape: AdapterShape, generator: torch.Generator) -> None:
        super().__init__()
        self.after_attention = ScaledBottleneck(width, shape, generator)
        self.after_feed_forward = ScaledBottleneck(width, shape, generator)

    def attended(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
        """See :class:`metaxcr.encoders.layer.Hooks`."""
        added: Tensor = self.after_attention(output)
        return added

    def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
        """See :class:`metaxcr.encoders.layer.Hooks`."""
        added: Tensor = self.after_feed_forward(output)
        return added


@register("parallel")
class Parallel(ScaledBottleneck, LayerAdapter):
    """One bottleneck beside the feed-forward part: it adds scaling * A(x), x being that part's input.

    Source: He et al. 2022 (ICLR), section 4.6; ``par_bn`` in the ``adapters`` library.
    """

    def feed_forward(self, hidden: Tensor) -> Tensor:
        """See :class:`metaxcr.encoders.layer.Hooks`."""
        added: Tensor = self(hidden)
        return added
