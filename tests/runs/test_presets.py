"""The presets of the paper, end to end on encoders of their families with random weights."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from metaxcr.adapters.adapter_files import save_language
from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.api import MetaXCR
from metaxcr.config.io import load_config
from metaxcr.encoders.loading import load_encoder
from metaxcr.runs.experiment import run
from metaxcr.runs.progress import Progress

SMALL = [
    "run.seeds=[0]", "run.threads=1", "run.regimes=[zero-shot, few-shot]", "encoder.max_tokens=48",
    "target.task=starter_target", "target.languages=[sw]", "target.shots_split=shots", "target.k=4",
    "target.english={task: starter_causes, split: train, source: 0.5, query: 0.25, reward: 0.25}",
    "target.auxiliary=null", "evaluate.split=shots", "evaluate.raw=false", "evaluate.english=null",
    "ctml.steps=2", "ctml.support=4", "ctml.query=4", "ctml.reward=4", "clml.few_shot_steps=1",
    "clml.support=4", "clml.query=4", "clml.reward=4", "finetune.steps=1", "finetune.batch=4",
]  # fmt: skip
TASKS = ("starter_social", "starter_stories", "starter_facts", "starter_sense")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "encoder", "stack"),
    [
        ("paper", "bert-base-multilingual-cased", ["task"]),
        ("paper-xlmr", "xlm-roberta-base", ["mixture of 5 tasks"]),
        ("xlmr-base", "xlm-roberta-base", ["invertible.sw", "lang.sw", "task"]),
    ],
)
def test_a_preset_runs_from_the_data_to_an_answer(
    preset: str, encoder: str, stack: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAXCR_CACHE", str(tmp_path / "cache"))
    sources = ", ".join(f"{{task: {task}, cap: 8}}" for task in TASKS)
    words = [*SMALL, f"encoder.name=random-tiny:{encoder}", f"sources=[{sources}]"]
    if preset == "xlmr-base":  # as 'metaxcr adapters import' leaves them
        tiny = load_encoder(f"random-tiny:{encoder}")
        for language in ("en", "sw"):
            adapter = LanguageAdapter.create(tiny, torch.Generator().manual_seed(1))
            save_language(tmp_path / language, language, adapter, tiny)
        words.append(f"adapters.language={{en: {tmp_path}/en, sw: {tmp_path}/sw}}")
    config = load_config(preset, words)
    run(config, tmp_path / "run", progress=Progress(Console(quiet=True), quiet=True))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {row["regime"] for row in results["rows"]} == {"none", "zero-shot", "few-shot"}
    assert results["shares"]["stack"]["sw"] == stack
    model = MetaXCR.from_pretrained(tmp_path / "run")
    answer = model.rank("Kikombe kilianguka.", ["Kilivunjika.", "Kilijaa."], question="effect", language="sw")
    assert sum(answer) == pytest.approx(1)
    expected = ["task"] if "mixture" in stack[0] else stack  # a mixture is reduced to one adapter
    assert model.stack("sw") == expected
