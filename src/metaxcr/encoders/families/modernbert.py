"""ModernBERT and mmBERT: pre-LayerNorm, rotary positions, global attention in every third layer only."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from metaxcr.encoders.families.family import Family, WordEmbeddings, register
from metaxcr.encoders.layer import (
    NO_ADAPTER,
    PARTS,
    AdapterStack,
    Context,
    FrozenLayer,
    attention,
    outside_transforms,
)
from metaxcr.hardware import CPU


class ModernLayer(FrozenLayer):
    """A pre-LayerNorm layer: attention with rotary positions, then a gated feed-forward part.

    Adapters see what they see in the ``adapters`` library (1.3.0), so that its files mean the same here: the
    part's output, with the part's *normalised* input in place of the residual stream. For a hook's ``z``,
    output o plus residual h, ``norm(z)`` is therefore z - h + LN(h) after the feed-forward part, and that
    under the feed-forward part's own LayerNorm after attention.

    Args:
        source: A ``transformers`` layer.
        theta: Base of the rotary frequencies.
        window: Tokens farther apart than this do not attend to each other; None: all do.
        last: The LayerNorm after the top layer; None in the others.

    Source:
        Warner et al. 2024 (arXiv 2412.13663), ModernBERT; Su et al. 2021 (arXiv 2104.09864), RoFormer,
        section 3.2.2; Marone et al. 2025 (arXiv 2509.06888), mmBERT.
    """

    def __init__(self, source: Any, theta: float, window: int | None, last: nn.LayerNorm | None) -> None:
        part, mlp = source.attn, source.mlp
        modules = {
            "qkv": part.Wqkv,
            "attended": part.Wo,
            "norm1": source.attn_norm,  # the lowest layer has none: the embeddings end with one
            "norm2": source.mlp_norm,
            "up": mlp.Wi,
            "down": mlp.Wo,
            "last": last,
        }
        weights = {name + end: getattr(m, part, None) for part, end in PARTS for name, m in modules.items()}
        super().__init__(source.config.num_attention_heads, weights)
        self.activation: Callable[[Tensor], Tensor] = mlp.act
        self.eps, self.theta, self.window = source.mlp_norm.eps, theta, window

    def forward(self, hidden: Tensor, context: Context, hooks: AdapterStack = NO_ADAPTER) -> Tensor:
        """See :meth:`metaxcr.encoders.layer.FrozenLayer.forward`."""
        entered, below = self.norm(hidden, "norm1"), hidden
        qkv = hooks.projections(entered, self.linear(entered, "qkv"))
        mixed = self.linear(self.attend(qkv, context), "attended")
        hidden = hooks.attended(mixed + below, mixed, lambda z: self.norm(z - below + entered, "norm2"))
        fed = self.norm(hidden, "norm2")
        inner, gate = self.linear(fed, "up").chunk(2, dim=-1)
        output = hooks.feed_forward(fed, self.linear(self.activation(inner) * gate, "down"))
        return self.norm(hooks.output(output + hidden, output, lambda z: z - hidden + fed), "last")

    def mix(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """See :meth:`metaxcr.encoders.layer.FrozenLayer.mix`."""
        cos, sin = rotation(context.longest, q.shape[-1], self.theta, q.device)
        mask = context.mask
        if self.window is not None and context.longest - 1 > self.window:
            near, own = neighbours(context.longest, self.window, q.device)
            # Rows of padding attend to themselves: a row that attends nowhere would be NaN.
            mask = near if mask is None else near & mask | own
        return attention(_rotate(q, cos, sin), _rotate(k, cos, sin), v, mask)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x_i, x_(i + half)) by its position's angle; at least in float32, as the angles are."""
    wide = x.to(torch.promote_types(x.dtype, cos.dtype))
    first, second = wide.chunk(2, dim=-1)
    return (wide * cos + torch.cat([-second, first], dim=-1) * sin).to(x.dtype)


@lru_cache(maxsize=256)
@outside_transforms
def rotation(longest: int, width: int, theta: float, device: torch.device = CPU) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the angles p theta^(-2i/width), position p, pair i: (longest, width), float32."""
    frequencies = 1.0 / theta ** (torch.arange(0, width, 2, dtype=torch.float, device=CPU) / width)
    angles = torch.outer(torch.arange(longest, dtype=torch.float, device=CPU), frequencies).repeat(1, 2)
    return angles.cos().to(device), angles.sin().to(device)


@lru_cache(maxsize=256)
@outside_transforms
def neighbours(longest: int, window: int, device: torch.device = CPU) -> tuple[Tensor, Tensor]:
    """Which tokens are at most ``window`` apart, and which are the same: (longest, longest) booleans."""
    place = torch.arange(longest, device=device)
    apart = (place[:, None] - place[None, :]).abs()
    return apart <= window, apart == 0


@register
class ModernBert(Family):
    """Local attention in two of three layers, each kind with its own rotary base; a LayerNorm at the end."""

    model_types = ("modernbert",)
    adapters_at: ClassVar = {
        "attended": "layers.{layer}.attention_adapters",
        "output": "layers.{layer}.output_adapters",
    }

    def refusal(self, config: Any) -> str | None:
        """Stretched rotary positions are not supported."""
        kinds = {p.get("rope_type", "default") for p in config.rope_parameters.values() if p}
        return (
            None if kinds == {"default"} else f"has rotary positions of the kind {', '.join(sorted(kinds))}"
        )

    def embeddings(self, model: Any) -> nn.Module:
        """See :meth:`Family.embeddings`."""
        return WordEmbeddings(model.embeddings)

    def layers(self, model: Any) -> list[FrozenLayer]:
        """See :meth:`Family.layers`."""
        config, top = model.config, len(model.layers) - 1
        layers: list[FrozenLayer] = []
        for index, (layer, kind) in enumerate(zip(model.layers, config.layer_types, strict=True)):
            theta = float(config.rope_parameters[kind]["rope_theta"])
            window = config.sliding_window if kind == "sliding_attention" else None
            layers.append(ModernLayer(layer, theta, window, model.final_norm if index == top else None))
        return layers

    def mlm_head(self, model: Any) -> nn.Module | None:
        """See :meth:`Family.mlm_head`."""
        return nn.Sequential(model.head, model.decoder)
