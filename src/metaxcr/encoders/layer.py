"""One frozen transformer layer on ragged activations, and the hooks through which adapters act in it."""

import copy
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, ParamSpec, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaxcr.hardware import cast_weight

P = ParamSpec("P")
T = TypeVar("T")
Norm = Callable[[Tensor], Tensor]
Activation = Callable[[Tensor], Tensor]
OutputHook = Callable[[Tensor, Tensor, Norm], Tensor | None]
PARTS = (("weight", ""), ("bias", "_bias"))  # of a module, and the ends of their names in a layer


def outside_transforms(make: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function so that it runs outside ``torch.func`` transforms and inference mode.

    A tensor that is created inside ``torch.func.grad`` cannot be used after that call, and one created in
    inference mode cannot be used in training, so neither can be cached. Both modes belong to the current
    thread, so the function runs in another thread.
    """

    @functools.wraps(make)
    def outside(*args: P.args, **kwargs: P.kwargs) -> T:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(make, *args, **kwargs).result()

    return outside


class Context(NamedTuple):
    """The padded grid (texts, longest) in which attention sees ragged tokens."""

    # (tokens,) index of each token in the flattened grid; texts * longest, one past its end, for filler
    # tokens, which belong to no text
    cells: Tensor
    mask: Tensor | None  # (texts, 1, 1, longest) boolean, true on real tokens; None when nothing is padded
    texts: int  # rows of the grid, at least the number of texts
    longest: int  # columns of the grid, at least the tokens of the longest text


class Hooks:
    """Where an adapter may act in one layer; a hook returns what the adapter adds there, None for nothing."""

    def projections(self, hidden: Tensor) -> Tensor | None:
        """Added to query, key and value side by side (tokens, 3 * width), made from ``hidden``."""
        return None

    def attended(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor | None:
        """Added to attention's ``output``; z is that plus its residual, ``norm`` the LayerNorm after it."""
        return None

    def feed_forward(self, hidden: Tensor) -> Tensor | None:
        """Added to the feed-forward output, made from its input ``hidden``."""
        return None

    def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor | None:
        """Added to the feed-forward ``output``; z is that plus its residual, ``norm`` the last LayerNorm."""
        return None


class AdapterStack:
    """Adapters on top of each other in one layer, from below; a layer's ``forward`` calls all four methods.

    Each adapter sees what the ones below it have added: with z the output of a sub-layer plus its residual,
    z_k = z_(k-1) + what the k-th adapter adds.
    """

    def __init__(self, adapters: Sequence[Hooks] = ()) -> None:
        self._adapters = adapters

    def projections(self, hidden: Tensor, qkv: Tensor) -> Tensor:
        """Change query, key and value, side by side in ``qkv`` (tokens, 3 * width), made from ``hidden``."""
        return _sum(qkv, (adapter.projections(hidden) for adapter in self._adapters))

    def attended(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
        """Change z, attention's ``output`` plus its residual, before the LayerNorm ``norm`` (Houlsby)."""
        return _climb([adapter.attended for adapter in self._adapters], z, output, norm)

    def feed_forward(self, hidden: Tensor, output: Tensor) -> Tensor:
        """Change the feed-forward output, made from ``hidden``, before its residual is added (parallel)."""
        return _sum(output, (adapter.feed_forward(hidden) for adapter in self._adapters))

    def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
        """Change z, the feed-forward ``output`` plus its residual, before the last LayerNorm (Pfeiffer)."""
        return _climb([adapter.output for adapter in self._adapters], z, output, norm)


def _sum(total: Tensor, added: Iterable[Tensor | None]) -> Tensor:
    for part in added:
        total = total if part is None else total + part
    return total


def _climb(hooks: Sequence[OutputHook], z: Tensor, output: Tensor, norm: Norm) -> Tensor:
    """Let adapters add to ``output`` and to z, from below."""
    for position, hook in enumerate(hooks):
        added = hook(z, output, norm)
        if added is None:
            continue
        z = z + added
        if position + 1 < len(hooks):  # no adapter sees the output of the uppermost one
            output = output + added
    return z


NO_ADAPTER = AdapterStack()


class FrozenLayer(nn.Module):
    """One frozen transformer layer: its weights, and attention over ragged tokens.

    Weights are buffers, so that optimisers and ``functional_call`` do not see them; a bias that the family
    does not have is None. Query, key and value are fused into one product ``qkv``. A family implements
    ``forward`` with its LayerNorms in their places and calls the four hooks; most families inherit
    :class:`PostNormLayer`.

    Attributes:
        derived: Names of buffers that are computed from other weights and are no weights of the layer.
        eps: Of its LayerNorms.
    """

    qkv: Tensor
    eps: float
    derived: Collection[str] = ()

    def __init__(self, heads: int, weights: Mapping[str, Tensor | None]) -> None:
        super().__init__()
        self.heads = heads
        for name, tensor in weights.items():
            self.register_buffer(name, None if tensor is None else tensor.detach().clone())

    @property
    def weights(self) -> dict[str, Tensor]:
        """The layer's own weights by name."""
        return {name: tensor for name, tensor in self.named_buffers() if name not in self.derived}

    def cast(self, dtype: torch.dtype, deltas: Mapping[str, Tensor] | None = None) -> Self:
        """Copy the layer in another dtype; ``deltas`` are added to weights before, so that none is lost."""
        other, deltas = copy.copy(self), deltas or {}
        other._buffers = {}
        for name, tensor in self._buffers.items():
            changed = tensor + deltas[name] if tensor is not None and name in deltas else tensor
            other.register_buffer(name, None if changed is None else cast_weight(changed, dtype))
        return other

    def linear(self, x: Tensor, name: str) -> Tensor:
        """Apply the linear map with a name."""
        weight = self._buffers[name]
        assert weight is not None
        return F.linear(x, weight, self._buffers[f"{name}_bias"])

    def norm(self, z: Tensor, name: str) -> Tensor:
        """Apply the LayerNorm with a name, if the layer has it."""
        weight, bias = self._buffers[name], self._buffers[f"{name}_bias"]
        return z if weight is None else F.layer_norm(z, z.shape[-1:], weight, bias, self.eps)

    def attend(self, qkv: Tensor, context: Context) -> Tensor:
        """Self-attention within each text: (tokens, 3 * width) to (tokens, width)."""
        width = qkv.shape[-1] // 3
        size = context.texts * context.longest
        grid = qkv.new_zeros(size + 1, 3 * width).index_copy(0, context.cells, qkv)[:size]
        grid = grid.view(context.texts, context.longest, 3, self.heads, width // self.heads)
        q, k, v = grid.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = self.mix(q, k, v, context).transpose(1, 2).reshape(size, width)
        return F.pad(mixed, (0, 0, 0, 1)).index_select(0, context.cells)  # the last row is for filler tokens

    def mix(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """Attention in the padded grid; a family with relative positions overrides it.

        q, k, v and the result are (texts, heads, longest, width of a head). A token's column in the grid is
        its position in its text.
        """
        return attention(q, k, v, context.mask)

    def forward(self, hidden: Tensor, context: Context, hooks: AdapterStack = NO_ADAPTER) -> Tensor:
        """Apply the layer with the active adapters: (tokens, width) to (tokens, width)."""
        raise NotImplementedError


def bert_modules(layer: Any, suffix: str = "") -> dict[str, nn.Module]:
    """The modules of a ``transformers`` layer with BERT's names, as :class:`PostNormLayer` takes them.

    ``suffix`` ends the names of query, key and value.
    """
    own = layer.attention.self
    return {
        **{name: getattr(own, name + suffix) for name in ("query", "key", "value")},
        "attended": layer.attention.output.dense,
        "norm1": layer.attention.output.LayerNorm,
        "up": layer.intermediate.dense,
        "down": layer.output.dense,
        "norm2": layer.output.LayerNorm,
    }


class PostNormLayer(FrozenLayer):
    """A layer as in BERT: one LayerNorm after attention, one after the feed-forward part.

    ``modules`` has the keys of :func:`bert_modules`, ``more`` further weights of a family.
    """

    def __init__(
        self, modules: Mapping[str, Any], heads: int, activation: Activation, **more: Tensor
    ) -> None:
        fused = [modules[name] for name in ("query", "key", "value")]
        weights = {f"qkv{end}": torch.cat([getattr(m, part) for m in fused]) for part, end in PARTS}
        for name in ("attended", "norm1", "up", "down", "norm2"):
            weights |= {name + end: getattr(modules[name], part) for part, end in PARTS}
        super().__init__(heads, weights | more)
        self.activation, self.eps = activation, modules["norm2"].eps

    def forward(self, hidden: Tensor, context: Context, hooks: AdapterStack = NO_ADAPTER) -> Tensor:
        """See :meth:`FrozenLayer.forward`."""
        qkv = hooks.projections(hidden, self.linear(hidden, "qkv"))
        mixed = self.linear(self.attend(qkv, context), "attended")
        hidden = self.first_norm(hooks.attended(mixed + hidden, mixed, self.first_norm))
        inner = self.activation(self.linear(hidden, "up"))
        output = hooks.feed_forward(hidden, self.linear(inner, "down"))
        return self.last_norm(hooks.output(output + hidden, output, self.last_norm))

    def first_norm(self, z: Tensor) -> Tensor:
        """The LayerNorm after attention."""
        return self.norm(z, "norm1")

    def last_norm(self, z: Tensor) -> Tensor:
        """The layer's last LayerNorm, which adapters share (see :mod:`metaxcr.adapters.adapted_encoder`)."""
        return self.norm(z, "norm2")


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention, written out: (texts, heads, longest, width of a head) each.

    On CPUs and sentences of about 20 tokens this is twice as fast forward and backward as the fused kernel,
    whose backward pass dominated training; it is also differentiable twice. The boolean mask broadcasts to
    (texts, heads, longest, longest): true where the row's token may look; None: everywhere.
    """
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    mixed: Tensor = scores.softmax(-1) @ v
    return mixed
