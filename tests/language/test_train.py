"""From texts to a folder; killed at any moment, the same bytes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metaxcr.adapters.store import load_language
from metaxcr.encoders.base import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.language.train import train_language_adapter
from metaxcr.language.work import Request

RequestOf = Callable[..., Request]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_an_adapter_that_learned_something_in_the_layout_that_runs_take(
    encoder: FrozenEncoder, request_of: RequestOf, tmp_path: Path
) -> None:
    lines: list[str] = []
    result = train_language_adapter(
        encoder,
        request_of(lines=160, head_steps=60, steps=100, patience=20),
        tmp_path / "sw",
        progress=lambda label, done, total, note: lines.append(f"{label} {done}/{total} {note}"),
    )
    _, control, after = result["losses"]
    assert [r["what"] for r in result["losses"]] == ["head alone", "head alone, trained on", "head + adapter"]
    assert after["loss"] < control["loss"] and after["steps"] == control["steps"]
    gain = result["gain"]
    assert gain["over"] == "head alone, trained on" and gain["low"] < gain["mean"] < gain["high"]
    assert lines[0].startswith("head 0/60 held-out loss ") and lines[-1].startswith("control 100/100")
    adapter = load_language(tmp_path / "sw", encoder)
    assert adapter.invertible is not None and adapter.indices == [0, 1]
    assert any(bool(p.abs().sum()) for n, p in adapter.named_parameters() if ".up." in n)
    assert set(files(tmp_path / "sw")) == {
        "adapter.safetensors", "adapter_config.json", "head.safetensors", "result.json", "training.json",
        "README.md",
    }  # fmt: skip


@pytest.mark.parametrize("stop_at", [1, 3, 6, 8, 12])
def test_killed_at_any_moment_it_resumes_to_the_same_bytes(
    encoder: FrozenEncoder, request_of: RequestOf, tmp_path: Path, stop_at: int
) -> None:
    request = request_of(lines=40, head_steps=6, steps=6, evaluate_every=3)
    train_language_adapter(encoder, request, tmp_path / "whole")
    calls = 0

    def interrupt(label: str, done: int, total: int, note: str) -> None:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_language_adapter(encoder, request, tmp_path / "cut", progress=interrupt)
    train_language_adapter(encoder, request, tmp_path / "cut", resume=True)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_an_own_head_is_used_frozen(encoder: FrozenEncoder, request_of: RequestOf, tmp_path: Path) -> None:
    own = torch.nn.Linear(16, len(encoder.word_embeddings))
    before = own.weight.clone()
    result = train_language_adapter(
        encoder, request_of(lines=160, steps=60, patience=20), tmp_path / "sw", head=own
    )
    assert [r["what"] for r in result["losses"]] == ["own head", "head + adapter"]
    assert result["gain"]["over"] == "own head" and result["gain"]["mean"] > 0
    assert torch.equal(own.weight, before) and not (tmp_path / "sw" / "head.safetensors").exists()


def test_a_finished_folder_stays_and_foreign_ones_are_refused(
    encoder: FrozenEncoder, request_of: RequestOf, tmp_path: Path
) -> None:
    small = {"lines": 40, "head_steps": 1, "steps": 1}
    result = train_language_adapter(encoder, request_of(**small), tmp_path / "sw")
    with pytest.raises(UserError, match=r"the folder exists .* add --resume"):
        train_language_adapter(encoder, request_of(**small), tmp_path / "sw")
    before = files(tmp_path / "sw")
    again = train_language_adapter(encoder, request_of(**small), tmp_path / "sw", resume=True)
    assert (
        json.loads(json.dumps(again)) == json.loads(json.dumps(result)) and files(tmp_path / "sw") == before
    )
    with pytest.raises(UserError, match="these differ: rate, steps"):
        train_language_adapter(
            encoder, request_of(lines=40, steps=2, head_steps=1, rate=0.5), tmp_path / "sw", resume=True
        )
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(UserError, match="no training of a language adapter"):
        train_language_adapter(encoder, request_of(**small), tmp_path / "other", resume=True)


def test_a_card_says_what_and_how(encoder: FrozenEncoder, request_of: RequestOf, tmp_path: Path) -> None:
    result = train_language_adapter(encoder, request_of(steps=2, head_steps=2), tmp_path / "sw")
    text = (tmp_path / "sw" / "README.md").read_text(encoding="utf-8")
    assert "# Language adapter: sw" in text and "metaxcr adapters train" in text
    assert "| toy.txt | 80 | none |  |" in text and f"{result['losses'][2]['loss']:.3f}" in text
