"""DeBERTa v2 and v3, mDeBERTa: attention with separate vectors for content and relative position."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from metaxcr.encoders.families.family import Family, WordEmbeddings, register
from metaxcr.encoders.layer import Context, FrozenLayer, PostNormLayer, bert_modules, outside_transforms
from metaxcr.hardware import CPU


class DisentangledLayer(PostNormLayer):
    """A BERT layer whose attention adds content-to-position and position-to-content scores.

    With q, k of the content and p_q, p_k of the relative position b(i - j), the score of token i for token j
    is (q_i k_j + q_i p_k[b(i-j)] + k_j p_q[b(i-j)]) / sqrt(3 d). The position vectors are products of frozen
    tensors only, so they are computed once. The hook ``projections`` changes the content's q, k, v alone.

    ``relative`` has the vectors of the relative positions (2 * span, width), ``kinds`` the names of its
    scores: c2p, p2c.

    Source: He et al. 2021 (ICLR), DeBERTa, section 3.1, equation 4; He et al. 2023 (ICLR), DeBERTaV3.
    """

    def __init__(self, source: Any, relative: Tensor, kinds: Sequence[str]) -> None:
        own = source.attention.self
        heads, activation = own.num_attention_heads, source.intermediate.intermediate_act_fn
        positions = _position_vectors(own, kinds, relative[: 2 * own.pos_ebd_size])
        by_head = {name: p.view(len(p), heads, -1).transpose(0, 1) for name, p in positions.items()}
        super().__init__(bert_modules(source, "_proj"), heads, activation, **by_head)
        self.positions = self.derived = sorted(positions)
        # Distances to either side that have a vector of their own, beyond half of them in logarithmic steps;
        # 0: every distance has one. Distances beyond `reach` are treated as this one.
        self.buckets, self.reach = own.position_buckets, own.max_relative_positions

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
    """Rows of the position vectors by distance, and which of them each pair of tokens has.

    (2 * longest - 1,), from distance 1 - longest to longest - 1; and (longest, longest), query i minus key j.
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
        relative, kinds = model.encoder.get_rel_embedding().detach(), model.config.pos_att_type or ()
        return [DisentangledLayer(layer, relative, kinds) for layer in model.encoder.layer]

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
