"""BERT, (XLM-)RoBERTa, CamemBERT and DistilBERT; also multilingual MiniLM, E5 and the embedded encoder."""

from typing import Any, ClassVar

from torch import nn

from metaxcr.encoders.families.family import Family, WordEmbeddings, register
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


@register
class DistilBert(Family):
    """Half the layers of BERT, distilled from it: its layer under other names, without segments.

    Source: Sanh et al. 2019 (arXiv 1910.01108), DistilBERT.
    """

    model_types = ("distilbert",)
    adapters_at: ClassVar = {
        "attended": "transformer.layer.{layer}.attention_adapters",
        "output": "transformer.layer.{layer}.output_adapters",
    }

    def embeddings(self, model: Any) -> nn.Module:
        """See :meth:`Family.embeddings`."""
        return WordEmbeddings(model.embeddings, ["position_ids"])

    def layers(self, model: Any) -> list[FrozenLayer]:
        """See :meth:`Family.layers`."""
        return [self._layer(layer, model.config.n_heads) for layer in model.transformer.layer]

    def _layer(self, layer: Any, heads: int) -> FrozenLayer:
        own, feed = layer.attention, layer.ffn
        modules = {"query": own.q_lin, "key": own.k_lin, "value": own.v_lin, "attended": own.out_lin}
        modules |= {"norm1": layer.sa_layer_norm, "norm2": layer.output_layer_norm}
        modules |= {"up": feed.lin1, "down": feed.lin2}
        return PostNormLayer(modules, heads, layer.ffn.activation)

    def mlm_head(self, model: Any) -> nn.Module | None:
        """See :meth:`Family.mlm_head`."""
        return nn.Sequential(
            model.vocab_transform, model.activation, model.vocab_layer_norm, model.vocab_projector
        )
