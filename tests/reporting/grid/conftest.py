"""A made-up comparison with everything in it: shots, a matrix, costs, other systems, failures."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

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
