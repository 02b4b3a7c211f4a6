"""Are two languages aligned? Retrieval of translations and their distance, layer by layer.

A task adapter that was trained in English transfers to a language as far as the encoder puts sentences of
that language where it puts their translations. Weak alignment is one of the method's failure signatures.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from metaxcr.evaluation.intervals import crossed_interval
from metaxcr.evaluation.representations import unit

WEAK = 0.5  # fixed before anything was measured: most sentences do not find their translation

Row = dict[str, Any]


def alignment(one: Tensor, other: Tensor) -> Row:
    """How well translations find each other by cosine.

    Args:
        one: (sentences, width) vectors in one language.
        other: (sentences, width) vectors of their translations, same order; at least two.

    Returns:
        ``forward``: share of sentences of ``one`` whose nearest sentence of ``other`` is their translation;
        ``backward``: the other direction; ``retrieval``: mean of both, with ``ci95`` over the sentences (t
        interval; a sentence scores 0, 0.5 or 1); ``translations`` and ``others``: mean cosine of a sentence
        with its translation and with all other sentences of the other language; ``distance``: the former
        minus the latter, so 0 where translations are no nearer than any sentence; ``n``.
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
    """Alignment of languages with a pivot after every layer.

    Args:
        pivot: (layers + 1, sentences, width) vectors of the pivot language, the embeddings first.
        languages: Language -> the same of the translations.
        stack: The adapters that acted, for the table: ``encoder``, ``language``, ``language + task``.
        pivot_language: Its code.

    Returns:
        A row for every language and layer: ``language``, ``pivot``, ``stack``, ``layer`` (0: the embeddings),
        and what :func:`alignment` says.
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
    """The languages whose alignment is too weak to transfer.

    That is: retrieval after the last layer, which the scorer reads, is surely below ``limit``: the upper end
    of its 95 % interval is.

    Args:
        rows: From :func:`alignment_table`, of one stack or several.
        limit: Share of sentences; the default was fixed before anything was measured.

    Returns:
        The rows of those languages, the weakest first.
    """
    last = max((row["layer"] for row in rows), default=0)
    weak = [row for row in rows if row["layer"] == last and row["ci95"][1] < limit]
    return sorted(weak, key=lambda row: row["retrieval"])


def _round(value: float) -> float:
    return round(value, 4)
