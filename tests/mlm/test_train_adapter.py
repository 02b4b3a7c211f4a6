"""The folder of a training: one process at a time, whole files or none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metaxcr.adapters.adapter_files import load_language
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.mlm.preparation import Request
from metaxcr.mlm.train_adapter import CHECKPOINT, RESULT, open_folder, train_language_adapter

SETTINGS = {"steps": 3, "rate": 0.1}


def test_a_checkpoint_comes_back_and_goes_when_all_is_done(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "sw", SETTINGS, resume=False)
    assert folder.checkpoint() is None and folder.result() is None
    state, notes = {"a": torch.arange(3.0)}, {"head": {"step": 2, "looks": [[0, 1.5]]}}
    folder.save_checkpoint(state, notes)
    folder.close()
    folder = open_folder(tmp_path / "sw", SETTINGS, resume=True)
    again = folder.checkpoint()
    assert again is not None and torch.equal(again[0]["a"], state["a"]) and again[1] == notes
    folder.finish({"found": 1})
    assert folder.result() == {"found": 1} and not (tmp_path / "sw" / CHECKPOINT).exists()
    assert not list((tmp_path / "sw").glob(".*.tmp"))
    folder.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first = open_folder(tmp_path / "sw", SETTINGS, resume=False)
    with pytest.raises(UserError, match="another process works in the folder"):
        open_folder(tmp_path / "sw", SETTINGS, resume=True)
    first.close()
    open_folder(tmp_path / "sw", SETTINGS, resume=True).close()


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "sw", SETTINGS, resume=False)
    (tmp_path / "sw" / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match=r"cannot read the checkpoint.*start again in another folder"):
        folder.checkpoint()
    folder.close()


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    open_folder(tmp_path / "sw", SETTINGS, resume=False).close()
    for settings, named in (({"steps": 4, "rate": 0.1}, "steps"), ({"steps": 3}, "rate")):
        with pytest.raises(UserError, match=f"these differ: {named}"):
            open_folder(tmp_path / "sw", settings, resume=True)
    with pytest.raises(UserError, match="the folder exists"):
        open_folder(tmp_path / "sw", SETTINGS, resume=False)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="the folder exists"):
        open_folder(tmp_path / "file", SETTINGS, resume=False)
    assert not (tmp_path / "sw" / RESULT).exists()


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
