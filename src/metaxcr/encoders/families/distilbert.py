"""DistilBERT: BERT's layer under other names, without segments."""

from typing import Any, ClassVar

from torch import nn

from metaxcr.encoders.families.family import Family, WordEmbeddings, register
from metaxcr.encoders.layer import FrozenLayer, PostNormLayer


@register
class DistilBert(Family):
    """Half the layers of BERT, distilled from it.

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
