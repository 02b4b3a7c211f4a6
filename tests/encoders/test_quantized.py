"""Matrices in 4-bit blocks: their rows are exactly those of the float32 matrix."""

import numpy as np
import pytest
import torch
from torch import nn

from metaxcr.encoders.quantized import (
    BLOCK,
    QuantizedEmbedding,
    QuantizedMatrix,
    count_parameters,
    dequantise,
    embedding_matrix,
)


@pytest.fixture
def blocks() -> QuantizedMatrix:
    """Seven rows of 64 random numbers."""
    rng = np.random.default_rng(0)
    stored = np.empty((7, 2), BLOCK)
    stored["scale"] = rng.normal(size=(7, 2))
    stored["nibbles"] = rng.integers(0, 256, (7, 2, 16))
    return QuantizedMatrix(stored)


def by_hand(blocks: QuantizedMatrix) -> torch.Tensor:
    """Number by number, as the format says."""
    rows = []
    for row in blocks.blocks:
        numbers: list[float] = []
        for scale, nibbles in row:
            both = [int(b) % 16 for b in nibbles] + [int(b) // 16 for b in nibbles]
            numbers += [(n - 8) * float(scale) for n in both]
        rows.append(numbers)
    return torch.tensor(rows)


def test_rows_are_those_of_the_whole_matrix(blocks: QuantizedMatrix) -> None:
    whole = by_hand(blocks)
    assert blocks.shape == whole.shape == (7, 64)
    assert len(blocks) == 7
    for rows in (torch.tensor([6, 0, 0]), torch.tensor([[1, 2], [3, 6]]), torch.tensor(4)):
        assert torch.equal(blocks[rows], whole[rows])
        assert blocks[rows].dtype == torch.float32
    assert np.array_equal(dequantise(blocks.blocks), whole.numpy())
    with pytest.raises(IndexError):
        blocks[torch.tensor([7])]


def test_many_blocks_are_dequantised_in_stretches(blocks: QuantizedMatrix) -> None:
    rows = torch.arange(7).repeat(2000)
    assert torch.equal(blocks[rows], by_hand(blocks).repeat(2000, 1))


def test_an_embedding_in_blocks_is_one_of_float32(blocks: QuantizedMatrix) -> None:
    ours, plain = QuantizedEmbedding(blocks), nn.Embedding.from_pretrained(by_hand(blocks))
    ids = torch.tensor([[3, 1, 3]])
    assert torch.equal(ours(ids), plain(ids))
    assert embedding_matrix(ours).shape == embedding_matrix(plain).shape
    assert torch.equal(embedding_matrix(ours)[ids], embedding_matrix(plain)[ids])


def test_numbers_in_blocks_count(blocks: QuantizedMatrix) -> None:
    inside = nn.ModuleDict({"words": QuantizedEmbedding(blocks), "norm": nn.LayerNorm(64)})
    assert count_parameters(inside) == 7 * 64 + 2 * 64
    assert count_parameters(nn.Linear(3, 2)) == 8
