"""A frozen BERT-family encoder that can be entered and left between any two layers.

Activations are *ragged*: the tokens of all texts of a batch stand one after another in one (tokens, width) matrix, so
the matrix products, nearly all of the work, never touch padding. Only attention looks at a padded view.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaxcr.errors import UserError


class Text(NamedTuple):
    """One sequence for the encoder: a sentence, or a pair of them."""

    first: str
    second: str | None = None


class Ragged(NamedTuple):
    """Token vectors of several texts, one text after another.

    Attributes:
        hidden: (tokens, width).
        lengths: (texts,) int64, tokens a text; they sum to ``tokens``.
    """

    hidden: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class TokenizedText:
    """Token ids of one text, segment ids beside them, and its length before truncation."""

    ids: list[int]
    segments: list[int]
    full_length: int


class Tokenizer(Protocol):
    """What an encoder needs of a tokenizer."""

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        """Tokenise texts, cutting each to at most ``max_tokens`` tokens, special tokens included."""
        ...


class Context(NamedTuple):
    """Where each ragged token stands in the padded (texts, longest) grid, and which grid cells are real.

    Attributes:
        cells: (tokens,) index of each token in the flattened grid.
        mask: (texts, 1, 1, longest) boolean, true on real tokens; None when nothing is padded.
        texts: Number of texts.
        longest: Length of the longest text in tokens.
    """

    cells: Tensor
    mask: Tensor | None
    texts: int
    longest: int


class FrozenLayer(nn.Module):
    """Weights of one post-LayerNorm transformer layer, with query, key and value fused into one product.

    Args:
        source: A ``transformers`` layer of the BERT or (XLM-)RoBERTa family.
    """

    qkv: Tensor
    qkv_bias: Tensor

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        attention, out = source.attention, source.output
        parts = [getattr(attention.self, name) for name in ("query", "key", "value")]
        self.heads: int = attention.self.num_attention_heads
        self.activation: Callable[[Tensor], Tensor] = source.intermediate.intermediate_act_fn
        tensors = {
            "qkv": torch.cat([p.weight for p in parts]),
            "qkv_bias": torch.cat([p.bias for p in parts]),
            "attended": attention.output.dense.weight,
            "attended_bias": attention.output.dense.bias,
            "norm1": attention.output.LayerNorm.weight,
            "norm1_bias": attention.output.LayerNorm.bias,
            "up": source.intermediate.dense.weight,
            "up_bias": source.intermediate.dense.bias,
            "down": out.dense.weight,
            "down_bias": out.dense.bias,
            "norm2": out.LayerNorm.weight,
            "norm2_bias": out.LayerNorm.bias,
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().clone())
        self.eps: float = out.LayerNorm.eps

    def attend(self, hidden: Tensor, context: Context) -> Tensor:
        """Self-attention within each text; (tokens, width) in and out."""
        width = hidden.shape[-1]
        qkv = F.linear(hidden, self.qkv, self.qkv_bias)
        grid = qkv.new_zeros(context.texts * context.longest, 3 * width).index_copy(0, context.cells, qkv)
        grid = grid.view(context.texts, context.longest, 3, self.heads, width // self.heads)
        q, k, v = grid.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=context.mask)
        mixed = mixed.transpose(1, 2).reshape(context.texts * context.longest, width)
        return mixed.index_select(0, context.cells)

    def forward(self, hidden: Tensor, context: Context, adapt: Callable[[Tensor, "FrozenLayer"], Tensor]) -> Tensor:
        """Apply the layer.

        Args:
            hidden: (tokens, width).
            context: From :meth:`FrozenEncoder.context`.
            adapt: Maps z, the sum before the last LayerNorm, to the adapted z (Pfeiffer placement).

        Returns:
            (tokens, width).
        """
        mixed = F.linear(self.attend(hidden, context), self.get_buffer("attended"), self.get_buffer("attended_bias"))
        hidden = F.layer_norm(
            mixed + hidden, hidden.shape[-1:], self.get_buffer("norm1"), self.get_buffer("norm1_bias"), self.eps
        )
        inner = self.activation(F.linear(hidden, self.get_buffer("up"), self.get_buffer("up_bias")))
        z = F.linear(inner, self.get_buffer("down"), self.get_buffer("down_bias")) + hidden
        return self.last_norm(adapt(z, self))

    def last_norm(self, z: Tensor) -> Tensor:
        """The layer's last LayerNorm, which adapters share (see :mod:`metaxcr.adapters.stack`)."""
        return F.layer_norm(z, z.shape[-1:], self.get_buffer("norm2"), self.get_buffer("norm2_bias"), self.eps)


def no_adapter(z: Tensor, layer: FrozenLayer) -> Tensor:
    """The empty stack."""
    return z


@dataclass
class FrozenEncoder:
    """A frozen encoder: tokenizer, embeddings and layers, each usable on its own.

    Attributes:
        name: As the user gave it.
        fingerprint: Checksum of the weights and the tokenizer; part of every cache key.
        tokenizer: Turns texts into token ids.
        embeddings: The ``transformers`` embedding module.
        layers: All transformer layers, float32.
        prefix: Written before every text (``"query: "`` for the E5 family).
        first_position: Position id of the first token (0 for BERT, padding index + 1 for XLM-R).
        max_positions: Longest text in tokens that the position embeddings allow.
        parameters: Number of parameters, embeddings included.
        embedding_parameters: Those of the embeddings alone.
    """

    name: str
    fingerprint: str
    tokenizer: Tokenizer
    embeddings: nn.Module
    layers: nn.ModuleList
    prefix: str
    first_position: int
    max_positions: int
    parameters: int
    embedding_parameters: int
    _cast: dict[tuple[int, torch.dtype], FrozenLayer] = field(default_factory=dict, repr=False)

    @property
    def width(self) -> int:
        """Width of a token vector."""
        return int(self.layer(0, torch.float32).get_buffer("norm2").shape[0])

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.layers)

    def tokenize(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        """Tokenise texts with the encoder's prefix, special tokens included.

        Raises:
            UserError: ``max_tokens`` exceeds what the position embeddings allow.
        """
        if max_tokens > self.max_positions:
            raise UserError(
                f"max_tokens {max_tokens} is more than the {self.max_positions} positions of {self.name}",
                "encoder.max_tokens",
                f"use at most {self.max_positions}",
            )
        return self.tokenizer([Text(self.prefix + t.first, t.second) for t in texts], max_tokens)

    def embed(self, tokenized: Sequence[TokenizedText]) -> Ragged:
        """Embed texts: word, position and segment embeddings with their LayerNorm; float32."""
        lengths = torch.tensor([len(t.ids) for t in tokenized])
        ids = torch.tensor([i for t in tokenized for i in t.ids])
        segments = torch.tensor([s for t in tokenized for s in t.segments])
        positions = torch.cat([torch.arange(int(n)) for n in lengths]) + self.first_position
        with torch.no_grad():
            hidden = self.embeddings(
                input_ids=ids[None], token_type_ids=segments[None], position_ids=positions[None]
            )[0]
        return Ragged(hidden, lengths)

    @staticmethod
    def context(lengths: Tensor) -> Context:
        """Prepare attention for texts of the given lengths: (texts,) -> :class:`Context`."""
        texts, longest = len(lengths), int(lengths.max())
        starts = torch.arange(texts) * longest
        first = torch.cumsum(lengths, 0) - lengths
        offsets = torch.arange(int(lengths.sum())) - torch.repeat_interleave(first, lengths)
        cells = torch.repeat_interleave(starts, lengths) + offsets
        real = torch.arange(longest)[None, :] < lengths[:, None]
        return Context(cells, None if bool(real.all()) else real[:, None, None, :], texts, longest)

    def layer(self, index: int, dtype: torch.dtype) -> FrozenLayer:
        """Layer ``index`` with its weights in ``dtype`` (cast once, then kept)."""
        key = (index, dtype)
        if key not in self._cast:
            source = self.layers[index]
            assert isinstance(source, FrozenLayer)
            if dtype == torch.float32:
                self._cast[key] = source
            else:
                copy = FrozenLayer.__new__(FrozenLayer)
                nn.Module.__init__(copy)
                copy.heads, copy.activation, copy.eps = source.heads, source.activation, source.eps
                for name, tensor in source.named_buffers():
                    copy.register_buffer(name, tensor.to(dtype))
                self._cast[key] = copy
        return self._cast[key]

    @torch.no_grad()
    def run(self, ragged: Ragged, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """Apply layers ``start`` to ``stop - 1`` without adapters: (tokens, width) in ``dtype``."""
        hidden, context = ragged.hidden.to(dtype), self.context(ragged.lengths)
        for index in range(start, stop):
            hidden = self.layer(index, dtype)(hidden, context, no_adapter)
        return hidden
