"""Matrices of 4-bit numbers that stay as they are: a row becomes float32 when a text asks for it.

The word embeddings are four fifths of a small multilingual encoder, and a run looks at a few thousand of
their rows. As float32 all of them would take seven times the memory and most of the loading time.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])  # 32 numbers: low nibbles before high ones
SIZE = 32  # numbers in a block
_STRETCH = 2**13  # blocks dequantised at a time: they stay in the processor's own cache


class Rows(Protocol):
    """What can be asked for rows: a matrix, or one in :class:`Blocks`."""

    @property
    def shape(self) -> torch.Size:
        """Rows, columns."""
        ...

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """The rows of some numbers, (..., columns) float32."""
        ...


def dequantise(blocks: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Turn blocks into numbers: (nibble - 8) * scale.

    Args:
        blocks: (..., n) of type :data:`BLOCK`.

    Returns:
        (..., 32 * n).
    """
    flat = blocks.reshape(-1)
    values = np.empty((len(flat), SIZE), np.float32)
    for begin in range(0, len(flat), _STRETCH):
        part = flat[begin : begin + _STRETCH]
        nibbles = np.empty((len(part), SIZE), np.int8)
        nibbles[:, :16], nibbles[:, 16:] = part["nibbles"] & 15, part["nibbles"] >> 4
        nibbles -= 8
        scales = part["scale"].astype(np.float32)[:, None]
        np.multiply(nibbles, scales, out=values[begin : begin + _STRETCH])
    return values.reshape(*blocks.shape[:-1], -1)


@dataclass(frozen=True, eq=False)
class Blocks:
    """A matrix in blocks.

    Attributes:
        blocks: (rows, columns / 32) of type :data:`BLOCK`.
    """

    blocks: npt.NDArray[Any]

    @property
    def shape(self) -> torch.Size:
        """Rows, columns."""
        rows, blocks = self.blocks.shape
        return torch.Size((rows, blocks * SIZE))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.blocks)

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """The rows of some numbers, (..., columns) float32."""
        found = torch.from_numpy(dequantise(self.blocks[np.array(rows.tolist(), np.int64)]))
        return found.to(rows.device)


class BlockEmbedding(nn.Module):
    """A frozen embedding whose matrix stays in blocks; it stands where an ``nn.Embedding`` would.

    Args:
        rows: The matrix.
    """

    def __init__(self, rows: Blocks) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (...) to vectors (..., width)."""
        return self.rows[ids]


def rows_of(embedding: nn.Module) -> Rows:
    """The matrix of an embedding of either kind."""
    if isinstance(embedding, BlockEmbedding):
        return embedding.rows
    assert isinstance(embedding.weight, Tensor)
    return embedding.weight.detach()


def numbers_in(module: nn.Module) -> int:
    """Number of a module's parameters, those in blocks included."""
    blocks = (m.rows.shape.numel() for m in module.modules() if isinstance(m, BlockEmbedding))
    return sum(p.numel() for p in module.parameters()) + sum(blocks)
