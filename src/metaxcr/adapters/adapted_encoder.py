"""The encoder's upper layers with adapters: an optional language adapter, the task adapter above."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.adapters.layers import (
    FULL,
    MIXED,
    NONE,
    AdapterShape,
    LayerAdapter,
    Mixture,
    adapted_layer,
    fresh_layer,
)
from metaxcr.encoders.encoder import FrozenEncoder, Ragged
from metaxcr.encoders.layer import AdapterStack
from metaxcr.errors import UserError


class AdaptedEncoder(nn.Module):
    """Layers ``layers[0]`` to the top, with a task adapter in each of ``layers``.

    The part of a language adapter below ``layers[0]`` is frozen and belongs to the trunk, so it acts where
    the trunk is computed (:class:`metaxcr.encoders.activation_cache.ActivationCache`), not here.

    Args:
        encoder: The frozen encoder.
        layers: Layers that carry a task adapter, ascending; empty for the kind "none" only.
        shape: Kind and size of the task adapter.
        generator: Draws the initial weights.
        languages: Language -> its adapter, which is frozen here; other languages use the task adapter alone.
        sources: Number of task adapters that are mixed, one a source; 0: one task adapter for all.
    """

    def __init__(
        self,
        encoder: FrozenEncoder,
        layers: Sequence[int],
        shape: AdapterShape,
        generator: torch.Generator,
        languages: Mapping[str, LanguageAdapter] | None = None,
        sources: int = 0,
    ) -> None:
        super().__init__()
        fits = set(layers) <= set(range(encoder.depth)) and sorted(set(layers)) == list(layers)
        if not fits or (shape.kind == NONE) != (not layers):
            what = f"adapter layers {list(layers)} do not fit an encoder of {encoder.depth} layers"
            raise UserError(
                what, "adapters.layers", "list distinct layers in ascending order, counted from 0"
            )
        self.encoder, self.layers, self.shape = encoder, list(layers), shape
        self.task = nn.ModuleDict()
        for index in layers:
            self.task[str(index)] = (
                Mixture(encoder.width, shape, generator, sources)
                if sources
                else fresh_layer(encoder, index, shape, generator)
            )
        self.language = nn.ModuleDict()
        for language, adapter in (languages or {}).items():
            _check_fit(language, adapter, encoder)
            self.language[language] = adapter.requires_grad_(False)

    @property
    def start(self) -> int:
        """First layer with a trainable adapter, where the trunk ends; without one, all layers are trunk."""
        return self.layers[0] if self.layers else self.encoder.depth

    @property
    def trained(self) -> str:
        """The trained part of the layers, for messages."""
        if not self.layers:
            return "no task adapter: the scorer alone is trained"
        what = "all weights of" if self.shape.kind == FULL else f"{self.shape.kind} adapters in"
        return f"{what} layers {self.layers}"

    def is_of(self, shape: AdapterShape) -> bool:
        """Whether an adapter of a shape computes as the task adapter does, whatever its width."""
        return replace(shape, bottleneck=0) == replace(self.shape, bottleneck=0)

    @property
    def languages(self) -> dict[str, LanguageAdapter]:
        """Language -> its adapter."""
        return {name: a for name, a in self.language.items() if isinstance(a, LanguageAdapter)}

    def stack(self, language: str) -> list[str]:
        """Names of the active adapters for a language, from below: for records and messages."""
        own = [f"lang.{language}"] if language in self.language else []
        if own and self.languages[language].invertible is not None:
            own.insert(0, f"invertible.{language}")
        top = {FULL: "all weights", NONE: "no task adapter"}.get(self.shape.kind, "task")
        task = self.task[str(self.start)] if self.layers else None
        return [*own, f"mixture of {len(task.sources)} tasks" if isinstance(task, Mixture) else top]

    def forward(self, trunk: Ragged, dtype: torch.dtype, language: str, source: int = MIXED) -> Tensor:
        """Run the upper layers on the activations after layer ``start - 1``: (tokens, width) in ``dtype``.

        ``language`` selects the language adapter, ``source`` the source whose task adapter acts alone, if
        there is one a source.
        """
        hidden, context = self.encoder.enter(trunk, dtype)
        for index in range(self.start, self.encoder.depth):
            active = self._active(index, language, source)
            hidden = adapted_layer(self.encoder, index, dtype, active)(hidden, context, AdapterStack(active))
        return hidden[: len(trunk.hidden)]

    def _active(self, index: int, language: str, source: int) -> list[LayerAdapter]:
        """The adapters that act in a layer, from below."""
        below = self.languages[language].by_layer.get(index) if language in self.language else None
        task = dict(self.task.items()).get(str(index))
        above = task.source(source) if isinstance(task, Mixture) else task
        return [adapter for adapter in (below, above) if isinstance(adapter, LayerAdapter)]


def _check_fit(language: str, adapter: LanguageAdapter, encoder: FrozenEncoder) -> None:
    """Refuse a language adapter of another width or depth than the encoder's."""
    indices = adapter.indices
    width = adapter.width if indices else 0
    if width != encoder.width or indices[-1] >= encoder.depth:
        what = f"the language adapter {language!r} (layers {indices}, width {width})"
        other = f"{encoder.name} ({encoder.depth} layers, width {encoder.width})"
        raise UserError(
            f"{what} does not fit {other}", "adapters.language", "it was made for another encoder"
        )
