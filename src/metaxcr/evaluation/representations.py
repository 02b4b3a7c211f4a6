"""Sentence vectors after every layer, and within a layer before and after each adapter of the stack."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaxcr.adapters.base import LayerAdapter, Stacked, adapted_layer
from metaxcr.encoders.base import FrozenEncoder, Ragged, Text
from metaxcr.encoders.layer import NO_ADAPTER, Context
from metaxcr.hardware import CPU, choose_dtype
from metaxcr.scoring.model import mean_pool

Level = Callable[[int], LayerAdapter | None]  # layer -> the adapter of one stack level in it
FORWARD_TOKENS = 4096  # bounds the memory of one forward pass


@torch.no_grad()
def layer_vectors(
    encoder: FrozenEncoder,
    sentences: Sequence[str],
    levels: Sequence[Level] = (),
    *,
    invertible: nn.Module | None = None,
    dtype: torch.dtype | None = None,
    max_tokens: int = 128,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Mean vectors of sentences at every level of the stack in every layer.

    Within a layer, level 0 is the layer without adapters, level k the layer with the k lowest adapters of the
    stack, all on the same input; what goes on to the next layer has all of them.

    Args:
        encoder: The frozen encoder.
        sentences: Of one language; cut to ``max_tokens``.
        levels: The stack from below: language adapter, task adapter.
        invertible: The language adapter's part on the embeddings.
        dtype: Of the layers' arithmetic; None: what the encoder's device computes fastest.
        max_tokens: A sentence.
        progress: Called with (sentences done, sentences in all).

    Returns:
        (levels + 1, layers + 1, sentences, width) float32, not normalised; index 0 of the second axis are the
        embeddings.
    """
    dtype = dtype or choose_dtype(device=encoder.device).dtype
    tokenized = encoder.tokenize([Text(s) for s in sentences], min(max_tokens, encoder.max_positions))
    order = sorted(range(len(tokenized)), key=lambda n: len(tokenized[n].ids))
    found = torch.empty(len(levels) + 1, encoder.depth + 1, len(sentences), encoder.width, device=CPU)
    begin, tokens = 0, 0
    for end, n in enumerate(order, start=1):
        tokens += len(tokenized[n].ids)
        if tokens >= FORWARD_TOKENS or end == len(order):
            batch = order[begin:end]
            embedded = encoder.embed([tokenized[i] for i in batch])
            found[:, :, batch] = _climb(encoder, embedded, levels, invertible, dtype).to(CPU)
            progress(end, len(order))
            begin, tokens = end, 0
    return found


def _climb(
    encoder: FrozenEncoder,
    embedded: Ragged,
    levels: Sequence[Level],
    invertible: nn.Module | None,
    dtype: torch.dtype,
) -> Tensor:
    """Vectors of one batch: (levels + 1, layers + 1, texts, width)."""
    lengths, size = embedded.lengths, len(embedded.hidden)
    lowest = embedded.hidden if invertible is None else invertible(embedded.hidden)
    found = [[mean_pool(embedded.hidden, lengths)] + [mean_pool(lowest, lengths)] * len(levels)]
    hidden, context = encoder.enter(Ragged(lowest, lengths), dtype)
    for index in range(encoder.depth):
        outputs = _levels(encoder, index, hidden, context, levels, dtype)
        found.append([mean_pool(output[:size], lengths) for output in outputs])
        hidden = outputs[-1]
    return torch.stack([torch.stack(row) for row in found], dim=1)


def _levels(
    encoder: FrozenEncoder,
    index: int,
    hidden: Tensor,
    context: Context,
    levels: Sequence[Level],
    dtype: torch.dtype,
) -> list[Tensor]:
    """Outputs of one layer with none of the adapters, with the lowest, and so on."""
    layer, stack = encoder.layer(index, dtype), list[LayerAdapter]()
    outputs: list[Tensor] = [layer(hidden, context, NO_ADAPTER)]
    for level in levels:
        adapter = level(index)
        if adapter is None:
            outputs.append(outputs[-1])
            continue
        stack.append(adapter)
        layer = adapted_layer(encoder, index, dtype, stack)
        outputs.append(layer(hidden, context, Stacked(stack)))
    return outputs


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1: what cosines are computed from."""
    return F.normalize(vectors, dim=-1)
