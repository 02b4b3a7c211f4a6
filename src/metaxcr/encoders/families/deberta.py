"""DeBERTa v2 and v3, mDeBERTa: attention with separate vectors for content and relative position."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from metaxcr.encoders.families.family import Family, WordEmbeddings, register
from metaxcr.encoders.layer import (
    Activation,
    Context,
    FrozenLayer,
    PostNormLayer,
    bert_modules,
    outside_transforms,
)
from metaxcr.hardware import CPU


class DisentangledLayer(PostNormLayer):
    """A BERT layer whose attention adds content-to-position and position-to-content scores.

    With q, k of the content and p_q, p_k of the relative position b(i - j), the score of token i for token j
    is (q_i k_j + q_i p_k[b(i-j)] + k_j p_q[b(i-j)]) / sqrt(3 d). The position vectors are products of frozen
    tensors only, so they are computed once. The hook ``projections`` changes the content's q, k, v alone.

    Args:
        modules: As :class:`PostNormLayer` takes them.
        heads: Of attention.
        activation: Of the feed-forward part.
        positions: Names among ``position_key`` and ``position_query`` -> (2 * span, width).
        buckets: Number of relative distances to either side that have a vector of their own; beyond half of
            it, in logarithmic steps. 0: every distance has one.
        reach: All longer distances are treated as this one.

    Source: He et al. 2021 (ICLR), DeBERTa, section 3.1, equation 4; He et al. 2023 (ICLR), DeBERTaV3.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        heads: int,
        activation: Activation,
        positions: Mapping[str, Tensor],
        buckets: int,
        reach: int,
    ) -> None:
        by_head = {name: p.view(len(p), heads, -1).transpose(0, 1) for name, p in positions.items()}
        super().__init__(modules, heads, activation, by_head)
        self.positions, self.buckets, self.reach = sorted(positions), buckets, reach
        self.derived = self.positions

    def mix(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """See :meth:`metaxcr.encoders.layer.FrozenLayer.mix`."""
        scale = (q.shape[-1] * (1 + len(self.positions))) ** -0.5
        scores = (q * scale) @ k.transpose(-1, -2)
        for name in self.positions:
            queried = name == "position_key"
            scores = scores + self._by_distance((q if queried else k) * scale, name, transposed=not queried)
        if context.mask is not None:
            scores = scores.masked_fill(~context.mask, float("-inf"))
        mixed: Tensor = scores.softmax(-1) @ v
        return mixed

    def _by_distance(self, x: Tensor, name: str, *, transposed: bool) -> Tensor:
        """Products with the vector of each pair's distance: (texts, heads, longest, longest), query first."""
        longest = x.shape[-2]
        rows, pairs = distances(longest, self.buckets, self.reach, x.device)
        table = self.get_buffer(name).index_select(1, rows)  # (heads, 2 * longest - 1, width of a head)
        products = x @ table.transpose(-1, -2)
        index = (pairs.T if transposed else pairs).expand(*x.shape[:-1], longest)
        found = products.gather(-1, index)
        return found.transpose(-1, -2) if transposed else found


@lru_cache(maxsize=256)
@outside_transforms
def distances(longest: int, buckets: int, reach: int, device: torch.device = CPU) -> tuple[Tensor, Tensor]:
    """The position vector of each distance, and the distance of each pair of tokens.

    Returns:
        (2 * longest - 1,) rows of the position vectors, from distance 1 - longest to longest - 1; and
        (longest, longest) indices into these: query i minus key j.
    """
    steps = torch.arange(1 - longest, longest, device=CPU)
    span = buckets if buckets > 0 else reach
    rows = (_bucket(steps, buckets, reach) + span).clamp(0, 2 * span - 1)
    place = torch.arange(longest, device=device)
    return rows.to(device), place[:, None] - place[None, :] + longest - 1


def _bucket(distance: Tensor, buckets: int, reach: int) -> Tensor:
    """Number distances: each its own up to half the buckets, beyond in logarithmic steps."""
    if buckets <= 0:
        return distance
    middle = buckets // 2
    size = distance.abs().clamp(min=middle - 1).float()
    most = torch.log(torch.tensor((reach - 1) / middle, device=CPU))
    steps = torch.ceil(torch.log(size / middle) / most * (middle - 1)) + middle
    return torch.where(distance.abs() <= middle, distance, (steps * distance.sign()).long())


@register
class Deberta(Family):
    """BERT's layer with disentangled attention; no positions in the embeddings of version 3."""

    model_types = ("deberta-v2",)

    def refusal(self, config: Any) -> str | None:
        """Some English DeBERTa v2 checkpoints have parts that are not supported."""
        if not config.relative_attention or not set(config.pos_att_type or ()) <= {"c2p", "p2c"}:
            return "has no relative attention of a known kind"
        if getattr(config, "conv_kernel_size", 0):
            return "has a convolution beside its first layer"
        if getattr(config, "embedding_size", config.hidden_size) != config.hidden_size:
            return "has word embeddings of another width than its layers"
        return None

    def embeddings(self, model: Any) -> nn.Module:
        """See :meth:`Family.embeddings`."""
        return WordEmbeddings(model.embeddings, ["token_type_ids", "position_ids"])

    def layers(self, model: Any) -> list[FrozenLayer]:
        """See :meth:`Family.layers`."""
        relative = model.encoder.get_rel_embedding().detach()
        return [self._layer(layer, model.config, relative) for layer in model.encoder.layer]

    def _layer(self, layer: Any, config: Any, relative: Tensor) -> FrozenLayer:
        own = layer.attention.self
        return DisentangledLayer(
            bert_modules(layer, "_proj"),
            own.num_attention_heads,
            layer.intermediate.intermediate_act_fn,
            _position_vectors(own, config.pos_att_type or (), relative[: 2 * own.pos_ebd_size]),
            own.position_buckets,
            own.max_relative_positions,
        )

    def mlm_head(self, model: Any) -> nn.Module | None:
        """See :meth:`Family.mlm_head`."""
        if model.legacy:
            legacy: nn.Module = model.cls
            return legacy
        return _TiedHead(model.lm_predictions, model.get_input_embeddings())


def _position_vectors(attention: Any, kinds: Sequence[str], relative: Tensor) -> dict[str, Tensor]:
    """Keys and queries of the relative positions, by the content's projections or their own."""
    shared = attention.share_att_key
    vectors = {}
    with torch.no_grad():
        if "c2p" in kinds:
            vectors["position_key"] = (attention.key_proj if shared else attention.pos_key_proj)(relative)
        if "p2c" in kinds:
            project = attention.query_proj if shared else attention.pos_query_proj
            vectors["position_query"] = project(relative)
    return vectors


class _TiedHead(nn.Module):
    """A head that takes the word embeddings with every call."""

    def __init__(self, head: nn.Module, words: nn.Module) -> None:
        super().__init__()
        self.head, self.words = head, words

    def forward(self, hidden: Tensor) -> Tensor:
        scores: Tensor = self.head(hidden, self.words)
        return scores
