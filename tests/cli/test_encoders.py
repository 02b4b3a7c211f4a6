"""``metaxcr encoders``: what is printed, and the folder that is written."""

import json
from pathlib import Path

import pytest
import torch
from tests.cli.conftest import Call
from tests.encoders.test_prune_vocab import folder as folder
from tests.encoders.test_prune_vocab import vectors

from metaxcr.encoders.encoder import Text
from metaxcr.encoders.loading import load_encoder


def test_ls_as_json(call: Call) -> None:
    shown = json.loads(call("encoders", "ls", "--json").out)
    assert {"bert", "deberta-v2", "distilbert", "modernbert", "xlm-roberta"} <= set(shown["families"])
    assert shown["encoders"][0]["name"] == "embedded"
    mbert = next(row for row in shown["encoders"] if row["name"].endswith("bert-base-multilingual-cased"))
    assert mbert.pop("present") in (True, False)
    assert mbert == {
        "name": "google-bert/bert-base-multilingual-cased",
        "family": "bert",
        "layers": 12,
        "width": 768,
        "parameters": 177_853_440,
        "embedding_share": 0.5185,
        "licence": "Apache-2.0",
    }


def test_ls_as_a_table(call: Call) -> None:
    out = call("encoders", "ls").out
    assert "559,890,432" in out
    assert "microsoft/mdeberta-v3-base" in out


def test_ls_finds_what_the_hub_cache_holds(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = tmp_path / "models--xlm-roberta-base" / "snapshots" / ("a" * 40)
    commit.mkdir(parents=True)
    (commit / "model.safetensors").write_bytes(b"")
    (tmp_path / "models--xlm-roberta-base" / "refs").mkdir()
    (tmp_path / "models--xlm-roberta-base" / "refs" / "main").write_text("a" * 40, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    shown = json.loads(call("encoders", "ls", "--json").out)["encoders"]
    here = [row["name"] for row in shown if row["present"] and row["name"] != "embedded"]
    assert here == ["FacebookAI/xlm-roberta-base"]


def test_trim(call: Call, folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("the man lost his keys\nwater boils\n", encoding="utf-8")
    out = tmp_path / "small"
    done = call("encoders", "trim", folder, "--text", text, "--out", out, "--json")
    assert done.status == 0
    record = json.loads(done.out)
    whole, small = load_encoder(str(folder)), load_encoder(str(out))
    assert record["rows"] == [whole.vocabulary, small.vocabulary]
    assert record["texts"] == 2
    texts = [Text("the man lost his keys"), Text("water boils")]
    assert torch.equal(vectors(small, texts), vectors(whole, texts))


def test_trim_by_task_and_language(call: Call, folder: Path, tmp_path: Path) -> None:
    done = call(
        "encoders",
        "trim",
        folder,
        "--tasks",
        "starter_target",
        "--languages",
        "es,sw",
        "--out",
        tmp_path / "a",
    )
    assert done.status == 0
    assert "the same outputs on" in done.out
    assert "vocabulary" in done.out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "no text is named"),
        (["--tasks", "no_such_task"], "no_such_task"),
        (["--text", "/no/such/file"], "no such file"),
    ],
)
def test_wrong_words_are_one_clear_line(call: Call, tmp_path: Path, words: list[str], line: str) -> None:
    done = call("encoders", "trim", "embedded", *words, "--out", tmp_path / "a")
    assert done.status == 2
    assert line in done.line
    assert not (tmp_path / "a").exists()
