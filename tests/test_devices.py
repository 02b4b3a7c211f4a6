"""The critical path on a second device: nothing is left on the processor, and the bits are the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tests.conftest import _words, toy_bert
from tests.elsewhere import DEVICE, Elsewhere, second_device
from tests.mlm.conftest import build_encoder, toy_lines
from tests.mlm.conftest import settings as language_settings

from metaxcr.api import MetaXCR
from metaxcr.config.io import load_config
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.encoders.loading import wrap
from metaxcr.hardware import CPU
from metaxcr.mlm.corpus import Document
from metaxcr.mlm.train_adapter import Request, train_language_adapter
from metaxcr.runs.experiment import run
from metaxcr.runs.progress import Progress
from metaxcr.runs.run_dir import RunDir

SMALL = [
    *("run.seeds=[3]", "run.checkpoint_every=1", "run.threads=1", "encoder.max_tokens=64"),
    *("encoder.dtype=float32", "target.languages=[sw, it]", "target.parallel.languages=[sw, it]"),
    *("ctml.steps=3", "ctml.support=4", "ctml.query=4", "ctml.reward=4", "ctml.pairs=4"),
    *("clml.few_shot_steps=2", "clml.support=4", "clml.query=4", "clml.reward=4"),
    *("finetune.steps=2", "finetune.batch=4"),
]
NARROW = "adapters.bottleneck=8"
VARIANTS = {
    "as shipped": [NARROW, "sampler.window=2"],
    "second order": [NARROW, "ctml.learner=maml", "ctml.inner_steps=2", "clml.learner=anil"],
    "learned rates": [NARROW, "ctml.learner=meta-sgd", "clml.learner=imaml", "sampler.reward.kind=loss-drop"],
    "target phases": [NARROW, "ctml.learner=x-metra-ada", "sampler.reward.kind=accuracy-gain"],
    "cross": [NARROW, "scoring.kind=cross", "sampler.kind=thompson"],
    "joint": [NARROW, "scoring.kind=joint", "sampler.kind=ucb"],
    "mixture": [NARROW, "adapters.mixture=true", "sampler.kind=multidds", "sampler.reward.sources=all"],
    "houlsby": [NARROW, "adapters.kind=houlsby", "sampler.kind=exp3"],
    "lora": [NARROW, "adapters.kind=lora", "run.regimes=[zero-shot, pooled-shots]", "encoder.dtype=bfloat16"],
    "parallel": [NARROW, "adapters.kind=parallel", "encoder.dtype=float16"],
    "full": ["adapters.kind=full", "adapters.layers=[2]", "sampler.kind=uniform"],
}


@pytest.fixture(autouse=True)
def toy_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs have a toy encoder each, because an encoder is moved as a whole."""

    def fresh(name: str, **options: Any) -> FrozenEncoder:
        return wrap("toy", toy_bert(), _words, prefix="", fingerprint="toy")

    monkeypatch.setenv("METAXCR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("metaxcr.runs.experiment.load_encoder", fresh)
    monkeypatch.setattr("metaxcr.api.load_encoder", fresh)
    yield


def carry_out(out: Path, settings: list[str], **options: Any) -> dict[str, bytes]:
    """A run; the bytes of what it leaves, but for times and the machine."""
    run(load_config("starter", [*SMALL, *settings]), out, progress=Progress(Console(quiet=True)), **options)
    files = [p for p in out.rglob("*") if p.is_file() and p.name not in ("costs.json", "environment.json")]
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_a_run_gives_the_same_bytes_on_another_device(
    settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = carry_out(tmp_path / "here", settings)
    with second_device(monkeypatch):
        there = carry_out(tmp_path / "there", settings)
    assert json.loads((tmp_path / "there" / "environment.json").read_text())["device"] == DEVICE.type
    assert there == here


def test_a_run_killed_on_another_device_resumes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = ["ctml.learner=meta-sgd", "ctml.tasks_per_step=2", NARROW]
    with second_device(monkeypatch):
        whole = carry_out(tmp_path / "whole", learned)
        written = RunDir.checkpoint
        with monkeypatch.context() as patch:

            def checkpoint(folder: RunDir, *state: Any) -> None:
                written(folder, *state)
                raise KeyboardInterrupt

            patch.setattr(RunDir, "checkpoint", checkpoint)
            with pytest.raises(KeyboardInterrupt):
                carry_out(tmp_path / "killed", learned)
        assert carry_out(tmp_path / "killed", learned, resume=True) == whole


def test_a_model_answers_and_adapts_on_another_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out(tmp_path / "run", [NARROW])
    choices = ["mvua", "joto kali", "baridi"]
    asked = [
        {"context": f"jua {letter * 3} mvua", "choices": choices[: 2 + n % 2], "language": "sw"}
        for n, letter in enumerate("abcdefghijklmnopqrstuvwx")
    ]
    labelled = [{**one, "label": n % 2} for n, one in enumerate(asked)]

    def answers() -> tuple[list[list[float]], dict[str, Any], list[list[float]]]:
        model = MetaXCR.from_pretrained(tmp_path / "run")
        adapted = model.adapt(labelled, "sw")
        assert adapted.adaptation is not None
        account = {k: v for k, v in adapted.adaptation.items() if k not in ("environment", "command")}
        return model.rank_many(asked), account, adapted.rank_many(asked)

    here = answers()
    with second_device(monkeypatch):
        assert answers() == here


def test_a_language_adapter_is_trained_on_another_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [Document("toy.txt", [f"{line} w{n}"]) for n, line in enumerate(toy_lines(60))]
    few = language_settings(steps=4, head_steps=4, evaluate_every=2)
    request = Request("sw", documents, [], "", few)

    def trained(out: Path, device: torch.device) -> dict[str, bytes]:
        train_language_adapter(build_encoder().to(device), request, out)
        return {p.name: p.read_bytes() for p in sorted(out.iterdir()) if p.suffix == ".safetensors"}

    here = trained(tmp_path / "here", CPU)
    with second_device(monkeypatch):
        there = trained(tmp_path / "there", DEVICE)
    assert there == here and "head.safetensors" in there


def test_the_second_device_notices_a_tensor_without_a_device() -> None:
    """The guard guards: what it is there for fails."""
    with pytest.MonkeyPatch.context() as patch, second_device(patch):
        there = torch.ones(3, device=DEVICE)
        assert isinstance(there, Elsewhere) and float((there * 2).sum()) == 6
        for forgotten in (torch.arange(3), torch.zeros(3), torch.tensor([1.0, 2.0, 3.0])):
            with pytest.raises(AssertionError, match="two devices"):
                there + forgotten
