"""A training from the text to its folder: what is prepared, what is written, and that it resumes."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metaxcr.adapters.adapter_files import load_language
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.evaluation.statistics import paired_difference
from metaxcr.mlm.adapter_training import LanguageTraining, StageState, target_losses
from metaxcr.mlm.masked_lm import OwnHead, TiedHead
from metaxcr.mlm.train_adapter import (
    CHECKPOINT,
    RESULT,
    Request,
    open_folder,
    prepare,
    train_language_adapter,
    training_result,
)

SETTINGS = {"steps": 3, "lr": 0.1}


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
    for settings, named in (({"steps": 4, "lr": 0.1}, "steps"), ({"steps": 3}, "lr")):
        with pytest.raises(UserError, match=f"these differ: {named}"):
            open_folder(tmp_path / "sw", settings, resume=True)
    with pytest.raises(UserError, match="the folder exists"):
        open_folder(tmp_path / "sw", SETTINGS, resume=False)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="the folder exists"):
        open_folder(tmp_path / "file", SETTINGS, resume=False)
    assert not (tmp_path / "sw" / RESULT).exists()


def test_a_folder_that_an_older_version_began_goes_on(tmp_path: Path) -> None:
    open_folder(tmp_path / "sw", SETTINGS, resume=False).close()
    (tmp_path / "sw" / "training.json").write_text('{"steps": 3, "rate": 0.1}')
    open_folder(tmp_path / "sw", SETTINGS, resume=True).close()


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
    with pytest.raises(UserError, match="these differ: lr, steps"):
        train_language_adapter(
            encoder, request_of(lines=40, steps=2, head_steps=1, lr=0.5), tmp_path / "sw", resume=True
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


def test_the_decoder_knows_every_token_of_the_text(encoder: FrozenEncoder, request_of: RequestOf) -> None:
    work = prepare(encoder, request_of())
    seen = {i for part in work.batches.values() for b in part.all() for i in b.targets.tolist()}
    assert max(seen) < len(work.rows) and work.rows == sorted(set(work.rows))
    assert isinstance(work.model.head, TiedHead) and not work.own_head
    assert sum(size["lines"] for size in work.sizes.values()) == 80


def test_reduction_and_layers(encoder: FrozenEncoder, request_of: RequestOf) -> None:
    model = prepare(encoder, request_of(reduction=4, layers=[1], invertible=False)).model
    assert model.adapter.indices == [1] and model.adapter.invertible is None and model.start == 1
    assert model.adapter.by_layer[1].shape.bottleneck == 4
    assert prepare(encoder, request_of()).model.start == 0
    assert LanguageTraining(layers="top-third").chosen_layers(12) == [8, 9, 10, 11]


def test_an_own_head_is_taken(encoder: FrozenEncoder, request_of: RequestOf) -> None:
    work = prepare(encoder, request_of(), torch.nn.Linear(16, 96))
    assert work.own_head and isinstance(work.model.head, OwnHead)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 65}, r"sequences of 65 tokens do not fit toy \(--set length\): use 3 to 64"),
        ({"layers": [2]}, "do not fit an encoder of 2 layers"),
        ({"layers": [1, 0]}, "do not fit an encoder of 2 layers"),
        ({"layers": []}, "do not fit an encoder of 2 layers"),
    ],
)
def test_settings_that_do_not_fit(
    encoder: FrozenEncoder, request_of: RequestOf, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        prepare(encoder, request_of(**changes))


def test_a_held_out_part_of_one_sequence_is_too_little(encoder: FrozenEncoder, request_of: RequestOf) -> None:
    with pytest.raises(
        UserError, match="too little text: a held-out part of 4 lines fills one sequence of 64"
    ):
        prepare(encoder, request_of(lines=40, length=64))


def test_the_identity_has_all_that_decides(encoder: FrozenEncoder, request_of: RequestOf) -> None:
    one = request_of().identity(encoder)
    assert one == request_of().identity(encoder)
    for other in (request_of(lines=84), request_of(seed=1), request_of(lr=0.5)):
        assert other.identity(encoder) != one


def test_losses_and_the_gain_over_the_control(
    encoder: FrozenEncoder, request_of: Callable[..., Request]
) -> None:
    request = request_of(lines=160)
    work = prepare(encoder, request)
    model, test = work.model, work.batches["test"]
    states = {}
    for n, name in enumerate(("head", "adapter", "control")):
        params = {
            key: p + 0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(n))
            for key, p in model.params().items()
        }
        states[name] = StageState(7, params, {}, params, ((0, 3.0), (5, 2.0 + n), (7, 2.5)))
    result = training_result(request, work, states)
    assert [row["what"] for row in result["losses"]] == [
        "head alone",
        "head alone, trained on",
        "head + adapter",
    ]
    assert [row["best_step"] for row in result["losses"]] == [5, 7, 7]
    losses = {
        name: target_losses(model, state.best, test, with_adapter=name == "adapter")
        for name, state in states.items()
    }
    for name, row in zip(("head", "control", "adapter"), result["losses"], strict=True):
        assert row["loss"] == pytest.approx(float(losses[name].mean()), abs=1e-4)
        assert row["perplexity"] == pytest.approx(math.exp(row["loss"]), rel=1e-3)
    # the gain, sequence by sequence, written down anew
    owners = test.owners().tolist()
    means = {}
    for name in ("control", "adapter"):
        by_sequence: dict[int, list[float]] = {}
        for owner, loss in zip(owners, losses[name].tolist(), strict=True):
            by_sequence.setdefault(owner, []).append(loss)
        means[name] = torch.tensor([sum(v) / len(v) for _, v in sorted(by_sequence.items())]).numpy()
    expected = paired_difference(means["control"], means["adapter"])
    assert result["gain"]["mean"] == pytest.approx(expected.mean, rel=1e-2)
    assert result["gain"]["low"] == pytest.approx(expected.low, rel=1e-2)
    assert result["targets"] == len(owners) and result["parameters"] > 0
