"""The encoded data of a run."""

from pathlib import Path

from rich.console import Console

from metaxcr.config.io import load_config
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.runs.progress import Progress
from metaxcr.runs.raw_data import read_data
from metaxcr.runs.run_data import prepare


def test_rows_that_were_left_out_are_counted(tmp_path: Path, toy_store: ActivationCache) -> None:
    config = load_config("starter", ["target.languages=[sw, it]", "target.parallel.languages=[sw, it]"])
    raw = read_data(config, None)
    raw.english.skipped.append("causes.jsonl:3: no label")
    data = prepare(config, raw, toy_store, Progress(Console(quiet=True), quiet=True))
    assert data.skipped == {"starter_causes/train/en": 1}
