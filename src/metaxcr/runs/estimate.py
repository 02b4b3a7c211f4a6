"""An estimate of a run: token-passes, time, memory and disk of every stage."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache

from metaxcr.config.schema import Config
from metaxcr.encoders.embedded import EmbeddedTokenizer, locate, parse, read_verified
from metaxcr.encoders.encoder import FrozenEncoder, Text
from metaxcr.encoders.loading import EMBEDDED, default_prefix, encoder_shape, load_encoder, random_model, wrap
from metaxcr.encoders.shapes import KnownEncoder, RandomName, known_encoder, parse_random_name, read_config
from metaxcr.encoders.tokens import HashTokenizer
from metaxcr.errors import UserError
from metaxcr.hardware import available_threads, choose_device, choose_dtype, memory_errors, processor
from metaxcr.runs.cost_model import StageWork, trunk_tokens, works
from metaxcr.runs.data_amounts import Amounts, TokenCounter, from_files, typical
from metaxcr.runs.experiment import check_regimes
from metaxcr.runs.raw_data import ProcessCache, read_files
from metaxcr.runs.timing import Key, Timing, as_in_a_run, calibrate, timing_key

ASSUMED = (
    "assumed: sources are drawn as the sampler draws them at first; the trunk cache is empty and gets the "
    "drawn texts alone; the search for leaks, checkpoints and the report are not included"
)
GUESSED = ", tokens taken for four characters"  # without the encoder's own tokenizer


def estimate_run(
    config: Config, root: Path | None = None, *, timed: bool = True, seconds: float = 10.0
) -> dict[str, Any]:
    """Estimate what a run takes.

    If ``timed``, the stages are timed and their memory is measured, for about ``seconds`` without loading
    encoder and data; otherwise no weights are loaded. ``root`` is the data root given by the user.

    Returns:
        ``rows``: steps, token-passes with their ``parts``, seconds, memory (largest so far, MB) and disk
        (bytes) of each stage and regime; ``total``; ``trunk``; ``data``, ``encoder`` and ``machine``, which
        the estimate is based on; ``assumed``. Seconds and memory are None if nothing is timed.
    """
    check_regimes(config)
    device = choose_device(config.run.device)
    precision, threads = choose_dtype(config.encoder.dtype, device), config.run.threads or available_threads()
    timings, calibration = None, None
    with as_in_a_run(threads):
        begun = time.perf_counter()
        encoder, source = _local_encoder(config) if timed else (None, "no weights")
        loading = time.perf_counter() - begun
        amounts, reading = _amounts(config, root, *_counter(config, encoder))
        done = works(config, amounts)
        trunk = trunk_tokens(config, amounts, done)
        if encoder is not None:
            begun = time.perf_counter()
            with memory_errors(device):
                encoder = encoder.to(device)
                timings = calibrate(config, amounts, encoder, precision.dtype, done, seconds)
            steps = {" ".join(filter(None, key)): timing.steps for key, timing in timings.items()}
            calibration = {"seconds": round(time.perf_counter() - begun, 2), "steps": steps}
    parts = {"texts": trunk.tokens - trunk.drawn, "drawn": trunk.drawn}
    done = [StageWork("trunk", "", parts=parts), *(work for work in done if work.steps)]
    rows = [_row(work) for work in done]
    width = encoder.width if encoder else encoder_shape(config.encoder.name, config.encoder.revision).width
    disk = round(trunk.tokens * width * precision.dtype.itemsize)
    rows[0] |= {"disk_bytes": disk, "warm_seconds": None}
    total = {"token_passes": sum(row["token_passes"] for row in rows)}
    total |= dict.fromkeys(("seconds", "warm_seconds", "memory_mb")) | {"disk_bytes": disk}
    if timings is not None:
        prepared = 1 - (trunk.drawn + trunk.paired) / max(1.0, trunk.tokens)
        total |= _add_times(rows, done, timings, loading, prepared)
    return {
        "rows": rows,
        "total": total,
        "trunk": {"tokens": round(trunk.tokens), "all_tokens": round(trunk.whole)},
        "data": amounts.origin,
        "reading_seconds": round(reading, 2),
        "encoder": source,
        "machine": {
            "processor": processor(),
            "device": str(device),
            "threads": threads,
            "dtype": precision.name,
            "dtype_because": precision.why,
        },
        "calibration": calibration,
        "assumed": ASSUMED,
    }


def _local_encoder(config: Config) -> tuple[FrozenEncoder, str]:
    """The encoder, or one of its shape with random weights if its own are not here; and its origin."""
    settings = config.encoder
    name, known = settings.name, known_encoder(settings.name)
    try:
        cached = try_to_load_from_cache(name, "config.json", revision=settings.revision or "main")
    except ValueError:  # no name of a repository
        cached = None
    if name == EMBEDDED or parse_random_name(name) or os.path.isdir(name) or isinstance(cached, str):
        try:
            return load_encoder(name, prefix=settings.prefix, revision=settings.revision), name
        except UserError:
            if known is None:
                raise
    if known is None:
        known = KnownEncoder(name, name, "", False, read_config(name, settings.revision).to_dict())
    model, tokenizer, fingerprint = random_model(RandomName(False, known, 0))
    prefix = default_prefix(name) if settings.prefix is None else settings.prefix
    encoder = wrap(name, model, tokenizer, prefix=prefix, fingerprint=fingerprint)
    return encoder, f"random weights in the shape of {name}, whose own are not on this machine"


def _counter(config: Config, encoder: FrozenEncoder | None) -> tuple[TokenCounter, str]:
    """A function that counts tokens, and a note on it."""
    name, prefix, most = config.encoder.name, config.encoder.prefix, config.encoder.max_tokens
    if encoder is not None:
        own = not isinstance(encoder.tokenizer, HashTokenizer) or parse_random_name(name)
        return (
            lambda texts: [len(text.ids) for text in encoder.tokenize(texts, most)],
            "" if own else GUESSED,
        )
    prefix, note = default_prefix(name) if prefix is None else prefix, GUESSED
    tokenizer: Any = HashTokenizer(encoder_shape(name, config.encoder.revision).vocabulary, False)
    if name == EMBEDDED:  # other tokenizers are slow to read
        with suppress(UserError):
            tokenizer, note = EmbeddedTokenizer(parse(read_verified(locate())).vocabulary), ""

    def count(texts: Sequence[Text]) -> list[int]:
        named = [Text(prefix + text.first, text.second, text.cuttable) for text in texts]
        return [len(text.ids) for text in tokenizer(named, most)]

    return count, note


def _amounts(config: Config, root: Path | None, count: TokenCounter, note: str) -> tuple[Amounts, float]:
    """The amounts, from the files if they are on this machine, and the seconds that reading them took."""
    begun = time.perf_counter()
    try:
        raw = read_files(config, root, ProcessCache())
    except UserError as error:
        amounts = typical(config)
        return replace(amounts, origin=f"{amounts.origin}: {error.what}"), 0.0
    reading = time.perf_counter() - begun
    amounts = from_files(config, raw, count)
    return replace(amounts, origin=amounts.origin + note), reading


def _row(work: StageWork) -> dict[str, Any]:
    return {
        "stage": work.stage,
        "regime": work.regime,
        "steps": work.steps,
        "token_passes": round(work.passes),
        "parts": {part: round(n) for part, n in work.parts.items()},
        "seconds": None,
        "memory_mb": None,
        "disk_bytes": 0,
    }


def _add_times(
    rows: list[dict[str, Any]],
    done: Sequence[StageWork],
    timings: Mapping[Key, Timing],
    loading: float,
    prepared: float,
) -> dict[str, Any]:
    """Add seconds and memory (with the mapped cache, the largest so far) to the rows, and return the totals.

    ``prepared`` is the share of the cache that is computed before the first stage. ``warm_seconds``: with a
    filled cache, only the encoder is loaded.
    """
    mapped, most = 0.0 if torch.cuda.is_available() else rows[0]["disk_bytes"] / 1e6, 0
    for row, work in zip(rows, done, strict=True):
        timing = timings[timing_key(work)]
        cache = mapped * prepared if work.stage == "trunk" else mapped
        most = max(most, round(timing.memory_mb + cache))
        row |= {"seconds": round(timing.seconds(work.steps, work.parts), 2), "memory_mb": most}
    cold, warm = loading + rows[0]["seconds"], round(loading, 2)
    rows[0] |= {"seconds": round(cold, 2), "warm_seconds": warm}
    later = sum(row["seconds"] for row in rows[1:])
    seconds = {"seconds": rows[0]["seconds"] + later, "warm_seconds": warm + later}
    return {name: round(value, 2) for name, value in seconds.items()} | {"memory_mb": most}
