"""What small adapters are compared with: all weights of a layer are trained, or nothing of it is."""

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from metaxcr.adapters.base import LayerAdapter, Shape, build_layer
from metaxcr.encoders.base import FrozenEncoder
from metaxcr.encoders.layer import FrozenLayer

FULL = "full"  # full fine-tuning of the layers that carry a "task adapter"
NONE = "none"  # no task adapter: the scorer alone is trained
SIZELESS = {kind: Shape(kind, 0) for kind in (FULL, NONE)}  # their shapes: there is no width to choose


class FullLayer(LayerAdapter):
    """All weights of a layer are trained: the adapter is their change, which is zero at the start.

    It is float32 and is added to the frozen float32 weights before these are cast, so that updates smaller
    than a bfloat16 weight's last bit are not lost. The frozen encoder itself stays as it is, for the trunk
    and for the untrained baseline.

    Args:
        deltas: Name of a weight -> what is added to it.
    """

    def __init__(self, deltas: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.shape = SIZELESS[FULL]
        self.delta = nn.ParameterDict({name: nn.Parameter(tensor) for name, tensor in deltas.items()})

    @classmethod
    def of(cls, layer: FrozenLayer) -> Self:
        """The fresh one for a layer."""
        return cls({n: torch.zeros_like(w, dtype=torch.float32) for n, w in layer.weights.items()})

    def deltas(self) -> dict[str, Tensor]:
        """See :class:`metaxcr.adapters.base.LayerAdapter`."""
        return dict(self.delta.items())


def fresh_layer(encoder: FrozenEncoder, index: int, shape: Shape, generator: torch.Generator) -> LayerAdapter:
    """A fresh task adapter of any kind for one layer.

    Args:
        encoder: The frozen encoder.
        index: Of the layer.
        shape: Kind and size.
        generator: Draws the initial weights.

    Raises:
        UserError: The kind is not known.
    """
    if shape.kind == FULL:
        return FullLayer.of(encoder.original(index))
    return build_layer(encoder.width, shape, generator)
