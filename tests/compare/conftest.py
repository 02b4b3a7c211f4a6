"""A small grid on the toy encoder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from metaxcr.compare.cell_store import CellStore
from metaxcr.compare.comparison import Comparison, find_finished, run_missing
from metaxcr.compare.grid import Grid, load_grid
from metaxcr.encoders.encoder import FrozenEncoder
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
