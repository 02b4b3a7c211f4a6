"""Alignment of languages: whether translations have similar sentence vectors, layer by layer.

A task adapter that was trained in English transfers to a language as far as the encoder gives sentences of
that language the vectors of their translations. Weak alignment is a sign of failing transfer.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.adapters.layers import LayerAdapter, adapted_layer
from metaxcr.data.corpora import load_parallel
from metaxcr.encoders.encoder import FrozenEncoder, Ragged, Text
from metaxcr.encoders.layer import NO_ADAPTER, AdapterStack, Context
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import token_slices
from metaxcr.evaluation.statistics import crossed_interval
from metaxcr.hardware import CPU, choose_dtype
from metaxcr.model.choice_model import mean_pool

ENCODER, LANGUAGE, TASK = "encoder", "language", "task"  # stacks: the encoder alone, with adapters
PIVOT = "en"
XCOPA = ("et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh")
CORPUS, SPLIT = "flores200", "devtest"  # dev may train, devtest only measures
WEAK = 0.5  # fixed before anything was measured: most sentences do not find their translation

Row = dict[str, Any]
Level = Callable[[int], LayerAdapter | None]  # layer -> the adapter of one stack level in it


@torch.no_grad()
def layer_vectors(
    encoder: FrozenEncoder,
    sentences: Sequence[str],
    levels: Sequence[Level] = (),
    *,
    invertible: nn.Module | None = None,
    dtype: torch.dtype | None = None,
    max_tokens: int = 128,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Mean vectors of sentences of one language at every level of the stack in every layer.

    Within a layer, level 0 is the layer without adapters and level k the layer with the k lowest ``levels``
    (language adapter, task adapter), all on the same input; the next layer gets the output with all of them.
    ``invertible`` is the language adapter's part on the embeddings. ``progress`` gets (sentences done, all).

    Returns:
        (levels + 1, layers + 1, sentences, width) float32, not normalised; index 0 of the second axis are the
        embeddings.
    """
    dtype = dtype or choose_dtype(device=encoder.device).dtype
    tokenized = encoder.tokenize([Text(s) for s in sentences], min(max_tokens, encoder.max_positions))
    order = sorted(range(len(tokenized)), key=lambda n: len(tokenized[n].ids))
    found = torch.empty(len(levels) + 1, encoder.depth + 1, len(sentences), encoder.width, device=CPU)
    for begin, end in token_slices(len(tokenized[n].ids) for n in order):
        batch = order[begin:end]
        embedded = encoder.embed([tokenized[i] for i in batch])
        lowest = embedded.hidden if invertible is None else invertible(embedded.hidden)
        found[:, 0, batch] = _pooled([embedded.hidden] + [lowest] * len(levels), embedded)
        hidden, context = encoder.enter(Ragged(lowest, embedded.lengths), dtype)
        for index in range(encoder.depth):
            outputs = _one_layer(encoder, index, hidden, context, levels, dtype)
            found[:, index + 1, batch] = _pooled(outputs, embedded)
            hidden = outputs[-1]
        progress(end, len(order))
    return found


def _pooled(outputs: Sequence[Tensor], texts: Ragged) -> Tensor:
    """Mean vector of each text in each output: (outputs, texts, width)."""
    size = len(texts.hidden)
    return torch.stack([mean_pool(output[:size], texts.lengths) for output in outputs]).to(CPU)


def _one_layer(
    encoder: FrozenEncoder,
    index: int,
    hidden: Tensor,
    context: Context,
    levels: Sequence[Level],
    dtype: torch.dtype,
) -> list[Tensor]:
    """Outputs of one layer with none of the adapters, with the lowest, and so on."""
    stack: list[LayerAdapter] = []
    outputs: list[Tensor] = [encoder.layer(index, dtype)(hidden, context, NO_ADAPTER)]
    for level in levels:
        adapter = level(index)
        if adapter is None:
            outputs.append(outputs[-1])
            continue
        stack.append(adapter)
        layer = adapted_layer(encoder, index, dtype, stack)
        outputs.append(layer(hidden, context, AdapterStack(stack)))
    return outputs


def alignment(one: Tensor, other: Tensor) -> Row:
    """How well translations find each other by cosine; both have shape (sentences, width), in the same order.

    Returns:
        ``forward``: share of sentences of ``one`` whose nearest sentence of ``other`` is their translation;
        ``backward``: the other direction; ``retrieval``: mean of both, with ``ci95`` over the sentences (a
        sentence scores 0, 0.5 or 1); ``translations`` and ``others``: mean cosine with the translation and
        with all other sentences; ``distance``: their difference; ``n``.
    """
    cosines = F.normalize(one.double(), dim=-1) @ F.normalize(other.double(), dim=-1).T
    n = len(cosines)
    right = torch.arange(n)
    forward, backward = cosines.argmax(1) == right, cosines.argmax(0) == right
    found = crossed_interval(((forward.double() + backward.double()) / 2).numpy())
    translations = float(cosines.diagonal().mean())
    others = float((cosines.sum() - cosines.diagonal().sum()) / (n * (n - 1)))
    return {
        "forward": round(float(forward.double().mean()), 4),
        "backward": round(float(backward.double().mean()), 4),
        "retrieval": round(found.mean, 4),
        "ci95": [round(max(0.0, found.low), 4), round(min(1.0, found.high), 4)],
        "translations": round(translations, 4),
        "others": round(others, 4),
        "distance": round(translations - others, 4),
        "n": n,
    }


def alignment_table(pivot: Tensor, languages: Mapping[str, Tensor], *, stack: str) -> list[Row]:
    """A row of :func:`alignment` with the pivot for every language and layer (0: the embeddings).

    Vectors have shape (layers + 1, sentences, width). ``stack`` names the adapters in use.
    """
    return [
        {
            "language": language,
            "pivot": PIVOT,
            "stack": stack,
            "layer": layer,
            **alignment(one, other),
        }
        for language, vectors in languages.items()
        for layer, (one, other) in enumerate(zip(pivot, vectors, strict=True))
    ]


def weak_languages(rows: Sequence[Row], limit: float = WEAK) -> list[Row]:
    """The rows of languages whose alignment is too weak to transfer, the weakest first.

    That is: the 95 % interval of retrieval after the last layer, which the scorer reads, lies below
    ``limit``.
    """
    last = max((row["layer"] for row in rows), default=0)
    weak = [row for row in rows if row["layer"] == last and row["ci95"][1] < limit]
    return sorted(weak, key=lambda row: row["retrieval"])


def check_alignment(
    encoder: FrozenEncoder,
    languages: Sequence[str],
    *,
    adapters: Mapping[str, LanguageAdapter] | None = None,
    task: Mapping[int, LayerAdapter] | None = None,
    sentences: int | None = None,
    dtype: torch.dtype | None = None,
    root: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda label, done, total: None,
) -> list[Row]:
    """Measure how well languages are aligned with English, layer by layer, on FLORES-200 devtest.

    Only the first ``sentences`` are used, by default all 1,012: retrieval is harder among more. ``progress``
    gets (label, sentences done, all).

    Returns:
        Rows of :func:`alignment_table` for each stack: the ``encoder`` alone; with ``language`` adapters, for
        languages that have one; with the ``task`` adapter (layer -> adapter), above the language adapter if
        there is one. English goes through the same stack, with its own language adapter or none.
    """
    adapters = adapters or {}
    wanted = [language for language in languages if language != PIVOT]
    if not wanted or len(set(wanted)) < len(wanted):
        raise UserError("name at least one language besides English, each once", "--languages")
    corpus = load_parallel(CORPUS, SPLIT, wanted, root=root).sentences
    texts = {language: lines[:sentences] for language, lines in corpus.items()}
    if len(texts[PIVOT]) < 2:
        raise UserError("retrieval needs two sentences or more", "--sentences")
    rows: list[Row] = []
    for stack in [ENCODER, *([LANGUAGE] if adapters else []), *([TASK] if task else [])]:
        chosen = [x for x in wanted if stack != LANGUAGE or x in adapters]
        vectors = {}
        for language in [PIVOT, *chosen]:
            own = adapters.get(language) if stack != ENCODER else None
            levels: list[Level] = [own.by_layer.get] if own is not None else []
            if stack == TASK and task is not None:
                levels.append(task.get)
            vectors[language] = layer_vectors(
                encoder, texts[language], levels, invertible=None if own is None else own.invertible,
                dtype=dtype, progress=partial(progress, f"{stack} {language}"),
            )[-1]  # fmt: skip
        rows += alignment_table(vectors[PIVOT], {x: vectors[x] for x in chosen}, stack=stack)
    return rows
