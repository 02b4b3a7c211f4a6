"""The masked language model: frozen encoder, language adapter, head."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from metaxcr.adapters.language import LanguageAdapter
from metaxcr.encoders.base import FrozenEncoder, Ragged, TokenizedText
from metaxcr.hardware import CPU, leave_half
from metaxcr.language.masking import Masked

Params = dict[str, Tensor]
ADAPTER, HEAD = "adapter.", "head."  # how the names of their parameters begin


class Batch(NamedTuple):
    """Masked sequences, encoded as far as nothing is trained.

    Attributes:
        trunk: Activations below the first adapter.
        bare: (targets, width) top activations of the frozen encoder at what is to be guessed.
        places: (targets,) places of what is to be guessed, in all sequences one after another.
        targets: (targets,) rows of the decoder.
        owners: (targets,) number of the sequence.
    """

    trunk: Ragged
    bare: Tensor
    places: Tensor
    targets: Tensor
    owners: Tensor


class MaskedLanguageModel(nn.Module):
    """Frozen encoder with a language adapter, and a head on top.

    Args:
        encoder: The frozen encoder.
        adapter: That is trained.
        head: Maps (places, width) to (places, rows).
        dtype: Of the layers' arithmetic.
    """

    def __init__(
        self, encoder: FrozenEncoder, adapter: LanguageAdapter, head: nn.Module, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.encoder, self.adapter, self.head, self.dtype = encoder, adapter, head, dtype

    @property
    def start(self) -> int:
        """First layer that the adapter changes; an invertible part changes what the lowest one gets."""
        return 0 if self.adapter.invertible is not None else self.adapter.indices[0]

    def params(self) -> Params:
        """A detached copy of what can be trained."""
        return {n: p.detach().clone() for n, p in self.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def encode(self, masked: Sequence[Masked]) -> Batch:
        """Run sequences through what is never trained: the trunk, and the whole encoder without adapter."""
        first, places, targets, owners = 0, [], [], []
        for n, sequence in enumerate(masked):
            places += [first + at for at in sequence.places]
            targets += sequence.targets
            owners += [n] * len(sequence.places)
            first += len(sequence.ids)
        encoder = self.encoder
        at = torch.tensor(places, device=encoder.device)
        trunk = encoder.embed([TokenizedText(m.ids, [0] * len(m.ids), len(m.ids)) for m in masked])
        if self.start:
            trunk = Ragged(encoder.run(trunk, 0, self.start, self.dtype), trunk.lengths)
        bare = encoder.run(trunk, self.start, encoder.depth, self.dtype)[at]
        found = torch.tensor(targets, device=encoder.device)
        return Batch(trunk, bare, at, found, torch.tensor(owners, device=CPU))

    def forward(self, batch: Batch, with_adapter: bool) -> Tensor:
        """Cross-entropy of every target in nats: (targets,) float32."""
        hidden = self._adapted(batch) if with_adapter else batch.bare
        return F.cross_entropy(self.head(hidden), batch.targets, reduction="none")

    def losses(self, params: Mapping[str, Tensor], batch: Batch, *, with_adapter: bool) -> Tensor:
        """:meth:`forward` as a pure function of the parameters."""
        found: Tensor = functional_call(self, dict(params), (batch, with_adapter))
        return found

    def _adapted(self, batch: Batch) -> Tensor:
        """Top activations with the adapter at what is to be guessed: (targets, width)."""
        lower = batch.trunk.hidden
        if self.adapter.invertible is not None:
            lower = self.adapter.invertible(lower)
        hidden, context = self.encoder.enter(Ragged(lower, batch.trunk.lengths), self.dtype)
        for index in range(self.start, self.encoder.depth):
            hidden = self.encoder.layer(index, self.dtype)(hidden, context, self.adapter.hooks(index))
        return self.adapter.before_head(leave_half(hidden[batch.places]))
