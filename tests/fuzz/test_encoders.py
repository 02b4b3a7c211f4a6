"""Hostile encoders: names, and config.json with numbers that no encoder has."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from tests.conftest import toy_bert
from tests.fuzzing import NUMBERS, TEXTS, VALUES, damaged, fuzz, only_user_errors
from transformers import BertModel

from metaxcr.encoders.loading import encoder_shape, load_encoder
from metaxcr.encoders.shapes import parse_random_name

KEYS = [
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "model_type", "max_position_embeddings", "hidden_act", "type_vocab_size", "layer_norm_eps",
    "pad_token_id",
]  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    model: BertModel = toy_bert()
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]))
    (folder / "config.good").write_bytes((folder / "config.json").read_bytes())
    return folder


def test_the_undamaged_encoder_is_read(encoder: Path) -> None:
    (encoder / "config.json").write_bytes((encoder / "config.good").read_bytes())
    assert load_encoder(str(encoder)).depth == 3


@fuzz(0.004, quick=25, key=st.sampled_from(KEYS), value=st.sampled_from(NUMBERS) | VALUES)
def test_configurations_of_any_value(encoder: Path, key: str, value: Any) -> None:
    raw = json.loads((encoder / "config.good").read_text())
    (encoder / "config.json").write_text(json.dumps({**raw, key: value}))
    with only_user_errors():
        load_encoder(str(encoder))


@fuzz(0.004, quick=15, data=st.data())
def test_damaged_configurations(encoder: Path, data: st.DataObject) -> None:
    (encoder / "config.json").write_bytes(data.draw(damaged(st.just((encoder / "config.good").read_bytes()))))
    with only_user_errors():
        load_encoder(str(encoder))


@fuzz(
    0.02,
    quick=40,
    name=st.sampled_from(TEXTS) | st.text(),
    prefix=st.sampled_from(["random:", "random-tiny:"]),
)
def test_names(name: str, prefix: str) -> None:
    for asked in (prefix + name, f"{prefix}embedded@{name}"):
        with only_user_errors():
            parse_random_name(asked)


@fuzz(
    0.002, quick=10, name=st.sampled_from(["x" * 300, "a/b/c", "a\0b", "", " ", "a b", "~", "a@b", "\ud800"])
)
def test_names_on_the_hub(name: str) -> None:
    with only_user_errors():
        encoder_shape(name)
    with only_user_errors():
        load_encoder(name)
