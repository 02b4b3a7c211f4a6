"""Counts from configurations alone: published sizes, and what the models themselves have."""

from pathlib import Path
from typing import Any

import pytest

from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.encoders.loading import encoder_shape
from metaxcr.encoders.shapes import known_encoder, known_encoders, parse_random_name
from metaxcr.errors import UserError

# Totals as published, or added up by hand from the papers' sizes, pooling layer included where there is one.
TOTALS = {
    "bert-base-multilingual-cased": 177_853_440,
    "bert-base-multilingual-uncased": 167_356_416,
    "xlm-roberta-base": 278_043_648,
    "xlm-roberta-large": 559_890_432,
    "distilbert-base-multilingual-cased": 134_734_080,
    "Multilingual-MiniLM-L12-H384": 117_653_760,
    "mdeberta-v3-base": 278_218_752,
    "mmBERT-base": 306_939_648,
    "mmBERT-small": 140_493_696,
    "ModernBERT-base": 149_014_272,
    "ModernBERT-large": 394_781_696,
    "multilingual-e5-small": 117_653_760,
    "multilingual-e5-base": 278_043_648,
    "multilingual-e5-large": 559_890_432,
    "embedded": 117_505_920,
}


def test_every_shape_is_in_the_table() -> None:
    assert sorted(known_encoders()) == sorted(TOTALS)
    assert known_encoders()[0] == "embedded"


@pytest.mark.parametrize("name", TOTALS)
def test_parameters(name: str) -> None:
    counted = encoder_shape(name)
    assert counted.parameters == TOTALS[name]
    assert counted.vocabulary * counted.width <= counted.embedding_parameters < counted.parameters


def test_layers_by_hand() -> None:
    """One layer of BERT: four matrices width x width, two width x 4 width, with biases, two LayerNorms."""
    one = 4 * (768 * 768 + 768) + 2 * 4 * 768 * 768 + 4 * 768 + 768 + 2 * 2 * 768
    mbert = encoder_shape("bert-base-multilingual-cased")
    assert mbert.embedding_parameters == (119547 + 512 + 2 + 2) * 768
    assert mbert.parameters - mbert.embedding_parameters == 12 * one + 768 * 768 + 768
    assert mbert.embedding_parameters / mbert.parameters == pytest.approx(0.5184, abs=1e-4)


def test_short_name_and_hub_name_are_the_same_encoder() -> None:
    short, long = encoder_shape("xlm-roberta-base"), encoder_shape("FacebookAI/xlm-roberta-base")
    assert (short.parameters, short.depth, short.width) == (long.parameters, long.depth, long.width)
    assert known_encoder("somebody/xlm-roberta-base") is None
    assert known_encoder("XLM-Roberta-Base") is None


def test_random_names() -> None:
    full, tiny = (
        parse_random_name("random:mmBERT-base@7"),
        parse_random_name("random-tiny:microsoft/mdeberta-v3-base"),
    )
    assert full is not None and (full.tiny, full.base.name, full.seed) == (False, "mmBERT-base", 7)
    assert tiny is not None and (tiny.tiny, tiny.base.name, tiny.seed) == (True, "mdeberta-v3-base", 0)
    assert parse_random_name("bert-base-multilingual-cased") is None
    assert encoder_shape("random:mmBERT-base").parameters == TOTALS["mmBERT-base"]
    small = encoder_shape("random-tiny:mmBERT-base")
    assert (small.depth, small.width, small.vocabulary) == (4, 64, 2048)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("random:gpt2", r"no shape of an encoder 'gpt2'.*known are embedded, bert-base"),
        ("random:mmBERT-base@x", r"'x' is no seed.*random:mmBERT-base@1"),
    ],
)
def test_wrong_random_names_are_one_clear_line(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        encoder_shape(name)


def test_a_folder_is_counted_by_its_configuration(family: Any, tmp_path: Path) -> None:
    family.model.config.save_pretrained(tmp_path)  # no weights
    counted = encoder_shape(str(tmp_path))
    assert counted.parameters == family.encoder.parameters
    assert counted.embedding_parameters == family.encoder.embedding_parameters
    assert (counted.depth, counted.width) == (family.encoder.depth, family.encoder.width)


def test_the_embedded_encoder_has_the_shape_that_ships(embedded_encoder: FrozenEncoder) -> None:
    counted = encoder_shape("embedded")
    assert counted.parameters == embedded_encoder.parameters
    assert counted.embedding_parameters == embedded_encoder.embedding_parameters
    assert (counted.depth, counted.width) == (embedded_encoder.depth, embedded_encoder.width)
