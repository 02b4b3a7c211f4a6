"""BERT, (XLM-)RoBERTa and CamemBERT: also multilingual MiniLM, the E5 family and the embedded encoder."""

from typing import Any, ClassVar

from torch import nn

from metaxcr.encoders.families.family import Family, register
from metaxcr.encoders.layer import FrozenLayer, PostNormLayer, bert_modules


@register
class Bert(Family):
    """LayerNorms after each part, absolute positions in the embeddings, segments.

    Source: Devlin et al. 2019 (NAACL), BERT.
    """

    model_types: ClassVar[tuple[str, ...]] = ("bert",)

    def refusal(self, config: Any) -> str | None:
        """Relative positions, which some old checkpoints have, are not supported."""
        kind = getattr(config, "position_embedding_type", "absolute")
        return None if kind == "absolute" else f"has {kind} positions; supported are absolute positions"

    def layers(self, model: Any) -> list[FrozenLayer]:
        """See :meth:`Family.layers`."""
        return [self._layer(layer) for layer in model.encoder.layer]

    def _layer(self, layer: Any) -> FrozenLayer:
        heads, activation = layer.attention.self.num_attention_heads, layer.intermediate.intermediate_act_fn
        return PostNormLayer(bert_modules(layer), heads, activation)

    def mlm_head(self, model: Any) -> nn.Module | None:
        """See :meth:`Family.mlm_head`."""
        head: nn.Module = model.cls
        return head


@register
class Roberta(Bert):
    """BERT with positions that start after the padding index.

    Source: Liu et al. 2019 (arXiv 1907.11692), RoBERTa; Conneau et al. 2020 (ACL), XLM-R.
    """

    model_types = ("roberta", "xlm-roberta", "camembert")

    def first_position(self, config: Any) -> int:
        """See :meth:`Family.first_position`."""
        return int(config.pad_token_id) + 1

    def mlm_head(self, model: Any) -> nn.Module | None:
        """See :meth:`Family.mlm_head`."""
        head: nn.Module = model.lm_head
        return head
