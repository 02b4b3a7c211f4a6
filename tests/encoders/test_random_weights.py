"""Encoders with random weights: whole, repeatable, and known by their name."""

import pytest
import torch

from metaxcr.encoders.base import Text, WholeTokenizer, WordTokenizer
from metaxcr.encoders.load import load_encoder
from metaxcr.encoders.random_weights import HashTokenizer
from metaxcr.encoders.shapes import shape

TEXTS = [Text("El vaso cayó al suelo.", "Se rompió."), Text("ไม่มีเว้นวรรคในภาษาไทย"), Text("")]
TINY = ["bert-base-multilingual-cased", "xlm-roberta-base"]


@pytest.mark.parametrize("base", TINY)
def test_the_same_name_is_the_same_encoder(base: str) -> None:
    state = torch.random.get_rng_state()
    one, two = load_encoder(f"random-tiny:{base}"), load_encoder(f"random-tiny:{base}@0")
    assert torch.equal(torch.random.get_rng_state(), state)
    other = load_encoder(f"random-tiny:{base}@1")
    out = [e.run(e.embed(e.tokenize(TEXTS, 64)), 0, e.depth, torch.float32) for e in (one, two, other)]
    assert torch.equal(out[0], out[1])
    assert not torch.allclose(out[0], out[2], atol=0.1)
    assert one.fingerprint == two.fingerprint != other.fingerprint
    assert one.name == f"random-tiny:{base}"
    assert one.parameters == shape(one.name).parameters


def test_segments_only_where_the_family_has_them() -> None:
    (bert,) = load_encoder(f"random-tiny:{TINY[0]}").tokenize(TEXTS[:1], 64)
    (xlmr,) = load_encoder(f"random-tiny:{TINY[1]}").tokenize(TEXTS[:1], 64)
    assert (set(bert.segments), set(xlmr.segments)) == ({0, 1}, {0})
    assert bert.ids == xlmr.ids


def test_pieces() -> None:
    tokenizer = HashTokenizer(2048, True)
    assert isinstance(tokenizer, WholeTokenizer)
    whole = tokenizer.whole([Text("Wednesday, sun", "sun")])[0]
    assert whole.parts == [None, *[0] * 5, None, 1, None]  # Wedn esda y , sun
    assert whole.ids[5] == whole.ids[7]
    assert all(8 <= i < 2048 for i, part in zip(whole.ids, whole.parts, strict=True) if part is not None)
    assert isinstance(tokenizer, WordTokenizer)
    worded = tokenizer.words([Text("Wednesday, sun")])[0]
    assert worded.ids == whole.ids[:7]
    assert worded.words == [None, 0, 0, 0, 1, 2, None]
    assert len(tokenizer([Text("word " * 90, "kept")], 32)[0].ids) == 32


@pytest.mark.slow
def test_the_true_size() -> None:
    encoder = load_encoder("random:bert-base-multilingual-cased")
    assert encoder.parameters == 177_853_440
    out = encoder.run(encoder.embed(encoder.tokenize(TEXTS, 64)), 0, encoder.depth, torch.float32)
    assert out.shape[1] == 768
    assert out.isfinite().all()
