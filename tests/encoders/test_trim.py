"""Trimmed encoders: the same vectors, bit by bit, from fewer rows."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from metaxcr.encoders.base import FrozenEncoder, Text
from metaxcr.encoders.load import load_encoder
from metaxcr.encoders.shapes import shape
from metaxcr.encoders.trim import trim_encoder
from metaxcr.errors import UserError
from metaxcr.tasks.gather import gather

from .test_vocabulary import TOKENIZERS

TEXTS = ["the man lost his keys", "the glass broke", "漢 is unknown", ""]
PAIRS = [Text(TEXTS[0], TEXTS[1]), Text(TEXTS[1], TEXTS[2]), *map(Text, TEXTS)]
MODELS = {
    "bert": ("WordPiece", {"pad_token_id": 0}),
    "distilbert": ("WordPiece", {"pad_token_id": 0}),
    "xlm-roberta": ("Unigram", {"pad_token_id": 1, "type_vocab_size": 1}),
    "deberta-v2": ("Unigram", {"pad_token_id": 1, "relative_attention": True, "pos_att_type": "p2c|c2p"}),
}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


@pytest.fixture(params=list(MODELS))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A random encoder with a real tokenizer; more rows than ids, as some published ones have."""
    kind, settings = MODELS[request.param]
    backend = TOKENIZERS[kind]
    sizes = {"vocab_size": backend.get_vocab_size() + 7, "max_position_embeddings": 64, **settings}
    if request.param == "distilbert":
        sizes |= {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    else:
        sizes |= SIZES
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModel.from_config(AutoConfig.for_model(request.param, **sizes))
    model.save_pretrained(tmp_path / "whole")
    names = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    if kind == "Unigram":
        names = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
    roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **dict(zip(roles, names, strict=True)))
    tokenizer.save_pretrained(tmp_path / "whole")
    return tmp_path / "whole"


def vectors(encoder: FrozenEncoder, texts: list[Text]) -> torch.Tensor:
    return encoder.run(encoder.embed(encoder.tokenize(texts, 60)), 0, encoder.depth, torch.float32)


def test_the_same_vectors_from_fewer_rows(folder: Path, tmp_path: Path) -> None:
    trimmed = trim_encoder(str(folder), TEXTS, tmp_path / "small")
    whole, small = load_encoder(str(folder)), load_encoder(str(tmp_path / "small"))
    assert torch.equal(vectors(small, PAIRS), vectors(whole, PAIRS))
    assert small.vocabulary < whole.vocabulary
    assert trimmed.rows == (whole.vocabulary, small.vocabulary)
    assert trimmed.parameters == (whole.parameters, small.parameters)
    assert trimmed.parameters[0] - trimmed.parameters[1] == 32 * (trimmed.rows[0] - trimmed.rows[1])
    assert trimmed.bytes == sum(file.stat().st_size for file in (tmp_path / "small").iterdir())
    assert small.tokenizer.mask_id is not None
    assert whole.fingerprint != small.fingerprint
    assert vectors(small, [Text("water boils")]).isfinite().all()
    assert small.first_position == whole.first_position


def test_a_trimmed_encoder_can_be_trimmed_again(folder: Path, tmp_path: Path) -> None:
    trim_encoder(str(folder), TEXTS, tmp_path / "small")
    again = trim_encoder(str(tmp_path / "small"), TEXTS, tmp_path / "again")
    assert again.rows[0] == again.rows[1]


def test_where_it_came_from_is_noted(folder: Path, tmp_path: Path) -> None:
    place = folder.rename(folder.with_name("my-e5"))
    trim_encoder(str(place), TEXTS, tmp_path / "small")
    notes = json.loads((tmp_path / "small" / "metaxcr.json").read_text(encoding="utf-8"))
    assert notes == {"trimmed_from": str(place), "revision": None, "prefix": "query: ", "texts": 4}
    assert load_encoder(str(tmp_path / "small")).prefix == "query: "
    assert load_encoder(str(tmp_path / "small"), prefix="").prefix == ""


@pytest.mark.parametrize("what", ["exists", "no text", "random", "notes"])
def test_wrong_use_is_one_clear_line(tmp_path: Path, what: str, bert: Any) -> None:
    if what == "exists":
        with pytest.raises(UserError, match="the folder exists"):
            trim_encoder("embedded", TEXTS, tmp_path)
    elif what == "no text":
        with pytest.raises(UserError, match="no text to keep the vocabulary of"):
            trim_encoder("embedded", [], tmp_path / "new")
    elif what == "random":
        with pytest.raises(UserError, match="'random-tiny:xlm-roberta-base' has no vocabulary to trim"):
            trim_encoder("random-tiny:xlm-roberta-base", TEXTS, tmp_path / "new")
    else:
        (tmp_path / "metaxcr.json").write_text("{}", encoding="utf-8")
        with pytest.raises(UserError, match=r"damaged.*metaxcr\.json"):
            load_encoder(str(tmp_path))


def test_nothing_is_left_behind_when_it_fails(bert: Any, tmp_path: Path) -> None:
    bert.model.save_pretrained(tmp_path / "whole")
    bert.tokenizer.save_pretrained(tmp_path / "whole")
    with pytest.raises(UserError, match="of the kind WordLevel"):
        trim_encoder(str(tmp_path / "whole"), TEXTS, tmp_path / "small")
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


@pytest.mark.slow
def test_the_embedded_encoder(embedded_encoder: FrozenEncoder, tmp_path: Path) -> None:
    texts = ["El vaso cayó al suelo.", "ไม่มีเว้นวรรคในภาษาไทย", "水烧开了。", "<s> 😀 ﬁne", "wasi\u00a0 ukupi"]
    trimmed = trim_encoder("embedded", texts, tmp_path / "small")
    small = load_encoder(str(tmp_path / "small"))
    assert small.prefix == "query: "
    pairs = [*map(Text, texts), Text(texts[0], texts[1])]
    assert torch.equal(vectors(small, pairs), vectors(embedded_encoder, pairs))
    assert trimmed.rows[0] == 250_037
    assert 13_000 < trimmed.rows[1] < 14_000  # nearly all are the pieces of one character
    assert trimmed.parameters[0] - trimmed.parameters[1] == 384 * (trimmed.rows[0] - trimmed.rows[1])
    assert shape(str(tmp_path / "small")).parameters == small.parameters
    mask = small.tokenizer.mask_id
    assert torch.equal(small.word_embeddings[mask], embedded_encoder.word_embeddings[torch.tensor(250_001)])
    again = trim_encoder(str(tmp_path / "small"), texts, tmp_path / "again")
    assert again.rows[0] == again.rows[1]
    (tmp_path / "small" / "unigram.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match=r"the vocabulary is damaged.*unigram\.json"):
        load_encoder(str(tmp_path / "small"))


@pytest.mark.slow
@pytest.mark.real
def test_the_embedded_encoder_for_xcopa(
    embedded_encoder: FrozenEncoder, data_root: Path, tmp_path: Path
) -> None:
    """Sentence vectors of all eleven languages are the same, bit by bit."""
    texts = [text for g in gather(["xcopa"], [], root=data_root) for text in g.texts]
    trimmed = trim_encoder("embedded", texts, tmp_path / "small")
    assert trimmed.rows[1] < 0.15 * trimmed.rows[0]
    small = load_encoder(str(tmp_path / "small"))
    some = [Text(text) for text in texts[::120]]
    assert torch.equal(vectors(small, some), vectors(embedded_encoder, some))
