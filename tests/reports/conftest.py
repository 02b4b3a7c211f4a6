"""A synthetic run folder: the shapes of a real one, numbers made up, a few seconds cheaper."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from metaxcr.evaluation.predictions import Predictions
from metaxcr.evaluation.results import build_results

LANGS = ("et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh")
SOURCES = ("ecare", "socialiqa", "commonsenseqa", "winogrande", "codah", "openbookqa", "comve", "qasc")
SETTINGS = (
    # regime, method, k, gain over the baseline
    ("none", "similarity", 0, 0.0),
    ("zero-shot", "ctml", 0, 0.03),
    ("zero-shot-aux", "clml", 0, 0.06),
    ("few-shot", "finetune", 16, 0.005),
    ("pooled-shots", "finetune", 16, -0.08),
)
MakeRun = Callable[..., Path]


def synthetic_results(task: str, langs: tuple[str, ...], seeds: int, n: int, raw: bool) -> dict[str, Any]:
    """Return results made by the package itself from simulated answers, English as a task apart."""
    predictions = []
    places = [
        (task, lang, data) for lang in langs for data in (("repaired", "raw") if raw else ("repaired",))
    ]
    for task_id, lang, data in [*places, (f"{task}_en", "en", "repaired")]:
        item = np.random.default_rng([n, len(lang), *lang.encode()]).random(n)
        base = 0.51 + 0.004 * (sum(lang.encode()) % 23) - 0.02 * (data == "raw")
        for regime, method, k, gain in SETTINGS:
            for seed in [None] if regime == "none" else range(seeds):
                noise = (
                    0.0 if seed is None else np.random.default_rng([seed, *lang.encode()]).normal(0, 0.02, n)
                )
                right = item < base + gain + noise
                predictions.append(
                    Predictions(
                        task=task_id,
                        lang=lang,
                        split="test",
                        data=data,
                        regime=regime,
                        method=method,
                        seed=seed,
                        k=k,
                        total_labels=k * (len(langs) if regime == "pooled-shots" else 1),
                        ids=[str(number) for number in range(n)],
                        probabilities=[[0.7, 0.3] if hit else [0.3, 0.7] for hit in right],
                        labels=[0] * n,
                    )
                )
    shares = {"ctml": {"of_all": 0.0161, "without_embeddings": 0.0894}, "finetune": {"of_all": 0.0161}}
    return build_results(predictions, config_hash="3f9c0a", data_hash="77b1de", shares=shares)


def synthetic_events(seeds: int, steps: int, sources: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the events of all stages: losses that fall, a sampler that drifts to one source."""
    events: list[dict[str, Any]] = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        logits = np.zeros(len(sources))
        for step in range(steps):
            logits += 0.06 * rng.standard_normal(len(sources)) + np.linspace(0.006, -0.006, len(sources))
            p = np.exp(logits) / np.exp(logits).sum()
            source = sources[rng.choice(len(sources), p=p)]
            loss = 0.8 + 0.3 * np.exp(-step / 150)
            events.append(
                {"stage": "ctml", "seed": seed, "step": step, "source": source,
                 "probabilities": dict(zip(sources, p.round(6).tolist(), strict=True)),
                 "support_loss": loss + 0.1 * rng.standard_normal(),
                 "query_loss": loss + 0.05 + 0.1 * rng.standard_normal(),
                 "reward": 0.01 * np.exp(-step / 200) + 0.01 * rng.standard_normal() if step % 2 else None}
            )  # fmt: skip
            if step % 100 == 99:
                events += [
                    {"stage": "dev", "seed": seed, "step": step, "after": "ctml", "task": "xstorycloze",
                     "language": lang, "acc": 0.55 + 0.0002 * step + 0.02 * rng.standard_normal()}
                    for lang in ("sw", "ar")
                ]  # fmt: skip
        for step in range(steps // 4):
            kind = ("cross-task", "cross-lingual")[step % 2]
            events.append(
                {"stage": "clml", "seed": seed, "step": step, "kind": kind, "source": "ecare",
                 "support_language": "en", "query_language": "sw", "support_loss": 0.9 + 0.1 * rng.random(),
                 "query_loss": 0.95 + 0.1 * rng.random()}
            )  # fmt: skip
        for lang in ("sw", "qu"):
            for step in range(20):
                loss = 0.95 * np.exp(-step / 20) + 0.05 * rng.random()
                events.append(
                    {"stage": "finetune", "seed": seed, "language": lang, "k": 16, "step": step, "loss": loss}
                )
    return events


def write_run(
    folder: Path, *, task: str = "xcopa", langs: tuple[str, ...] = LANGS, seeds: int = 3, steps: int = 60,
    n: int = 100, raw: bool = True, sources: tuple[str, ...] = SOURCES, omit: tuple[str, ...] = (),
) -> Path:  # fmt: skip
    """Write a run folder, without the files named in ``omit``."""
    (folder / "shots").mkdir(parents=True)
    config = {
        "run": {"name": "synthetic", "seeds": list(range(seeds))},
        "target": {"task": task, "languages": [*langs]},
    }
    stages = [
        {"stage": "trunk", "seconds": 421.4, "token_passes": 3_500_000, "peak_rss_mb": 1480},
        *(
            {"stage": "ctml", "seconds": 310.2, "token_passes": 1_900_000, "peak_rss_mb": 1720}
            for _ in range(seeds)
        ),
        {"stage": "clml", "seconds": 95.0, "token_passes": 640_000, "peak_rss_mb": 1650},
        {"stage": "finetune", "seconds": 48.5, "token_passes": 210_000, "peak_rss_mb": 1600},
        {"stage": "evaluate", "seconds": 61.0, "token_passes": 480_000, "peak_rss_mb": 1510},
    ]
    trunk = {
        "cold_seconds": 421.4,
        "warm_seconds": 6.2,
        "bytes": 2.7e8,
        "texts": 141_200,
        "tokens": 3_500_000,
        "used_tokens": 350_000,
    }
    environment = {
        "metaxcr": "0.1.0", "torch": "2.13.0+cpu", "transformers": "5.23.0", "python": "3.12.4",
        "platform": "Linux-6.8-x86_64-with-glibc2.36", "cpu": "Example CPU @ 2.5 GHz", "threads": 2,
        "dtype": "bfloat16", "commit": "ccbd710", "date": "2026-11-23",
        "command": "metaxcr run configs/xcopa-embedded.yaml --set run.seeds=[0,1,2] --out runs/xcopa",
    }  # fmt: skip
    files = {
        "config.yaml": yaml.safe_dump(config),
        "environment.json": json.dumps(environment),
        "events.jsonl": "".join(
            json.dumps(event) + "\n" for event in synthetic_events(seeds, steps, sources)
        ),
        "costs.json": json.dumps({"stages": stages, "trunk": trunk, "total_seconds": 1560.0}),
        "results.json": json.dumps(synthetic_results(task, langs, seeds, n, raw)),
    } | {
        f"shots/{task}.seed{seed}.json": json.dumps(
            {"k": 16, "seed": seed, "ids": [str(i) for i in range(16)]}
        )
        for seed in range(seeds)
    }
    for name, text in files.items():
        if name not in omit:
            (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes synthetic run folders below the test's own folder."""

    def make(name: str = "run", **options: Any) -> Path:
        return write_run(tmp_path / name, **options)

    return make


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One complete folder for tests that only read it."""
    return write_run(tmp_path_factory.mktemp("reporting") / "run")


LANGUAGES = ["et", "sw", "zh"]
METHODS = ["similarity", "plain", "reinforced"]


def line(method: str, k: int) -> dict:
    return {"target": "", "method": method, "k": k}


def accuracy(method: str, k: int, place: int = 0) -> float:
    return 0.54 + 0.02 * (METHODS.index(method) if method in METHODS else 1.5) + 0.001 * k - 0.01 * place


def made(methods: list[str], shots: list[int], matrix: bool) -> dict:
    lines = [(method, k) for method in methods for k in (shots if method != "similarity" else [0])]
    costs = {"token_passes": 9e6, "seconds": 130.0, "stages": {"ctml": 8e6, "evaluate": 1e6, "trunk": 5e6},
             "parts": {"support": 5e6, "reward": 1e6}, "peak_rss_mb": 900, "trained": 1000, "share": 0.016,
             "share_without_embeddings": 0.08, "regime": "few-shot", "total_labels": 16}  # fmt: skip
    averages = [
        {**line(m, k), "languages": LANGUAGES, "seeds": [0, 1], "n": 500, "mean": accuracy(m, k),
         "complete": k == 0, "ci95": [accuracy(m, k) - 0.02, accuracy(m, k) + 0.02], "mdd": 0.021,
         "ci_kind": "items x seeds", **costs}
        for m, k in lines
    ]  # fmt: skip
    gains = [(m, k, accuracy(m, k) - accuracy("plain", k)) for m, k in lines if m != "plain"]
    differences = [
        {**line(m, k), "baseline": "plain", "baseline_k": k, "languages": LANGUAGES, "mean": gain,
         "ci95": [gain - 0.01, gain + 0.01], "ci_kind": "items x seeds", "p": 0.01, "p_permutation": 0.02,
         "p_holm": 0.03, "p_bh": 0.02, "mdd": 0.014,
         "verdict": "better" if gain > 0.01 else "worse" if gain < -0.01 else "no difference shown"}
        for m, k, gain in gains
    ]  # fmt: skip
    languages = [
        {**line(m, k), "language": code, "n": 500, "mean": accuracy(m, k, place), "seeds": 2,
         "ci95": [accuracy(m, k, place) - 0.04, accuracy(m, k, place) + 0.04]}
        for m, k in lines for place, code in enumerate(LANGUAGES)
    ]  # fmt: skip
    pairs = [(a, b) for a in LANGUAGES for b in LANGUAGES if a != b]
    cells = [{"support": a, "language": b, "mean": 0.56, "ci95": None} for a, b in pairs]
    table = {"by": "support", "baseline": dict.fromkeys(LANGUAGES, 0.55), "cells": cells}
    return {
        "schema": 1, "title": "Made <up> & small", "about": "A question?", "baseline": "plain",
        "seeds": [0, 1], "shots": shots, "command": "metaxcr compare made",
        "methods": [{"name": m, "kind": "trained", "about": "x_y", "command": f"run {m}"} for m in methods],
        "averages": averages, "differences": differences,
        "outside": [{**differences[0], "against": "theirs", "accuracy": 0.6}], "languages": languages,
        "groups": [{**line(m, k), "by": "seen", "group": "seen", "languages": ["et"], "mean": 0.5}
                   for m, k in lines],
        "curve": [{**line("reinforced", 16), "shots": None, "low": 3.0, "high": None, "most": 16}],
        "matrix": table if matrix else None, "failed": {"plain: sw, k=16, seed 1": "the disk is full"},
        "waiting": {"mad-x: sw": "needs adapters.language"}, "outdated": [],
        "cells": [{"label": "plain: sw", "key": "k", "config_hash": "c", "accuracy": 0.5, "n": 500,
                   "command": "metaxcr run starter"}],
        "data": [{"task": "xcopa", "licence": "CC BY 4.0", "citation": "Ponti et al.", "url": "https://a.b"}],
        "environments": [{"cpu": "one", "torch": "2"}],
    }  # fmt: skip


@pytest.fixture
def comparison(tmp_path: Path) -> Callable[..., Path]:
    """Write ``compare.json`` of a made-up comparison into a folder."""

    def build(methods: list[str] = METHODS, shots: list[int] | None = None, matrix: bool = True) -> Path:
        folder = tmp_path / "comparison"
        folder.mkdir(exist_ok=True)
        summary = made(methods, shots or [0, 16], matrix)
        (folder / "compare.json").write_text(json.dumps(summary), encoding="utf-8")
        return folder

    return build
