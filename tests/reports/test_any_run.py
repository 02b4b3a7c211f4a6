"""A report is made of every run that the package itself can write, whatever its names and numbers."""

import json
import math
import tempfile
from itertools import cycle
from pathlib import Path

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from metaxcr.evaluation.predictions import Predictions
from metaxcr.evaluation.results import build_results, format_table
from metaxcr.files import write_json
from metaxcr.reports.pages import export, write_report
from metaxcr.reports.run_records import read_run
from metaxcr.runs.environment import Costs
from metaxcr.runs.run_dir import RunDir

NAMES = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789_-", min_size=1, max_size=64)
CODES = st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=3)
SETTINGS = (("none", "similarity", 0), ("zero-shot", "ctml", 0), ("few-shot", "clml", 16))
LOSSES = st.sampled_from([0.0, 1.0, -1.0, 1e12, math.nan, math.inf, -math.inf, None]) | st.floats(0, 3)


def events(losses: list, sources: list[str], seeds: int, steps: int) -> list[dict]:
    """Of CTML and CLML, fine-tuning and development, with values missing or not finite here and there."""
    drawn, found = cycle(losses), []
    for seed in range(seeds):
        for step in range(steps):
            a, b, c, d = (next(drawn) for _ in range(4))
            about = {"seed": seed, "step": step}
            shares = dict.fromkeys(sources, 1 / len(sources))
            found += [
                {"stage": "ctml", **about, "source": sources[step % len(sources)], "probabilities": shares,
                 "support_loss": a, "query_loss": b, "reward": c, "inner_losses": [1.0, 0.5],
                 "alignment_loss": d, "alignment_language": "sw"},
                {"stage": "clml", **about, "kind": "cross-task", "support_loss": b, "query_loss": c},
                {"stage": "finetune", **about, "language": "sw", "k": 16, "loss": d},
                {"stage": "dev", **about, "after": "ctml", "task": sources[0], "language": "sw", "acc": a},
            ]  # fmt: skip
    return found


def results(task: str, langs: list[str], seeds: int, n: int) -> dict:
    made = [
        Predictions(
            task, lang, "test", data, regime, method, seed, k, k, [str(i) for i in range(n)],
            [[0.7, 0.3] if (i + len(lang) + (seed or 0)) % 3 else [0.3, 0.7] for i in range(n)], [0] * n,
        )
        for lang in langs
        for data in ("repaired", "raw")
        for regime, method, k in SETTINGS
        for seed in ([None] if regime == "none" else range(seeds))
    ]  # fmt: skip
    return build_results(made, config_hash="a", data_hash="b", shares={"ctml": 0.01, "leaks": None})


def write(folder: Path, losses, sources, langs, seeds, n, steps) -> None:
    """Write a run folder with the functions that runs write theirs with."""
    (folder / "shots").mkdir(parents=True)
    run = RunDir(folder)
    for event in events(losses, sources, seeds, steps):
        run.log(event)
    run.finish("ctml")
    run.close()
    costs = Costs({})
    for stage in ("trunk", "ctml", "finetune"):
        with costs.stage(stage):
            costs.add_passes(stage, 10**6)
    write_json(folder / "costs.json", costs.summary())
    write_json(folder / "environment.json", {"cpu": "any", "threads": 2, "dtype": "float32"})
    write_json(folder / "results.json", results(sources[0], langs, seeds, n))
    write_json(folder / f"shots/{sources[0]}.seed0.json", {"k": 1, "seed": 0, "ids": ["x"]})
    config = {"run": {"name": sources[0]}, "target": {"task": sources[0], "languages": langs},
              "sources": [{"task": name} for name in sources]}  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


FIXED = [1.0, math.nan, None, 0.5, math.inf]


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    losses=st.lists(LOSSES, min_size=1, max_size=30),
    sources=st.lists(NAMES, min_size=1, max_size=12, unique=True),
    langs=st.lists(CODES, min_size=1, max_size=30, unique=True),
    seeds=st.integers(1, 5),
    n=st.integers(1, 4),
    steps=st.integers(1, 3),
)
@example(FIXED, ["s" * 64], ["sw"], 1, 2, 45)
@example(FIXED, [f"{'s' * 62}{n:02d}" for n in range(12)], [f"{a}{b}" for a in "abc" for b in "qwertyuiop"],
         5, 2, 2)  # fmt: skip
@example(FIXED, ["a"], ["en"], 1, 1, 1)
def test_every_run_has_a_report(losses, sources, langs, seeds, n, steps):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        write(folder, losses, sources, langs, seeds, n, steps)
        page = write_report(folder).read_text(encoding="utf-8")
        assert read_run(folder).missing == []
        if any(loss is not None and math.isfinite(loss) for loss in losses[:1]):
            assert "Learning curves" in page
        assert sources[0] in page  # whole, in the tables
        format_table(json.loads((folder / "results.json").read_text()))


def test_figures_of_long_names_are_written_as_files(tmp_path):
    write(tmp_path / "run", FIXED, [f"{'s' * 62}{n:02d}" for n in range(12)], ["sw", "et"], 2, 2, 3)
    paths = export(tmp_path / "run", tmp_path / "out")
    assert {"sampler.pdf", "accuracy.svg"} <= {path.name for path in paths}
