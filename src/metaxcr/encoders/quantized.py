"""Matrices of 4-bit numbers: only the rows that are looked up become float32.

The word embeddings are four fifths of a small multilingual encoder, and a run uses a few thousand of their
rows. As float32 all of them would take seven times the memory and most of the loading time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])  # 32 numbers: low nibbles before high ones
BLOCK_SIZE = 32  # numbers in a block
_STRETCH = 2**13  # blocks dequantised at a time, so that they stay in the processor's cache


def dequantise(blocks: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Turn blocks (..., n) into numbers (..., 32 * n): (nibble - 8) * scale."""
    flat = blocks.reshape(-1)
    values = np.empty((len(flat), BLOCK_SIZE), np.float32)
    for begin in range(0, len(flat), _STRETCH):
        part = flat[begin : begin + _STRETCH]
        nibbles = np.empty((len(part), BLOCK_SIZE), np.int8)
        nibbles[:, :16], nibbles[:, 16:] = part["nibbles"] & 15, part["nibbles"] >> 4
        nibbles -= 8
        scales = part["scale"].astype(np.float32)[:, None]
        np.multiply(nibbles, scales, out=values[begin : begin + _STRETCH])
    return values.reshape(*blocks.shape[:-1], -1)


@dataclass(frozen=True, eq=False)
class QuantizedMatrix:
    """A matrix whose ``blocks`` are (rows, columns / 32) of type :data:`BLOCK`."""

    blocks: npt.NDArray[Any]

    @property
    def shape(self) -> torch.Size:
        """Rows, columns."""
        rows, blocks = self.blocks.shape
        return torch.Size((rows, blocks * BLOCK_SIZE))

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Rows by number: (..., columns) float32."""
        found = torch.from_numpy(dequantise(self.blocks[np.array(rows.tolist(), np.int64)]))
        return found.to(rows.device)


EmbeddingMatrix = Tensor | QuantizedMatrix  # both give rows by number


class QuantizedEmbedding(nn.Module):
    """A frozen embedding with a quantized matrix, in place of an ``nn.Embedding``."""

    def __init__(self, matrix: QuantizedMatrix) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (...) to vectors (..., width)."""
        return self.matrix[ids]


def embedding_matrix(embedding: nn.Module) -> EmbeddingMatrix:
    """The matrix of an embedding of either kind."""
    if isinstance(embedding, QuantizedEmbedding):
        return embedding.matrix
    assert isinstance(embedding.weight, Tensor)
    return embedding.weight.detach()


def count_parameters(module: nn.Module) -> int:
    """Number of a module's parameters, quantized ones included."""
    quantized = (m.matrix.shape.numel() for m in module.modules() if isinstance(m, QuantizedEmbedding))
    return sum(p.numel() for p in module.parameters()) + sum(quantized)
