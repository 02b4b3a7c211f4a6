"""Accuracy that ``metaxcr adapt`` reports on a user's examples, beside accuracy on examples that are new.

python docs/results/my-language/fresh.py measure OUT.jsonl [DRAWS]   (goes on where it stopped)
python docs/results/my-language/fresh.py table OUT.jsonl docs/results/my-language/fresh.json

XStoryCloze train, 360 items a language; no test split is opened. A draw takes 60 items as the user's and
leaves the other 300, the same ids in every language; its 16 examples are the first of the 60. They are
written to a file that ``metaxcr adapt FILE --language CODE`` reads, and are adapted to as that command does:
with the package's own meta-adapter and the default settings. The adapted model answers the fresh items
whether the rule keeps it or not, so that the rule can be judged. OUT.jsonl holds every probability,
fresh.json what follows from them.
"""

import json
import math
import os
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from metaxcr.api import MetaXCR
from metaxcr.data.registry import load
from metaxcr.evaluation.statistics import crossed_interval, language_average
from metaxcr.fewshot.adaptation import (
    Settings,
    adapt_to,
    distinct_rows,
    encode_examples,
    finetune_rows,
    finetune_settings,
    predict_rows,
    similarity_baseline,
)
from metaxcr.fewshot.calibration import Probabilities, tempered
from metaxcr.fewshot.model_selection import SYSTEMS, Gain, HeldOut, compare, select_model
from metaxcr.fewshot.user_examples import read_user_examples
from metaxcr.hardware import choose_dtype, processor
from metaxcr.model.build import memory_store
from metaxcr.seeding import rng
from metaxcr.training.batch_sampler import BatchSampler

LANGUAGES = ["ar", "es", "eu", "hi", "id", "ru", "sw", "zh"]
OWN, FEW = 60, 16


def measure(out: Path, draws: int) -> None:
    """Adapt in every language, for every draw and size, and write what was answered."""
    done = set()
    if out.exists():
        done = {(r["language"], r["draw"], r["size"]) for r in map(json.loads, out.read_text().splitlines())}
    model = MetaXCR.embedded()
    for draw in range(draws):
        for size in (OWN, FEW):
            for language in LANGUAGES:
                if (language, draw, size) in done:
                    continue
                row = _measure(model.start, language, draw, size)
                with out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(language, draw, size, row["seconds"], flush=True)


def _measure(start, language: str, draw: int, size: int) -> dict:
    examples = load("xstorycloze", "train", language=language).examples
    order = rng(draw, "fresh").permutation(len(examples))
    with tempfile.TemporaryDirectory() as folder:
        own, fresh = (
            _as_users_file(Path(folder) / name, [examples[row] for row in rows], language)
            for name, rows in (("own.jsonl", order[:size]), ("fresh.jsonl", order[OWN:]))
        )
    begun = time.perf_counter()
    settings = Settings()
    found = adapt_to(own, start, settings)
    seconds = time.perf_counter() - begun
    store = memory_store(start.model, start.config)
    data = encode_examples(own, start.model.kind, store, lambda done, total: None)
    phi = finetune_rows(
        start,
        data,
        range(size),
        finetune_settings(start.config, settings),
        BatchSampler(store, settings.seed, "all"),
    )
    asked = encode_examples(fresh, start.model.kind, store, lambda done, total: None)
    everything = range(len(asked))
    return {
        "language": language,
        "draw": draw,
        "size": size,
        "seconds": round(seconds, 1),
        "dtype": choose_dtype(start.config.encoder.dtype, start.model.device).name,
        "cpu": processor(),
        "cores": os.cpu_count(),
        "labels": [e.label for e in own.examples],
        "group": found.group,
        "held_out": {name: system.probabilities for name, system in found.systems.items()},
        "fresh_labels": [e.label for e in fresh.examples],
        "fresh": {
            "similarity": similarity_baseline(fresh, start, asked, store),
            "unadapted": predict_rows(start.model, start.phi, asked, everything, store),
            "adapted": predict_rows(start.model, phi, asked, everything, store),
        },
    }


def _as_users_file(path: Path, examples, language: str):
    lines = [
        {"context": e.context, "question": "effect", "choices": list(e.choices), "label": e.label}
        for e in examples
    ]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    own = read_user_examples(path, language)
    assert [e.label for e in own.examples] == [e.label for e in examples]
    return replace(own, file=None, lines=())


def table(raw: Path, out: Path) -> None:
    """Write what follows from the answers, and print it."""
    rows = [json.loads(line) for line in raw.read_text().splitlines()]
    found = [_summary(row) for row in rows]
    averages = []
    for draw, size in sorted({(row["draw"], row["size"]) for row in rows}):
        chosen = [row for row in rows if (row["draw"], row["size"]) == (draw, size)]
        if len(chosen) == len(LANGUAGES):
            averages.append({"draw": draw, "size": size, **_averages(chosen)})
    lines = ",\n  ".join(json.dumps(row) for row in found)
    means = ",\n  ".join(json.dumps(row) for row in averages)
    out.write_text(f'{{"languages": [\n  {lines}],\n "averages": [\n  {means}]}}\n')
    for row in found:
        print(_markdown(row))
    for row in averages:
        print(json.dumps(row))


def _summary(row: dict) -> dict:
    own, fresh = _systems(row)
    selection, new = select_model(*own.values()), compare(fresh["adapted"], fresh["unadapted"])
    calibration = own[selection.kept].calibration
    kept = fresh[selection.kept]
    return {
        **{key: row[key] for key in ("language", "draw", "size", "seconds", "dtype", "cpu", "cores")},
        "different": len(own["adapted"].labels),
        "own": _accuracies(own, selection.gain),
        "fresh": _accuracies(fresh, new),
        "kept": selection.kept,
        "calibration": asdict(calibration),
        "fresh_log_loss": {
            "as computed": _log_loss(kept.probabilities[0], kept.labels, 1.0),
            "calibrated": calibration.temperature
            and _log_loss(kept.probabilities[0], kept.labels, calibration.temperature),
        },
    }


def _systems(row: dict) -> tuple[dict[str, HeldOut], dict[str, HeldOut]]:
    rows = distinct_rows(row["group"])
    own = {name: HeldOut(name, row["held_out"][name], row["labels"]).at(rows) for name in SYSTEMS}
    return own, {name: HeldOut(name, [row["fresh"][name]], row["fresh_labels"]) for name in SYSTEMS}


def _log_loss(probabilities: Probabilities, labels: list[int], temperature: float) -> float:
    """Mean log loss as a multiple of that of guessing."""
    pairs = zip(tempered(probabilities, temperature), labels, strict=True)
    return round(float(np.mean([-math.log(row[y]) / math.log(len(row)) for row, y in pairs])), 4)


def _averages(rows: list[dict]) -> dict:
    """Over languages, intervals over items; how often the rule keeps the adapted model."""
    found, kept = {}, 0
    for place in (0, 1):
        blocks = []
        for row in rows:
            one, other = (
                _systems(row)[place][name].correct.mean(axis=1) for name in ("adapted", "unadapted")
            )
            blocks.append(([str(n) for n in range(len(one))], (one - other)[:, None]))
        average = crossed_interval(language_average(blocks))
        found[("own", "fresh")[place] + " gain"] = _ends(average.mean, average.low, average.high)
    for row in rows:
        kept += select_model(*_systems(row)[0].values()).kept == "adapted"
    return {**found, "adapted kept": kept, "languages": len(rows)}


def _accuracies(systems: dict[str, HeldOut], gain: Gain) -> dict:
    return {**{name: _ends(*system.accuracy) for name, system in systems.items()}, "gain": _gain(gain)}


def _ends(mean: float, low: float, high: float) -> list[float]:
    return [round(float(value), 4) for value in (mean, low, high)]


def _gain(gain: Gain) -> list[float]:
    return [*_ends(gain.mean, gain.low, gain.high), round(gain.p, 4)]


def _markdown(row: dict) -> str:
    cells = [row["language"], str(row["size"])]
    for place in ("own", "fresh"):
        for name in ("unadapted", "adapted"):
            mean, low, high = (100 * value for value in row[place][name])
            cells.append(f"{mean:.1f} ({low:.0f} to {high:.0f})")
        mean, low, high, _ = (100 * value for value in row[place]["gain"])
        cells.append(f"{mean:+.1f} ({low:+.1f} to {high:+.1f})")
    temperature = row["calibration"]["temperature"]
    return (
        "| "
        + " | ".join([*cells, row["kept"], f"{temperature:.1f}" if temperature else "not calibrated"])
        + " |"
    )


if __name__ == "__main__":
    torch.use_deterministic_algorithms(True)
    command, raw, *rest = sys.argv[1:]
    if command == "measure":
        measure(Path(raw), int(rest[0]) if rest else 1)
    else:
        table(Path(raw), Path(rest[0]))
