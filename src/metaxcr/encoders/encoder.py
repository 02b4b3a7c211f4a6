"""A frozen encoder whose layers can be run one by one.

Activations are *ragged*: the tokens of all texts of a batch stand one after another in one (tokens, width)
matrix, so the matrix products, nearly all of the work, never touch padding. Only attention uses a padded view
(see :mod:`metaxcr.encoders.layer`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaxcr.encoders.families.family import Family
from metaxcr.encoders.layer import NO_ADAPTER, AdapterStack, Context, FrozenLayer, outside_transforms
from metaxcr.errors import UserError
from metaxcr.hardware import CPU, cast_weight, memory_errors

LayerHooks = Callable[[int], AdapterStack]  # number of a layer -> the adapters in it

ROUND_TOKENS, ROUND_TEXTS, ROUND_LENGTH = 128, 8, 8  # see FrozenEncoder.context


class Text(NamedTuple):
    """One sequence for the encoder: a sentence, or a pair of them."""

    first: str  # the sentence, or the first one of a pair
    second: str | None = None  # the second one of a pair
    # which of them, 0 or 1, may be cut when the text is too long; None: neither, as for a choice
    cuttable: int | None = 0


class Ragged(NamedTuple):
    """Token vectors of several texts, one text after another."""

    hidden: Tensor  # (tokens, width)
    lengths: Tensor  # (texts,) int64, tokens of each text; they sum to tokens


@dataclass(frozen=True)
class TokenizedText:
    """Token ids and segment ids of one text, and its length before truncation."""

    ids: list[int]
    segments: list[int]
    full_length: int


class WordTokens(NamedTuple):
    """A text's token ids, and the word of each token, counted from 0; None for special tokens."""

    ids: list[int]
    words: list[int | None]


class Tokenizer(Protocol):
    """What an encoder needs of a tokenizer; with a ``fingerprint``, its results are cached."""

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        """Tokenise texts, cutting each to at most ``max_tokens`` tokens, special tokens included."""


@runtime_checkable
class WordTokenizer(Tokenizer, Protocol):
    """A tokenizer that knows where words begin, and has a mask token."""

    @property
    def mask_id(self) -> int | None:
        """Id of the mask token, if there is one."""

    def words(self, texts: Sequence[Text]) -> list[WordTokens]:
        """Tokenise single texts, without the encoder's prefix and without truncation."""


def truncate(
    text: Text, ids: Sequence[int], segments: Sequence[int], parts: Sequence[int | None], max_tokens: int
) -> TokenizedText:
    """Cut a tokenised text to ``max_tokens`` tokens: its cuttable part loses tokens from the end.

    ``parts`` is 0 or 1 for tokens of the first or second part, None for special tokens. A UserError if a
    choice would have to be cut.
    """
    surplus = len(ids) - max_tokens
    if surplus <= 0:
        return TokenizedText(list(ids), list(segments), len(ids))
    own = [] if text.cuttable is None else [i for i, part in enumerate(parts) if part == text.cuttable]
    if surplus > len(own):
        choice = text.second if text.cuttable == 0 and text.second is not None else text.first
        what, fix = f"a choice does not fit into {max_tokens} tokens", "raise encoder.max_tokens"
        raise UserError(what, f"{choice[:60]!r}", f"{fix}; a context may be cut, a choice never is")
    kept = sorted(set(range(len(ids))).difference(own[-surplus:]))
    return TokenizedText([ids[i] for i in kept], [segments[i] for i in kept], len(ids))


class EmbeddingMatrix(Protocol):
    """Vectors by token id: a tensor or a quantized embedding, (vocabulary, width)."""

    @property
    def shape(self) -> torch.Size:
        """Rows, columns."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: Tensor, /) -> Tensor: ...


@dataclass
class FrozenEncoder:
    """A frozen encoder: tokenizer, embeddings and layers, each usable on its own."""

    name: str  # as the user gave it
    family: Family  # how the transformers model was taken apart
    fingerprint: str  # checksum of the weights and the tokenizer; part of every cache key
    tokenizer: Tokenizer
    embeddings: nn.Module  # see Family.embeddings
    word_embeddings: EmbeddingMatrix  # (vocabulary, width), for a tied output layer; possibly quantized
    layers: nn.ModuleList  # all transformer layers, float32
    prefix: str  # written before every text ("query: " for the E5 family)
    first_position: int  # position id of the first token (0 for BERT, padding index + 1 for XLM-R)
    max_positions: int  # longest text in tokens that the position embeddings allow
    parameters: int  # number of parameters, embeddings included
    embedding_parameters: int  # number of parameters of the embeddings alone
    revision: str | None = None  # commit on the hub that it was loaded from; None for other encoders
    _cast: dict[tuple[int, torch.dtype], FrozenLayer] = field(default_factory=dict, repr=False)

    @property
    def device(self) -> torch.device:
        """Where the layers compute."""
        return self.original(0).qkv.device

    def to(self, device: torch.device) -> "FrozenEncoder":
        """Move embeddings and layers to a device, in place; returns the encoder."""
        if device != self.device:
            with memory_errors(device):
                self.embeddings.to(device)
                self.layers.to(device)
            self._cast.clear()
        return self

    @property
    def width(self) -> int:
        """Width of a token vector."""
        return self.word_embeddings.shape[1]

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        return len(self.word_embeddings)

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @property
    def layer_parameters(self) -> tuple[int, ...]:
        """Number of parameters of each layer."""
        return count_layers(self.layers)

    def tokenize(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        """Tokenise texts with the encoder's prefix, special tokens included."""
        self.check_limit(max_tokens)
        return self.tokenizer(self.prefixed(texts), max_tokens)

    def prefixed(self, texts: Sequence[Text]) -> Sequence[Text]:
        """Texts with the encoder's prefix, as the tokenizer takes them."""
        return [t._replace(first=self.prefix + t.first) for t in texts] if self.prefix else texts

    def check_limit(self, max_tokens: int) -> None:
        """Raise UserError if a length limit is more than the position embeddings allow."""
        most = self.max_positions
        if max_tokens > most:
            what = f"max_tokens {max_tokens} is more than the {most} positions of {self.name}"
            raise UserError(what, "encoder.max_tokens", f"use at most {most}")

    def embed(self, tokenized: Sequence[TokenizedText]) -> Ragged:
        """Run the embedding module, float32."""
        lengths = torch.tensor([len(t.ids) for t in tokenized], device=CPU)
        inputs = {
            "input_ids": np.fromiter(chain.from_iterable(t.ids for t in tokenized), np.int64),
            "token_type_ids": np.fromiter(chain.from_iterable(t.segments for t in tokenized), np.int64),
            "position_ids": _offsets(lengths.numpy(), self.first_position),
        }
        on_device = {name: torch.from_numpy(x)[None].to(self.device) for name, x in inputs.items()}
        with torch.no_grad():
            return Ragged(self.embeddings(**on_device)[0], lengths)

    def context(self, lengths: Tensor, *, rounded: bool = False) -> Context:
        """Prepare attention for texts of the given lengths, (texts,).

        ``rounded`` rounds the sizes up, so that batches have few different shapes: a matrix product of a new
        shape costs its library several milliseconds and some megabytes, more than the product itself.
        """
        texts, longest, tokens = len(lengths), int(lengths.max()), int(lengths.sum())
        rows, columns, filler = texts, longest, 0
        if rounded:
            rows, columns = round_up(texts, ROUND_TEXTS), round_up(longest, ROUND_LENGTH)
            filler = round_up(tokens, ROUND_TOKENS) - tokens
        counts = np.array(lengths.tolist())  # lengths.numpy() fails within nested torch.func transforms
        cells = torch.from_numpy(_offsets(counts, np.arange(texts) * columns))
        cells = torch.cat([cells, torch.full((filler,), rows * columns, device=CPU)])
        real = torch.arange(columns, device=CPU)[None] < F.pad(lengths, (0, rows - texts), value=1)[:, None]
        mask = None if bool(real.all()) else real[:, None, None, :].to(self.device)
        return Context(cells.to(self.device), mask, rows, columns)

    def enter(self, ragged: Ragged, dtype: torch.dtype) -> tuple[Tensor, Context]:
        """Prepare activations for :meth:`layer`: cast them, and add filler tokens after the real ones.

        Only the first ``len(ragged.hidden)`` rows of the layers' output count.
        """
        context = self.context(ragged.lengths, rounded=True)
        filler = len(context.cells) - len(ragged.hidden)
        hidden = cast_weight(ragged.hidden, dtype)
        # Filler repeats a token: zeros have no variance, and float16 cannot hold their LayerNorm's slope.
        return torch.cat([hidden, hidden[:1].expand(filler, -1)]), context

    def layer(self, index: int, dtype: torch.dtype) -> FrozenLayer:
        """Layer ``index`` with its weights in ``dtype`` (cast once, then kept)."""
        key = (index, dtype)
        if key not in self._cast:
            source = self.original(index)
            self._cast[key] = source if dtype == torch.float32 else outside_transforms(source.cast)(dtype)
        return self._cast[key]

    def original(self, index: int) -> FrozenLayer:
        """Layer ``index`` with its weights as they were loaded."""
        source = self.layers[index]
        assert isinstance(source, FrozenLayer)
        return source

    def apply(
        self, hidden: Tensor, context: Context, layers: range, hooks: LayerHooks = lambda index: NO_ADAPTER
    ) -> Tensor:
        """Apply layers with the adapters that act in each: (tokens, width) in the dtype of ``hidden``."""
        for index in layers:
            hidden = self.layer(index, hidden.dtype)(hidden, context, hooks(index))
        return hidden

    @torch.no_grad()
    def run(self, ragged: Ragged, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """Apply layers ``start`` to ``stop - 1`` without adapters: (tokens, width) in ``dtype``."""
        hidden, context = self.enter(ragged, dtype)
        return self.apply(hidden, context, range(start, stop))[: len(ragged.hidden)]


def count_layers(layers: Iterable[nn.Module]) -> tuple[int, ...]:
    """Number of parameters of each layer."""
    frozen = (layer for layer in layers if isinstance(layer, FrozenLayer))
    return tuple(sum(weight.numel() for weight in layer.weights.values()) for layer in frozen)


def round_up(number: int, step: int) -> int:
    """The smallest multiple of ``step`` that is at least ``number``."""
    return -(-number // step) * step


def _offsets(lengths: npt.NDArray[np.int64], starts: npt.NDArray[np.int64] | int) -> npt.NDArray[np.int64]:
    """Count up within each text from its start. In numpy: torch would wake its threads for so few numbers."""
    first = np.cumsum(lengths) - lengths
    counted: npt.NDArray[np.int64] = np.arange(lengths.sum()) + np.repeat(starts - first, lengths)
    return counted
