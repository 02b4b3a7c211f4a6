"""An estimate of a run: token-passes, time, memory and disk of every stage."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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
from metaxcr.hardware import (
    Precision,
    available_threads,
    choose_device,
    choose_dtype,
    memory_errors,
    processor,
)
from metaxcr.runs.cost_model import StageWork, TrunkTokens, trunk_tokens, works
from metaxcr.runs.data_amounts import Amounts, TokenCounter, from_files, typical
from metaxcr.runs.experiment import check_regimes
from metaxcr.runs.process_cache import ProcessCache
from metaxcr.runs.raw_data import read_files
from metaxcr.runs.timing import StageTimings, as_in_a_run, calibrate

ASSUMED = (
    "assumed: sources are drawn as the sampler draws them at first; the trunk cache is empty and gets the "
    "drawn texts alone; the search for leaks, checkpoints and the report are not included"
)


@dataclass(frozen=True)
class Machine:
    """What a run computes on; the precision is that of the layers' arithmetic and of the trunk cache."""

    processor: str
    device: torch.device
    precision: Precision
    threads: int


def resolve(config: Config) -> Machine:
    """The device, the precision and the threads that a run of these settings would use here."""
    device = choose_device(config.run.device)
    precision = choose_dtype(config.encoder.dtype, device)
    return Machine(processor(), device, precision, config.run.threads or available_threads())


def estimate_run(
    config: Config, root: Path | None = None, *, timed: bool = True, seconds: float = 10.0
) -> dict[str, Any]:
    """Estimate what a run takes.

    Args:
        config: The settings.
        root: Data root given by the user.
        timed: Whether to time the stages and measure their memory; otherwise no weights are loaded.
        seconds: About how long that may take, without loading encoder and data.

    Returns:
        ``rows``: steps, token-passes with their ``parts``, seconds, memory (largest so far, MB) and disk
        (bytes) of each stage and regime; ``total``; ``trunk``; ``data``, ``encoder`` and ``machine``, which
        the estimate is based on; ``assumed``. Seconds and memory are None if nothing is timed.
    """
    check_regimes(config)
    machine = resolve(config)
    with as_in_a_run(machine.threads):
        begun = time.perf_counter()
        encoder, source = _local_encoder(config) if timed else (None, "no weights")
        loading = time.perf_counter() - begun
        count, counted = _counter(config, encoder)
        amounts, reading = _amounts(config, root, count, counted)
        done = works(config, amounts)
        trunk = trunk_tokens(config, amounts, done)
        found = None
        if encoder is not None:
            with memory_errors(machine.device):
                found = calibrate(
                    config, amounts, encoder.to(machine.device), machine.precision.dtype, done, seconds
                )
    width = encoder.width if encoder else encoder_shape(config.encoder.name, config.encoder.revision).width
    rows = [_trunk_row(trunk, found, width * machine.precision.dtype.itemsize, loading)]
    rows += [_row(work, found) for work in done if work.steps]
    _raise_memory(rows, trunk.prepared / max(1.0, trunk.tokens))
    return {
        "rows": rows,
        "total": _total(rows, found),
        "trunk": {"tokens": round(trunk.tokens), "all_tokens": round(trunk.whole)},
        "data": amounts.origin,
        "reading_seconds": round(reading, 2),
        "encoder": source,
        "machine": {
            "processor": machine.processor, "device": str(machine.device), "threads": machine.threads,
            "dtype": machine.precision.name, "dtype_because": machine.precision.why,
        },
        "calibration": None if found is None else {
            "seconds": round(found.seconds, 2),
            "steps": {" ".join(filter(None, key)): t.steps for key, t in found.stages.items()},
        },
        "assumed": ASSUMED,
    }  # fmt: skip


def _local_encoder(config: Config) -> tuple[FrozenEncoder, str]:
    """The encoder, or one of its shape with random weights if its own are not here; and its origin."""
    name, settings = config.encoder.name, config.encoder
    try:
        cached = try_to_load_from_cache(name, "config.json", revision=settings.revision or "main")
    except ValueError:  # no name of a repository
        cached = None
    known = known_encoder(name)
    if name == EMBEDDED or parse_random_name(name) or os.path.isdir(name) or isinstance(cached, str):
        try:
            encoder = load_encoder(name, prefix=settings.prefix, revision=settings.revision)
            return encoder, name
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
    prefix, most = config.encoder.prefix, config.encoder.max_tokens
    if encoder is not None:
        own = not isinstance(encoder.tokenizer, HashTokenizer) or parse_random_name(config.encoder.name)
        return (
            lambda texts: [len(text.ids) for text in encoder.tokenize(texts, most)],
            "" if own else ", tokens taken for four characters",
        )
    name, note = config.encoder.name, ", tokens taken for four characters"
    prefix = default_prefix(name) if prefix is None else prefix
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


def _trunk_row(trunk: TrunkTokens, found: StageTimings | None, size: int, loading: float) -> dict[str, Any]:
    """The row of the trunk; ``warm_seconds``: with a filled cache, only the encoder is loaded."""
    row = _row(StageWork("trunk", "", parts=trunk.parts), found)
    row |= {"disk_bytes": round(trunk.tokens * size), "warm_seconds": None}
    if found is not None:
        row |= {"seconds": round(loading + row["seconds"], 2), "warm_seconds": round(loading, 2)}
    return row


def _row(work: StageWork, found: StageTimings | None) -> dict[str, Any]:
    row: dict[str, Any] = {"stage": work.stage, "regime": work.regime, "steps": work.steps}
    row |= {"token_passes": round(work.passes), "parts": {part: round(n) for part, n in work.parts.items()}}
    row |= {"seconds": None, "memory_mb": None, "disk_bytes": 0}
    if found is not None:
        timing = found.timing(work)
        row |= {
            "seconds": round(timing.seconds(work.steps, work.parts), 2),
            "memory_mb": round(timing.memory_mb),
        }
    return row


def _raise_memory(rows: list[dict[str, Any]], prepared: float) -> None:
    """Add the mapped cache to the memory of the rows, and make it the largest so far.

    ``prepared`` is the share of the cache that is computed before the first stage.
    """
    mapped, most = 0.0 if torch.cuda.is_available() else rows[0]["disk_bytes"] / 1e6, 0
    for row in rows:
        if row["memory_mb"] is None:
            return
        here = mapped * prepared if row["stage"] == "trunk" else mapped
        row["memory_mb"] = most = max(most, round(row["memory_mb"] + here))


def _total(rows: list[dict[str, Any]], found: StageTimings | None) -> dict[str, Any]:
    return {
        "token_passes": sum(row["token_passes"] for row in rows),
        "seconds": None if found is None else round(sum(row["seconds"] for row in rows), 2),
        "warm_seconds": None if found is None else round(
            sum(row["seconds"] for row in rows[1:]) + rows[0]["warm_seconds"], 2
        ),
        "memory_mb": None if found is None else max(row["memory_mb"] for row in rows),
        "disk_bytes": sum(row["disk_bytes"] for row in rows),
    }  # fmt: skip
