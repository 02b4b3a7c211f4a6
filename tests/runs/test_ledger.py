"""The ledger of test openings: kept where a path is given, not for demonstration data."""

import json
from pathlib import Path

from metaxcr.runs.ledger import record_opening


def test_a_line_for_real_tasks_where_a_ledger_is_named(tmp_path: Path) -> None:
    ledger = tmp_path / "results" / "openings.jsonl"
    record_opening(None, ["xcopa"], "metaxcr run")
    record_opening(ledger, [], "metaxcr run")
    record_opening(ledger, ["starter_target"], "metaxcr run")
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        record_opening(ledger, ["xcopa", "starter_target"], "metaxcr compare", grid="g", cells=["k"])
    first, second = (json.loads(line) for line in ledger.read_text().splitlines())
    assert list(first) == ["time", "commit", "grid", "cells", "task", "command"]
    assert first["task"] == second["task"] == "xcopa" and first["cells"] == ["k"]
