"""A training that diverges stops with one clear line, keeps its last good state, and can be looked into."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

from metaxcr.cli import main
from metaxcr.config.io import load_config
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.reports.pages import write_report
from metaxcr.runs.experiment import run
from metaxcr.runs.progress import Progress
from metaxcr.runs.run_dir import RunDir

SMALL = [
    *("run.seeds=[3]", "run.checkpoint_every=100", "run.threads=1", "encoder.max_tokens=64"),
    *("target.languages=[sw, it]", "target.parallel.languages=[sw, it]", "adapters.bottleneck=8"),
    "adapters.layers=top-third",
    *("ctml.steps=6", "ctml.support=4", "ctml.query=4", "ctml.reward=4", "ctml.pairs=4", "sampler.window=2"),
    *("clml.few_shot_steps=4", "clml.support=4", "clml.query=4", "clml.reward=4"),
    *("finetune.steps=4", "finetune.batch=4"),
]
DIVERGE = {  # what makes each stage diverge, and the setting that the line has to name
    "ctml": (["ctml.inner_lr=1e30", "ctml.learner=fomaml"], "ctml.inner_lr"),
    "outer": (["ctml.outer_lr=1e30", "ctml.learner=fomaml"], "ctml.outer_lr"),
    "finite": (["ctml.outer_lr=30", "ctml.learner=fomaml"], "ctml.outer_lr"),
    "clml": (["clml.inner_lr=1e30", "clml.learner=fomaml"], "clml.inner_lr"),
    "shots": (["clml.few_shot_lr=1e30", "clml.learner=fomaml"], "clml.few_shot_lr"),
    "finetune": (["finetune.lr=1e30"], "finetune.lr"),
}


@pytest.fixture(autouse=True)
def toy_runs(toy_encoder: FrozenEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("METAXCR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("metaxcr.runs.experiment.load_encoder", lambda name, **options: toy_encoder)
    return


@pytest.mark.parametrize("case", DIVERGE)
def test_divergence_is_one_line_with_the_setting_to_change(case: str, tmp_path: Path) -> None:
    overrides, named = DIVERGE[case]
    config, out = load_config("starter", [*SMALL, *overrides]), tmp_path / "run"
    for resume in (False, True):  # the same settings diverge at the same step again
        with pytest.raises(UserError) as error:
            run(config, out, progress=Progress(Console(quiet=True), quiet=True), resume=resume)
        line = str(error.value)
        assert line.startswith("training diverged: ")
        assert "seed 3, step " in line
        assert f"{named} (now " in line
        assert "another --out" in line
    events = [json.loads(text) for text in (out / "events.jsonl").read_text().splitlines()]
    stopped = [event for event in events if "diverged" in event]
    assert len(stopped) == 1
    assert named in stopped[0]["change"]
    assert f"step {stopped[0]['step']}: " in line
    assert all(math.isfinite(e[key]) for e in events for key in ("query_loss", "loss") if key in e)


def test_the_last_good_state_is_kept(tmp_path: Path) -> None:
    """Also where no checkpoint was due, and it is the state after the last finished step."""
    config = load_config("starter", [*SMALL, "ctml.outer_lr=1e30", "ctml.learner=fomaml"])
    with pytest.raises(UserError, match="diverged"):
        run(config, tmp_path / "run", progress=Progress(Console(quiet=True), quiet=True))
    folder = RunDir(tmp_path / "run")
    events = [json.loads(text) for text in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    folder.close()
    assert (folder.journal.unit, folder.journal.step) == ("ctml seed 3", len(events))
    assert folder.journal.step >= 1
    assert folder.state
    assert all(torch.isfinite(tensor).all() for tensor in folder.state.values())


def test_a_diverged_run_can_be_diagnosed_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for s in [*SMALL, "ctml.inner_lr=1e30", "ctml.learner=fomaml"] for word in ("--set", s)]
    out = tmp_path / "run"
    assert main(["run", "starter", "--out", str(out), "--quiet", *words]) == 2
    assert (
        capsys.readouterr().err.strip().splitlines()[-1].startswith("metaxcr: training diverged: ctml seed 3")
    )
    assert main(["diagnose", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    assert found[0]["rule"] == "diverged"
    page = write_report(out).read_text()
    assert "<h2>Diagnosis</h2>" in page
    assert "problem: diverged" in page
