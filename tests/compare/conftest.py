"""A small grid on the toy encoder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from tests.compare.test_cell_store import record

from metaxcr.compare.cell_store import CellStore
from metaxcr.compare.comparison import Comparison, find_finished, run_missing
from metaxcr.compare.grid import Grid, load_grid
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.evaluation.predictions import Predictions
from metaxcr.runs.progress import Progress

TINY = {
    "title": "Tiny",
    "base": "starter",
    "settings": {
        "run": {"threads": 1},
        "encoder": {"max_tokens": 48, "dtype": "float32"},
        "adapters": {"bottleneck": 4},
        "target": {"parallel": {"languages": ["es", "sw"]}},
        "ctml": {"steps": 3, "support": 4, "query": 4, "reward": 4},
        "clml": {"few_shot_steps": 2, "support": 4, "query": 4, "reward": 4},
        "finetune": {"steps": 2},
    },
    "baseline": "plain",
    "languages": ["es", "sw"],
    "shots": [0, 8],
    "seeds": [3],
    "methods": {
        "plain": {"settings": {"sampler": {"kind": "uniform"}, "ctml": {"learner": "multi-task"}}},
        "reinforced": {},
    },
}


@pytest.fixture
def grid(tmp_path: Path) -> Callable[..., Grid]:
    """Write a grid file like :data:`TINY` and load it."""

    def build(*overrides: str, **changes: object) -> Grid:
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(TINY | changes), encoding="utf-8")
        return load_grid(str(path), list(overrides))

    return build


@pytest.fixture(scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare-cache")


@pytest.fixture
def carry_out(
    toy_encoder: FrozenEncoder, monkeypatch: pytest.MonkeyPatch, _cache: Path
) -> Iterator[Callable[..., Comparison]]:
    """Look at a grid and run what is missing, on the toy encoder."""
    monkeypatch.setattr("metaxcr.runs.experiment.load_encoder", lambda *_, **__: toy_encoder)
    monkeypatch.setenv("METAXCR_CACHE", str(_cache))

    def run(grid: Grid, out: Path, *others: Path, **options: object) -> Comparison:
        store = CellStore(out / "cells", others)
        found = find_finished(grid, store, None)
        run_missing(found, store, out, progress=Progress(Console(quiet=True), quiet=True), **options)
        return found

    yield run
    torch.use_deterministic_algorithms(False)


def answers(cell, rate: float) -> Predictions:
    """Answers that are right at a rate, from a generator of the cell's own."""
    generator = np.random.default_rng(int(cell.key, 16) % 2**32)
    ids = [f"test-{n}" for n in range(60)]
    labels = [n % 2 for n in range(60)]
    sure = generator.uniform(0.55, 0.95, 60)
    sure = np.where(generator.random(60) < rate, sure, 1 - sure)
    rows = [[p, 1 - p] if label == 0 else [1 - p, p] for p, label in zip(sure, labels, strict=True)]
    about = ("starter_target", cell.language, "test", "repaired", "few-shot", "m", 0, cell.k, cell.k)
    return Predictions(*about, ids, rows, labels)


@pytest.fixture
def finished(
    grid: Callable[..., Grid], tmp_path: Path
) -> tuple[Comparison, CellStore, dict[str, Predictions]]:
    """A grid whose cells were made up: the better method is right 30 points more often."""
    methods = {"plain": {}, "better": {}, "together": {"kind": "ensemble", "of": "better"}}
    methods["better"] = {"settings": {"sampler": {"kind": "uniform"}}}
    store = CellStore(tmp_path / "cells")
    made = grid("seeds=[0,1,2]", methods=methods)
    given = {}
    for cell in find_finished(made, store, None).cells:
        found = answers(cell, (0.9 if cell.method == "better" else 0.5) + (0.05 if cell.k else 0))
        store.put(record(found, key=cell.key, kind=cell.kind, regime=cell.regime, k=cell.k, seed=cell.seed,
                         checksums={}), found.ids)  # fmt: skip
        given[cell.label] = found
    return find_finished(made, store, None), store, given
