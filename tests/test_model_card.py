"""The model card."""

import json
from typing import Any

import pytest
import yaml

from metaxcr.config.io import load_config
from metaxcr.model_card import language_adapter_card, model_card

EMPTY = {"schema": 1, "config_hash": "c", "data_hash": "d", "rows": [], "averages": [], "differences": [],
         "shares": {}}  # fmt: skip


def head(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_the_licence_is_open_only_where_all_data_are(tmp_path):
    config = load_config("starter")
    assert head(model_card(config, tmp_path, ["en"]))["license"] == "apache-2.0"
    mixed = load_config("starter", ["sources=[{task: starter_social}, {task: ecare}]"])
    card = model_card(mixed, tmp_path, ["en"])
    assert head(card)["license"] == "other"
    assert "| MIT |" in card.split("licences")[1]


def test_target_data_count_where_they_are_learned_from(tmp_path):
    names = ["run.regimes=[zero-shot]", "target.task=xcopa", "target.languages=[et]"]
    assert "[xcopa]" not in model_card(load_config("starter", names), tmp_path, ["en"])
    assert "[xcopa]" in model_card(load_config("starter", names[1:]), tmp_path, ["en"])


@pytest.mark.parametrize(
    ("encoder", "base"),
    [("embedded", "intfloat/multilingual-e5-small"), ("xlm-roberta-base", "xlm-roberta-base")],
)
def test_the_base_model_is_named(tmp_path, encoder, base):
    config = load_config("starter", [f"encoder.name={encoder}"])
    assert head(model_card(config, tmp_path, ["en", "es"])) | {"tags": 0} == {
        "license": "apache-2.0",
        "language": ["en", "es"],
        "library_name": "metaxcr",
        "pipeline_tag": "multiple-choice",
        "base_model": base,
        "tags": 0,
    }


def test_results_are_shown_with_intervals_and_only_if_there_are_any(tmp_path):
    config = load_config("starter")
    assert "Not evaluated." in model_card(config, tmp_path, ["en"])
    place = {"task": "starter_target", "split": "test", "data": "repaired", "langs": ["es", "sw"]}
    averages = [
        {
            **place,
            "regime": "few-shot",
            "method": "finetune",
            "k": 16,
            "mean": 0.7,
            "ci95": [0.6, 0.8],
            "ci_kind": "items",
        },
        {
            **place,
            "regime": "none",
            "method": "similarity",
            "k": 0,
            "mean": 0.5,
            "ci95": None,
            "ci_kind": None,
        },
    ]
    averages = [average | {"seeds": [0], "mdd": None} for average in averages]
    (tmp_path / "results.json").write_text(json.dumps(EMPTY | {"averages": averages}))
    card = model_card(config, tmp_path, ["en"])
    rows = [line for line in card.splitlines() if line.startswith("| starter_target test")]
    assert rows == [
        "| starter_target test | repaired | similarity | es sw | 50.0 |  |",
        "| starter_target test | repaired | few-shot/finetune, k = 16 | es sw | 70.0 "
        "| 60.0 to 80.0 (items) |",
    ]
    assert "a demonstration, not a benchmark" in card


def test_a_card_without_results_says_that_leaks_were_allowed(tmp_path):
    assert "## Leaks" not in model_card(load_config("starter"), tmp_path, ["en"])
    config = load_config("starter", ["run.allow_leaks=true"])
    assert "may have been trained on test items" in model_card(config, tmp_path, ["en"])


def test_training_is_told(tmp_path):
    config = load_config("starter", ["run.seeds=[3, 4]", "target.k=8"])
    card = model_card(config, tmp_path, ["en"])
    assert "- English sources: starter_social, starter_stories, starter_facts, starter_causes" in card
    assert "- shots: 8 a language; seeds 3, 4" in card
    assert "- parallel text without labels: starter_target shots" in card
    assert "trained:" not in card  # what is not recorded is not told
    assert "command" not in card
    account = {"trained": 2000, "encoder": 100_000, "share": 0.02, "share_without_embeddings": 0.05}
    shares = {"parameters": account, "stack": {"en": ["task"], "sw": ["invertible.sw", "lang.sw", "task"]}}
    row = {"task": "t", "lang": "sw", "split": "test", "data": "raw", "method": "m", "regime": "few-shot"}
    row |= {"seed": 0, "total_labels": 0, "acc": 0.5, "n": 1}
    results = EMPTY | {"rows": [row | {"k": 0}, row | {"k": 12}], "shares": shares}
    (tmp_path / "results.json").write_text(json.dumps(results))
    origin = {"command": "metaxcr run starter", "metaxcr": "0.1", "torch": "2.13"}
    (tmp_path / "environment.json").write_text(json.dumps(origin))
    card = model_card(config, tmp_path, ["en"])
    assert "2,000 parameters, 2.00% of the encoder's 100,000 (5.00% without its embeddings)" in card
    assert "invertible.sw > lang.sw > task, task" in card
    assert "- shots: 12 a language" in card
    assert "- command: `metaxcr run starter` (metaxcr 0.1, torch 2.13)" in card
    zero = load_config("starter", ["run.regimes=[zero-shot]"])
    assert "- shots: none" in model_card(zero, tmp_path / "elsewhere", ["en"])


RESULT = {
    "encoder": "toy",
    "seed": 3,
    "parameters": 1234,
    "vocabulary": 4321,
    "targets": 99,
    "sizes": {"train": {"lines": 60, "tokens": 5000}, "stop": {"lines": 8}, "test": {"lines": 9}},
    "losses": [
        {"what": "own head", "loss": 2.0, "perplexity": 7.39},
        {"what": "head + adapter", "loss": 1.5, "perplexity": 4.48, "best_step": 40},
    ],
    "gain": {"over": "own head", "mean": 0.5, "low": 0.4, "high": 0.6, "p": 1e-9},
}


def language_card(result: dict[str, Any], **settings: Any) -> str:
    toy = {"name": "toy.txt", "lines": 80, "licence": "none", "citation": ""}
    return language_adapter_card(
        result,
        language="sw",
        sources=[toy],
        command="metaxcr adapters train",
        settings={"layers": "all", "reduction": 2, "invertible": True, **settings},
    )


def test_it_says_what_was_trained_on_what_and_what_it_changed() -> None:
    text = language_card(RESULT, layers=[0, 1], invertible=False)
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["language"] == ["sw"]
    for part in (
        "layers: 0, 1; reduction 2; no invertible part; 1,234 parameters",
        "| toy.txt | 80 | none |  |",
        "60 lines (5,000 tokens) for training, 8 for early stopping, and 9 for the losses below",
        "| own head | 2.000 | 7.4 |  |",
        "| head + adapter | 1.500 | 4.5 | 40 |",
        "gain over own head: 0.500 nats [0.400, 0.600] (95 %, paired over held-out sequences, p < 0.0001).",
        "The decoder knows the 4,321 tokens",
    ):
        assert part in body
    assert "p = 0.02)" in language_card({**RESULT, "gain": {**RESULT["gain"], "p": 0.02}})  # type: ignore[dict-item]
