"""Alignment of languages: whether translations have similar sentence vectors, layer by layer.

A task adapter that was trained in English transfers to a language as far as the encoder gives sentences of
that language the vectors of their translations. Weak alignment is a sign of failing transfer. A linear probe
measures what the vectors still tell about the language.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
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
from metaxcr.evaluation.statistics import crossed_interval, language_average
from metaxcr.hardware import CPU, choose_dtype
from metaxcr.model.choice_model import mean_pool

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
        found[:, :, batch] = _all_layers(encoder, embedded, levels, invertible, dtype).to(CPU)
        progress(end, len(order))
    return found


def _all_layers(
    encoder: FrozenEncoder,
    embedded: Ragged,
    levels: Sequence[Level],
    invertible: nn.Module | None,
    dtype: torch.dtype,
) -> Tensor:
    """Vectors of one batch: (levels + 1, layers + 1, texts, width)."""
    lengths, size = embedded.lengths, len(embedded.hidden)
    lowest = embedded.hidden if invertible is None else invertible(embedded.hidden)
    found = [[mean_pool(embedded.hidden, lengths)] + [mean_pool(lowest, lengths)] * len(levels)]
    hidden, context = encoder.enter(Ragged(lowest, lengths), dtype)
    for index in range(encoder.depth):
        outputs = _one_layer(encoder, index, hidden, context, levels, dtype)
        found.append([mean_pool(output[:size], lengths) for output in outputs])
        hidden = outputs[-1]
    return torch.stack([torch.stack(row) for row in found], dim=1)


def _one_layer(
    encoder: FrozenEncoder,
    index: int,
    hidden: Tensor,
    context: Context,
    levels: Sequence[Level],
    dtype: torch.dtype,
) -> list[Tensor]:
    """Outputs of one layer with none of the adapters, with the lowest, and so on."""
    layer, stack = encoder.layer(index, dtype), list[LayerAdapter]()
    outputs: list[Tensor] = [layer(hidden, context, NO_ADAPTER)]
    for level in levels:
        adapter = level(index)
        if adapter is None:
            outputs.append(outputs[-1])
            continue
        stack.append(adapter)
        layer = adapted_layer(encoder, index, dtype, stack)
        outputs.append(layer(hidden, context, AdapterStack(stack)))
    return outputs


def unit(vectors: Tensor) -> Tensor:
    """Vectors scaled to length 1."""
    return F.normalize(vectors, dim=-1)


WEAK = 0.5  # fixed before anything was measured: most sentences do not find their translation

Row = dict[str, Any]


def alignment(one: Tensor, other: Tensor) -> Row:
    """How well translations find each other by cosine.

    Args:
        one: (sentences, width) vectors in one language.
        other: The same of their translations, in the same order; at least two.

    Returns:
        ``forward``: share of sentences of ``one`` whose nearest sentence of ``other`` is their translation;
        ``backward``: the other direction; ``retrieval``: mean of both, with ``ci95`` over the sentences (a
        sentence scores 0, 0.5 or 1); ``translations`` and ``others``: mean cosine with the translation and
        with all other sentences; ``distance``: their difference; ``n``.
    """
    cosines = unit(one.double()) @ unit(other.double()).T
    n = len(cosines)
    right = torch.arange(n)
    forward, backward = cosines.argmax(1) == right, cosines.argmax(0) == right
    found = crossed_interval(((forward.double() + backward.double()) / 2).numpy())
    translations = float(cosines.diagonal().mean())
    others = float((cosines.sum() - cosines.diagonal().sum()) / (n * (n - 1)))
    return {
        "forward": _round(float(forward.double().mean())),
        "backward": _round(float(backward.double().mean())),
        "retrieval": _round(found.mean),
        "ci95": [_round(max(0.0, found.low)), _round(min(1.0, found.high))],
        "translations": _round(translations),
        "others": _round(others),
        "distance": _round(translations - others),
        "n": n,
    }


def alignment_table(
    pivot: Tensor, languages: Mapping[str, Tensor], *, stack: str, pivot_language: str = "en"
) -> list[Row]:
    """A row of :func:`alignment` with a pivot for every language and layer (0: the embeddings).

    Vectors have shape (layers + 1, sentences, width). ``stack`` names the adapters in use.
    """
    return [
        {
            "language": language,
            "pivot": pivot_language,
            "stack": stack,
            "layer": layer,
            **alignment(pivot[layer], vectors[layer]),
        }
        for language, vectors in languages.items()
        for layer in range(len(pivot))
    ]


def weak_languages(rows: Sequence[Row], limit: float = WEAK) -> list[Row]:
    """The rows of languages whose alignment is too weak to transfer, the weakest first.

    That is: the 95 % interval of retrieval after the last layer, which the scorer reads, lies below
    ``limit``.
    """
    last = max((row["layer"] for row in rows), default=0)
    weak = [row for row in rows if row["layer"] == last and row["ci95"][1] < limit]
    return sorted(weak, key=lambda row: row["retrieval"])


def _round(value: float) -> float:
    return round(value, 4)


ENCODER, LANGUAGE, TASK = "encoder", "language", "task"
PIVOT = "en"
XCOPA = ("et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh")
CORPUS, SPLIT = "flores200", "devtest"  # dev may train, devtest only measures


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

    Raises:
        UserError: A language is unknown, named twice or English, or the corpus is missing.
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
                encoder,
                texts[language],
                levels,
                invertible=None if own is None else own.invertible,
                dtype=dtype,
                progress=lambda done, total: progress(f"{stack} {language}", done, total),  # noqa: B023
            )[-1]
        rows += alignment_table(vectors[PIVOT], {x: vectors[x] for x in chosen}, stack=stack)
    return rows


PENALTY = 1e-2  # of the mean squared weight per feature, beside a mean cross-entropy; fixed, not tuned
STEPS = 50  # iterations of L-BFGS, enough to converge on a few thousand vectors


def language_probe(train: Mapping[str, Tensor], test: Mapping[str, Tensor]) -> dict[str, Any]:
    """Train multinomial logistic regression to tell languages apart by their sentence vectors, and test it.

    Both parts are language -> (sentences, width), with the same sentences in every language. Features are
    standardised by the training vectors; all languages have the same weight.

    Returns:
        ``accuracy`` on the test vectors, mean over languages, with ``ci95`` clustered by sentence (the
        translations of a sentence are one draw); ``chance``; ``by_language``.

    Raises:
        ValueError: Fewer than two languages, or other ones in ``test``.
    """
    names = list(train)
    if len(names) < 2 or list(test) != names:
        raise ValueError("a probe needs the same two languages or more in both parts")
    features = torch.cat([train[name].float() for name in names])
    labels = torch.cat([torch.full((len(train[name]),), n) for n, name in enumerate(names)])
    shares = torch.cat([torch.full((len(train[name]),), 1 / len(train[name])) for name in names]) / len(names)
    mean, scale = features.mean(0), features.std(0).clamp(min=1e-6)
    weight, bias = _fit((features - mean) / scale, labels, shares, len(names))
    blocks, by_language = [], {}
    for n, name in enumerate(names):
        guesses = (((test[name].float() - mean) / scale) @ weight.T + bias).argmax(1)
        right = (guesses == n).double().numpy()
        blocks.append(([f"{row:06}" for row in range(len(right))], right[:, None]))
        by_language[name] = round(float(right.mean()), 4)
    found = crossed_interval(np.asarray(language_average(blocks)))
    return {
        "accuracy": round(found.mean, 4),
        "ci95": [round(max(0.0, found.low), 4), round(min(1.0, found.high), 4)],
        "chance": round(1 / len(names), 4),
        "by_language": by_language,
    }


def _fit(features: Tensor, labels: Tensor, shares: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Weights (classes, width) and biases (classes,) of penalised logistic regression, from zero."""
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        losses = F.cross_entropy(features @ weight.T + bias, labels, reduction="none")
        loss = (losses * shares).sum() + PENALTY * weight.square().sum() / features.shape[1]
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()
