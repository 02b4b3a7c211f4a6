"""The masked language model (frozen encoder, language adapter, head), and its batches.

A batch always holds the same sequences, in one of a few maskings in turn (static masking with duplicates, as
in BERT). So the activations below the first adapter are cached, and later passes compute only the layers with
adapters. They are computed a batch at a time, because activations depend a little on the other sequences of a
batch: a resumed run then computes the same bytes.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.encoders.encoder import EmbeddingMatrix, FrozenEncoder, Ragged, TokenizedText
from metaxcr.hardware import CPU, upcast
from metaxcr.mlm.corpus import Masked, Packed, mask
from metaxcr.seeding import rng

EPS = 1e-12  # of the LayerNorm, as in BERT's head


class TiedHead(nn.Module):
    """logits = LN(gelu(W h + b)) E' + c, with E the encoder's frozen word embeddings.

    The decoder (``rows``: token ids) has only the tokens of the text: with 250,000 rows the softmax would
    cost more than the encoder. Losses are comparable only between heads with the same rows.

    Source:
        Devlin et al. 2019 (BERT), the reference code's ``get_masked_lm_output``; Press and Wolf 2017.
    """

    decoder: Tensor

    def __init__(self, embeddings: EmbeddingMatrix, rows: Tensor) -> None:
        super().__init__()
        width = embeddings.shape[1]
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.bias = nn.Parameter(torch.zeros(len(rows)))
        nn.init.eye_(self.dense.weight)  # so that nothing has to be drawn
        nn.init.zeros_(self.dense.bias)
        self.register_buffer("decoder", embeddings[rows].detach().cpu().clone())

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (places, width), any dtype, to (places, rows) float32."""
        x: Tensor = self.norm(F.gelu(self.dense(hidden.float())))
        return x @ self.decoder.T + self.bias


class OwnHead(nn.Module):
    """An encoder's own head, (places, width) to (places, vocabulary): frozen, only the rows of the text."""

    rows: Tensor

    def __init__(self, head: nn.Module, rows: Tensor) -> None:
        super().__init__()
        self.head = head.requires_grad_(False).eval()
        self.register_buffer("rows", rows)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (places, width), any dtype, to (places, rows) float32."""
        logits: Tensor = self.head(hidden.float())
        return logits[:, self.rows]


Params = dict[str, Tensor]
ADAPTER, HEAD = "adapter.", "head."  # prefixes of their parameters


class MaskedBatch(NamedTuple):
    """Masked sequences, encoded up to the first adapter."""

    trunk: Ragged  # activations below the first adapter
    bare: Tensor  # (targets, width) top activations of the encoder without adapter at the masked tokens
    places: Tensor  # (targets,) of the masked tokens, in all sequences one after another
    targets: Tensor  # (targets,) rows of the decoder
    owners: Tensor  # (targets,) number of the sequence


class MaskedLanguageModel(nn.Module):
    """Frozen encoder with a language adapter, and a head, (places, width) to (places, rows), on top."""

    def __init__(
        self, encoder: FrozenEncoder, adapter: LanguageAdapter, head: nn.Module, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.encoder, self.adapter, self.head, self.dtype = encoder, adapter, head, dtype

    @property
    def start(self) -> int:
        """First layer that the adapter changes; an invertible part changes the input of the lowest one."""
        return 0 if self.adapter.invertible is not None else self.adapter.indices[0]

    def params(self) -> Params:
        """A detached copy of the trainable parameters."""
        return {n: p.detach().clone() for n, p in self.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def encode(self, masked: Sequence[Masked]) -> MaskedBatch:
        """Run sequences through the frozen parts: the trunk, and the whole encoder without adapter."""
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
        return MaskedBatch(trunk, bare, at, found, torch.tensor(owners, device=CPU))

    def forward(self, batch: MaskedBatch, with_adapter: bool) -> Tensor:
        """Cross-entropy of every target in nats: (targets,) float32."""
        hidden = self._adapted(batch) if with_adapter else batch.bare
        return F.cross_entropy(self.head(hidden), batch.targets, reduction="none")

    def losses(self, params: Mapping[str, Tensor], batch: MaskedBatch, *, with_adapter: bool) -> Tensor:
        """:meth:`forward` as a pure function of the parameters."""
        found: Tensor = functional_call(self, dict(params), (batch, with_adapter))
        return found

    def _adapted(self, batch: MaskedBatch) -> Tensor:
        """Top activations with the adapter at the masked tokens: (targets, width)."""
        lower = batch.trunk.hidden
        if self.adapter.invertible is not None:
            lower = self.adapter.invertible(lower)
        hidden, context = self.encoder.enter(Ragged(lower, batch.trunk.lengths), self.dtype)
        for index in range(self.start, self.encoder.depth):
            hidden = self.encoder.layer(index, self.dtype)(hidden, context, self.adapter.hooks(index))
        return self.adapter.before_head(upcast(hidden[batch.places]))


class Batches:
    """The batches of one part of the text: ``size`` packed sequences each, in order, in ``rounds`` maskings.

    ``name`` of the part is the purpose of its random numbers; ``rows`` are the token ids of the decoder. Of
    the activations, ``limit_bytes`` are cached; the least recently used are computed again.
    """

    def __init__(
        self,
        model: MaskedLanguageModel,
        sequences: Sequence[Packed],
        name: str,
        *,
        seed: int,
        size: int,
        rounds: int,
        mask_id: int,
        rows: Sequence[int],
        limit_bytes: int = 2 * 10**9,
    ) -> None:
        self._model, self._mask_id, self._rows = model, mask_id, rows
        self._purpose, self._seed, self._rounds, self._limit = f"language/{name}", seed, rounds, limit_bytes
        self.size = len(sequences)
        self._groups = [sequences[i : i + size] for i in range(0, len(sequences), size)]
        self._row_of = {token: row for row, token in enumerate(rows)}
        self._cache: OrderedDict[tuple[int, int], MaskedBatch] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """Number of batches in a pass over the text."""
        return len(self._groups)

    def at(self, step: int) -> MaskedBatch:
        """The training batch of a step: every pass has its own order, and the next masking."""
        number = step // len(self)
        order = rng(self._seed, f"{self._purpose}/order", number).permutation(len(self))
        return self.get(number % self._rounds, int(order[step % len(self)]))

    def all(self) -> list[MaskedBatch]:
        """Every batch in every masking, in a fixed order."""
        return [self.get(number, group) for number, group in product(range(self._rounds), range(len(self)))]

    def owners(self) -> Tensor:
        """The sequence of every target, in the order of :meth:`all`: (targets,)."""
        step = len(self._groups[0])
        return torch.cat([batch.owners + step * (n % len(self)) for n, batch in enumerate(self.all())])

    def get(self, number: int, group: int) -> MaskedBatch:
        """A batch in one masking."""
        key = number, group
        if key not in self._cache:
            draw = rng(self._seed, f"{self._purpose}/mask/{number}", group)
            masked = [mask(s, self._mask_id, self._rows, self._row_of, draw) for s in self._groups[group]]
            self._cache[key] = batch = self._model.encode(masked)
            self._bytes += _bytes(batch)
            while self._bytes > self._limit and len(self._cache) > 1:
                self._bytes -= _bytes(self._cache.popitem(last=False)[1])
        self._cache.move_to_end(key)
        return self._cache[key]


def _bytes(batch: MaskedBatch) -> int:
    return batch.trunk.hidden.nbytes + batch.bare.nbytes
