"""The cells that this repository has committed are found by the grids that they belong to."""

from pathlib import Path

import pytest

from metaxcr.compare.cell_store import CellStore
from metaxcr.compare.grid import load_grid
from metaxcr.compare.plan import expand

CELLS = Path(__file__).parents[2] / "docs" / "results" / "cells"
NAMES = {path.name.removesuffix(".jsonl.gz") for path in CELLS.glob("*.jsonl.gz")}
GRIDS = sorted(NAMES - {"levers", "parts"})  # which are not finished


@pytest.mark.parametrize("name", GRIDS)
def test_no_committed_cell_is_lost(name: str, tmp_path: Path) -> None:
    """A renamed setting would change keys; ``cell_key`` has to keep those of finished cells."""
    store = CellStore(tmp_path, [CELLS])
    cells = {cell.key: cell for cell in expand(load_grid(name)) if not cell.waits}
    missing = [cell.label for key, cell in cells.items() if store.get(key) is None]
    assert not missing
    record = store.get(next(iter(cells)))
    assert record is not None and len(store.ids(record)) == record.n
