"""The encoder's upper layers with a stack of adapters: an optional language adapter below the task adapter.

Placement (Pfeiffer, as AdapterHub's files expect): with z the sum before a layer's last LayerNorm LN,
z_k = z_(k-1) + A_k(LN(z_(k-1))) for the adapters of the stack in order, and the layer's output is LN(z_K).
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from metaxcr.adapters.bottleneck import Bottleneck
from metaxcr.encoders.base import FrozenEncoder, Hooks, Ragged
from metaxcr.encoders.layer import Norm
from metaxcr.errors import UserError


class Pfeiffer(Hooks):
    """Adapters one upon the other after the feed-forward part: z_k = z_(k-1) + A_k(LN(z_(k-1)))."""

    def __init__(self, adapters: Sequence[nn.Module]) -> None:
        self._adapters = adapters

    def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
        """See :class:`metaxcr.encoders.layer.Hooks`."""
        for adapter in self._adapters:
            z = z + adapter(norm(z))
        return z


class AdaptedEncoder(nn.Module):
    """Layers ``layers[0]`` to the top, with a task adapter in each of ``layers``.

    Args:
        encoder: The frozen encoder.
        layers: Layers that carry a task adapter, ascending.
        bottleneck: Width of the task adapter's bottleneck.
        nonlinearity: Of the task adapter.
        generator: Draws the initial weights.
        languages: Frozen language adapters: language -> layer -> adapter. A language without one uses the
            task adapter alone.

    Raises:
        UserError: The layers do not fit the encoder, or some language adapter would stay inactive.
    """

    def __init__(
        self,
        encoder: FrozenEncoder,
        layers: Sequence[int],
        bottleneck: int,
        nonlinearity: str,
        generator: torch.Generator,
        languages: Mapping[str, Mapping[int, Bottleneck]] | None = None,
    ) -> None:
        super().__init__()
        if not layers or sorted(set(layers)) != list(layers) or layers[-1] >= encoder.depth or layers[0] < 0:
            raise UserError(
                f"adapter layers {list(layers)} do not fit an encoder of {encoder.depth} layers",
                "adapters.layers",
                "list distinct layers in ascending order, counted from 0",
            )
        self.encoder, self.layers = encoder, list(layers)
        self.task = nn.ModuleDict(
            {str(i): Bottleneck(encoder.width, bottleneck, nonlinearity, generator) for i in layers}
        )
        self.language = nn.ModuleDict()
        for language, adapters in (languages or {}).items():
            below = [i for i in adapters if i < self.start]
            if below:
                raise UserError(
                    f"adapter {language!r} has weights in layers {below}, below the first task adapter",
                    "adapters.language",
                    "put task adapters in every layer (adapters.layers: all), so that all of it is active",
                )
            module = nn.ModuleDict({str(i): a for i, a in adapters.items()})
            self.language[language] = module.requires_grad_(False)

    @property
    def start(self) -> int:
        """First layer with an adapter: where the trunk ends."""
        return self.layers[0]

    def stack(self, language: str) -> list[str]:
        """Names of the active adapters for a language, from below: for records and messages."""
        return [f"lang.{language}"] * (language in self.language) + ["task"]

    def forward(self, trunk: Ragged, dtype: torch.dtype, language: str) -> Tensor:
        """Run the upper layers on the trunk's output.

        Args:
            trunk: Activations after layer ``start - 1``.
            dtype: Of the arithmetic.
            language: Of the texts; picks the language adapter.

        Returns:
            (tokens, width) in ``dtype``.
        """
        hidden, context = self.encoder.enter(trunk, dtype)
        for index in range(self.start, self.encoder.depth):
            hidden = self.encoder.layer(index, dtype)(hidden, context, self._hooks(index, language))
        return hidden[: len(trunk.hidden)]

    def _hooks(self, index: int, language: str) -> Hooks:
        key = str(index)
        stack: list[nn.Module] = []
        if language in self.language:
            module = self.language[language]
            assert isinstance(module, nn.ModuleDict)
            stack += [module[key]] if key in module else []
        if key in self.task:
            stack.append(self.task[key])
        return Pfeiffer(stack)
