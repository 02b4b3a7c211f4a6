"""The masked-language-modelling head: BERT's transform, then the frozen word embeddings as the decoder."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaxcr.encoders.blocks import Rows

EPS = 1e-12  # of the LayerNorm, as in BERT's head


class TiedHead(nn.Module):
    """logits = LN(gelu(W h + b)) E' + c, with E the encoder's frozen word embeddings.

    The decoder is cut to the rows of tokens that occur in the text: with 250,000 rows the softmax would cost
    more than the encoder. Losses are comparable only among heads with the same rows.

    Args:
        embeddings: (vocabulary, width) word embeddings.
        rows: (rows,) token ids that the decoder knows.

    Source:
        Devlin et al. 2019 (BERT), the reference code's ``get_masked_lm_output``; Press and Wolf 2017.
    """

    decoder: Tensor
    rows: Tensor

    def __init__(self, embeddings: Rows, rows: Tensor) -> None:
        super().__init__()
        width = embeddings.shape[1]
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.bias = nn.Parameter(torch.zeros(len(rows)))
        nn.init.eye_(self.dense.weight)  # so that nothing has to be drawn
        nn.init.zeros_(self.dense.bias)
        self.register_buffer("rows", rows)
        self.register_buffer("decoder", embeddings[rows].detach().cpu().clone())

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (places, width), any dtype, to (places, rows) float32."""
        x: Tensor = self.norm(F.gelu(self.dense(hidden.float())))
        return x @ self.decoder.T + self.bias


class OwnHead(nn.Module):
    """An encoder's own head, frozen, cut to the rows of tokens that occur in the text.

    Args:
        head: (places, width) to (places, vocabulary).
        rows: (rows,) token ids.
    """

    rows: Tensor

    def __init__(self, head: nn.Module, rows: Tensor) -> None:
        super().__init__()
        self.head = head.requires_grad_(False).eval()
        self.register_buffer("rows", rows)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (places, width), any dtype, to (places, rows) float32."""
        logits: Tensor = self.head(hidden.float())
        return logits[:, self.rows]
