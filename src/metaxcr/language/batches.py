"""Batches of masked sequences, and the memory that keeps what the frozen layers made of them.

A batch always holds the same sequences, and a text is masked in a few ways in turn (static masking with
duplicates, as BERT's): so what the frozen layers below the first adapter make of a batch can be kept, and
later passes cost the layers with adapters alone. The batch is the unit that is computed, because
activations depend a little on what else is in the batch; so a resumed run computes the same bytes.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from metaxcr.language.masking import mask
from metaxcr.language.mlm import Batch, MaskedLanguageModel
from metaxcr.language.packing import Packed
from metaxcr.tasks.seeding import rng


class Batches:
    """The batches of one part of the text.

    Args:
        model: Encodes batches.
        sequences: The packed text, in the order in which it is cut into batches.
        name: Of the part; names its random numbers.
        seed: Of the run.
        size: Sequences a batch.
        rounds: Different maskings of the text.
        mask_id: Id of the mask token.
        rows: Token ids that the decoder knows.
        limit_bytes: Of activations that are kept; the oldest are computed again.
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
        self.size = len(sequences)
        self._groups = [sequences[i : i + size] for i in range(0, len(sequences), size)]
        self._row_of = {token: row for row, token in enumerate(rows)}
        self.name, self.seed, self.rounds, self._limit = name, seed, rounds, limit_bytes
        self._kept: OrderedDict[tuple[int, int], Batch] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """Number of batches in a pass over the text."""
        return len(self._groups)

    def at(self, step: int) -> Batch:
        """The training batch of a step: every pass has its own order, and the next masking."""
        number = step // len(self)
        order = rng(self.seed, f"language/{self.name}/order", number).permutation(len(self))
        return self.get(number % self.rounds, int(order[step % len(self)]))

    def all(self) -> list[Batch]:
        """Every batch in every masking, in a fixed order."""
        return [self.get(number, group) for number in range(self.rounds) for group in range(len(self))]

    def owners(self) -> Tensor:
        """The sequence of every target, in the order of :meth:`all`: (targets,)."""
        step = len(self._groups[0])
        places = [
            (self.get(number, group), group) for number in range(self.rounds) for group in range(len(self))
        ]
        return torch.cat([batch.owners + step * group for batch, group in places])

    def get(self, number: int, group: int) -> Batch:
        """A batch in one masking."""
        key = number, group
        if key not in self._kept:
            draw = rng(self.seed, f"language/{self.name}/mask/{number}", group)
            masked = [mask(s, self._mask_id, self._rows, self._row_of, draw) for s in self._groups[group]]
            self._kept[key] = batch = self._model.encode(masked)
            self._bytes += _bytes(batch)
            while self._bytes > self._limit and len(self._kept) > 1:
                self._bytes -= _bytes(self._kept.popitem(last=False)[1])
        self._kept.move_to_end(key)
        return self._kept[key]


def _bytes(batch: Batch) -> int:
    return batch.trunk.hidden.nbytes + batch.bare.nbytes
