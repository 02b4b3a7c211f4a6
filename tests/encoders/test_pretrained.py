"""Encoders as others publish them: revisions, output heads, and whatever can be wrong with their files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, BertForMaskedLM

from metaxcr.encoders.encoder import Text
from metaxcr.encoders.loading import load_encoder
from metaxcr.encoders.pretrained import find_commit, load_mlm_head
from metaxcr.errors import UserError

TEXTS = [Text("the man lost his keys", "so he called a smith"), Text("water boils when heated")]
FIRST, SECOND = "a" * 40, "b" * 40


def save(family: Any, place: Path) -> Path:
    family.model.save_pretrained(place)
    family.tokenizer.save_pretrained(place)
    return place


@pytest.fixture
def folder(bert: Any, tmp_path: Path) -> Path:
    """A complete encoder."""
    return save(bert, tmp_path / "model")


def no_weights(place: Path) -> None:
    (place / "model.safetensors").unlink()


def pickled_weights(place: Path) -> None:
    torch.save(load_file(place / "model.safetensors"), place / "pytorch_model.bin")
    no_weights(place)


def cut_weights(place: Path) -> None:
    data = (place / "model.safetensors").read_bytes()
    (place / "model.safetensors").write_bytes(data[: len(data) // 2])


def one_weight_less(place: Path) -> None:
    weights = load_file(place / "model.safetensors")
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, place / "model.safetensors", {"format": "pt"})


def wider(place: Path) -> None:
    settings = json.loads((place / "config.json").read_text(encoding="utf-8"))
    (place / "config.json").write_text(json.dumps({**settings, "intermediate_size": 99}), encoding="utf-8")


def wrong_type(place: Path) -> None:
    settings = json.loads((place / "config.json").read_text(encoding="utf-8"))
    (place / "config.json").write_text(json.dumps({**settings, "hidden_size": "wide"}), encoding="utf-8")


def cut_config(place: Path) -> None:
    (place / "config.json").write_text("{", encoding="utf-8")


def no_config(place: Path) -> None:
    (place / "config.json").unlink()


def no_tokenizer(place: Path) -> None:
    (place / "tokenizer.json").unlink()


def damaged_tokenizer(place: Path) -> None:
    (place / "tokenizer.json").write_text("{}", encoding="utf-8")


def other_tokenizer(place: Path) -> None:
    text = (place / "tokenizer.json").read_text(encoding="utf-8")
    (place / "tokenizer.json").write_text(text.replace('"water"', '"water": 99, "fire"'), encoding="utf-8")


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (no_weights, r"cannot be loaded: it has no weights in a safetensors file.*trusted.*refs/pr/1"),
    (pickled_weights, r"cannot be loaded: it has no weights in a safetensors file"),
    (cut_weights, r"cannot be loaded: "),
    (one_weight_less, r"lacks 1 weights, the first encoder\.layer\.1\.output\.dense\.bias"),
    (wider, r"do not fit its configuration: encoder\.layer\.0\..* has the shape \(64.*99.*is expected"),
    (wrong_type, r"cannot be loaded: .*hidden_size.*expected int"),
    (cut_config, r"cannot be loaded: .*not a valid JSON"),
    (no_config, r"cannot be loaded: "),
    (no_tokenizer, r"has no tokenizer \(encoder\.name\): it needs .*tokenizer\.json"),
    (damaged_tokenizer, r"cannot be loaded: "),
    (other_tokenizer, r"has \d+ ids, its embeddings have 24 rows"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGE, ids=lambda d: getattr(d, "__name__", ""))
def test_what_is_wrong_with_a_folder_is_one_clear_line(
    folder: Path, damage: Callable[[Path], None], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    damage(folder)
    capfd.readouterr()
    with pytest.raises(UserError, match=words) as caught:
        load_encoder(str(folder))
    assert "\n" not in str(caught.value)
    assert "REPORT" not in capfd.readouterr().err  # the table that transformers prints


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bert: Any) -> Path:
    """A cache of the hub with two commits of ``own/tiny``, the second one on the main branch; no network."""
    repository = tmp_path / "hub" / "models--own--tiny"
    for commit in (FIRST, SECOND):
        place = save(bert, repository / "snapshots" / commit)
        weights = load_file(place / "model.safetensors")
        weights["encoder.layer.0.output.dense.bias"] += float(commit == SECOND)
        save_file(weights, place / "model.safetensors", {"format": "pt"})
    for branch, commit in (("main", SECOND), ("old", FIRST)):
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / branch).write_text(commit, encoding="utf-8")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return repository


def test_a_name_is_resolved_to_a_commit_and_the_commit_gives_the_same_encoder_later(hub: Path) -> None:
    newest, old = load_encoder("own/tiny"), load_encoder("own/tiny", revision="old")
    assert (newest.revision, old.revision) == (SECOND, FIRST)
    assert newest.fingerprint != old.fingerprint
    (hub / "refs" / "main").write_text(FIRST, encoding="utf-8")  # the repository moves on
    assert load_encoder("own/tiny").fingerprint == old.fingerprint
    assert load_encoder("own/tiny", revision=SECOND).fingerprint == newest.fingerprint


def test_a_folder_has_no_commit(folder: Path) -> None:
    assert find_commit(str(folder)) is None
    assert load_encoder(str(folder)).revision is None


def test_hub_names_that_are_not_there_are_one_clear_line(hub: Path) -> None:
    with pytest.raises(UserError, match=r"'no/such-encoder' cannot be loaded: .*'embedded'") as caught:
        load_encoder("no/such-encoder")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"'own/tiny' cannot be loaded"):
        load_encoder("own/tiny", revision="c" * 40)


def test_a_hub_repository_without_safetensors(hub: Path) -> None:
    (hub / "snapshots" / SECOND / "model.safetensors").unlink()
    with pytest.raises(
        UserError, match=r"'own/tiny' cannot be loaded: it has no weights in a safetensors file"
    ):
        load_encoder("own/tiny")


def test_the_encoders_own_head_gives_its_logits(family: Any, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AutoModelForMaskedLM.from_config(family.model.config).eval()
        for name, parameter in model.named_parameters():
            if not name.endswith("embeddings.weight"):
                parameter.data.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(tmp_path)
    family.tokenizer.save_pretrained(tmp_path)
    encoder, head = load_encoder(str(tmp_path)), load_mlm_head(str(tmp_path))
    assert head is not None
    tokenized = encoder.tokenize(TEXTS[:1], 32)
    hidden = encoder.run(encoder.embed(tokenized), 0, encoder.depth, torch.float32)
    more = {} if family.without_segments else {"token_type_ids": torch.tensor([tokenized[0].segments])}
    with torch.no_grad():
        expected = model(torch.tensor([tokenized[0].ids]), **more).logits[0]
    assert torch.allclose(head(hidden), expected, atol=1e-4)
    assert expected.std() > 0.1
    assert not any(p.requires_grad for p in head.parameters())


def test_no_head_where_none_was_trained(folder: Path) -> None:
    assert load_mlm_head(str(folder)) is None  # a base model: transformers would draw a random head
    assert load_mlm_head("embedded") is None
    assert load_mlm_head("random-tiny:xlm-roberta-base") is None


def test_an_encoder_saved_with_its_head_loads_like_one_without(bert: Any, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        BertForMaskedLM(bert.model.config).save_pretrained(tmp_path)
    bert.tokenizer.save_pretrained(tmp_path)
    assert load_encoder(str(tmp_path)).depth == 3
