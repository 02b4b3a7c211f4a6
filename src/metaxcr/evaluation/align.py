"""The alignment check of an encoder, its language adapters and a trained task adapter."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from metaxcr.adapters.base import LayerAdapter
from metaxcr.adapters.language import LanguageAdapter
from metaxcr.encoders.base import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.evaluation.alignment import Row, alignment_table
from metaxcr.evaluation.representations import Level, layer_vectors
from metaxcr.tasks.parallel import load_parallel

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

    Args:
        encoder: The frozen encoder.
        languages: ISO 639-1 codes.
        adapters: Language -> language adapter; English may have one, too.
        task: Layer -> trained task adapter.
        sentences: Only the first so many; default: all 1,012. Retrieval is harder among more.
        dtype: Of the layers' arithmetic; None: what the encoder's device computes fastest.
        root: Data root.
        progress: Called with (label, sentences done, sentences in all).

    Returns:
        Rows of :func:`metaxcr.evaluation.alignment.alignment_table` for each stack: the ``encoder`` alone;
        with ``language`` adapters, for languages that have one; with the ``task`` adapter, above the
        language adapter where there is one. English runs through the same stack, with its own language
        adapter or none.

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
            levels: list[Level] = [own.at] if own is not None else []
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
