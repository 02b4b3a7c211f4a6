"""Encoders with random weights: whole, repeatable, and known by their name."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoModel,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    GPT2Config,
    GPT2Model,
)

from metaxcr.encoders.encoder import Text, TokenizedText, WordTokenizer
from metaxcr.encoders.loading import HashTokenizer, HubTokenizer, load_encoder, wrap
from metaxcr.encoders.shapes import build_config, encoder_shape, known_encoder
from metaxcr.errors import UserError

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
    assert one.parameters == encoder_shape(one.name).parameters


def test_segments_only_where_the_family_has_them() -> None:
    (bert,) = load_encoder(f"random-tiny:{TINY[0]}").tokenize(TEXTS[:1], 64)
    (xlmr,) = load_encoder(f"random-tiny:{TINY[1]}").tokenize(TEXTS[:1], 64)
    assert (set(bert.segments), set(xlmr.segments)) == ({0, 1}, {0})
    assert bert.ids == xlmr.ids


def test_pieces() -> None:
    tokenizer = HashTokenizer(2048, True)
    whole = tokenizer([Text("Wednesday, sun", "sun")], 64)[0]
    assert whole.segments == [*[0] * 7, 1, 1]  # [CLS] Wedn esda y , sun [SEP] sun [SEP]
    assert whole.ids[5] == whole.ids[7]
    assert all(8 <= whole.ids[i] < 2048 for i in (1, 2, 3, 4, 5, 7))
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


Forward = Callable[[Any, list[TokenizedText]], Tensor]
TEXTS_load = [Text("the man lost his keys", "so he called a smith"), Text("water boils when heated")]


@pytest.fixture
def folder(family: Any, tmp_path: Path) -> Path:
    """A model and its tokenizer, saved the usual way."""
    family.model.save_pretrained(tmp_path / "model")
    family.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_folder_gives_the_same_encoder(family: Any, folder: Path, padded_forward: Forward) -> None:
    encoder = load_encoder(str(folder))
    tokenized = encoder.tokenize(TEXTS_load, 32)
    assert tokenized == family.encoder.tokenize(TEXTS_load, 32)
    ours = encoder.run(encoder.embed(tokenized), 0, encoder.depth, torch.float32)
    assert torch.allclose(ours, padded_forward(family.model, tokenized), atol=1e-5)
    assert encoder.prefix == ""


def test_the_fingerprint_is_of_the_content(family: Any, folder: Path, tmp_path: Path) -> None:
    first = load_encoder(str(folder)).fingerprint
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert load_encoder(str(tmp_path / "elsewhere")).fingerprint == first
    weights = load_file(tmp_path / "elsewhere" / "model.safetensors")
    weights[sorted(weights)[len(weights) // 2]].view(-1)[3] += 1e-3
    save_file(weights, tmp_path / "elsewhere" / "model.safetensors", {"format": "pt"})
    assert load_encoder(str(tmp_path / "elsewhere")).fingerprint != first


def test_another_tokenizer_is_another_fingerprint(bert: Any, tmp_path: Path) -> None:
    prints = []
    for swapped in (False, True):
        place = tmp_path / str(swapped)
        bert.model.save_pretrained(place)
        bert.tokenizer.save_pretrained(place)
        if swapped:
            tokenizer = (place / "tokenizer.json").read_text(encoding="utf-8")
            assert '"water"' in tokenizer
            (place / "tokenizer.json").write_text(tokenizer.replace('"water"', '"fire"'), encoding="utf-8")
        prints.append(load_encoder(str(place)).fingerprint)
    assert prints[0] != prints[1]


def test_a_checkpoint_without_pooling_has_a_stable_fingerprint(bert: Any, tmp_path: Path) -> None:
    """As XLM-R's on the hub: transformers draws the pooling layer anew at every load."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        BertForMaskedLM(bert.model.config).save_pretrained(tmp_path)
    bert.tokenizer.save_pretrained(tmp_path)
    assert load_encoder(str(tmp_path)).fingerprint == load_encoder(str(tmp_path)).fingerprint


def test_other_families_are_refused_by_name(bert: Any, tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=30, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    model = GPT2Model(config)
    with pytest.raises(UserError, match=r"family 'gpt2'.*bert, camembert, .*xlm-roberta; docs/encoders\.md"):
        wrap("x", model, HubTokenizer(bert.tokenizer), prefix="", fingerprint="")
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()  # refused before any weight is looked at
    with pytest.raises(UserError, match="family 'gpt2'"):
        load_encoder(str(tmp_path))


def test_relative_positions_are_refused(bert: Any) -> None:
    config = BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    config.position_embedding_type = "relative_key"
    with pytest.raises(UserError, match="absolute positions"):
        wrap("x", BertModel(config), HubTokenizer(bert.tokenizer), prefix="", fingerprint="")


@pytest.mark.parametrize(
    ("name", "prefix", "expected"),
    [("my-e5-model", None, "query: "), ("plain", None, ""), ("my-e5-model", "", ""), ("plain", "x: ", "x: ")],
)
def test_prefix_of_the_e5_family(
    bert: Any, tmp_path: Path, name: str, prefix: str | None, expected: str
) -> None:
    bert.model.save_pretrained(tmp_path / name)
    bert.tokenizer.save_pretrained(tmp_path / name)
    assert load_encoder(str(tmp_path / name), prefix=prefix).prefix == expected


def test_hub_tokenizer_keeps_the_order_of_mixed_texts(family: Any) -> None:
    tokenizer = HubTokenizer(family.tokenizer)
    mixed = [Text("water"), Text("water", "boils"), Text("late"), Text("late", "dark")]
    alone = [tokenizer([text], 32)[0] for text in mixed]
    assert tokenizer(mixed, 32) == alone
    assert len({tuple(t.ids) for t in alone}) == 4


def test_hub_tokenizer_never_exceeds_the_limit(family: Any) -> None:
    tokenizer = HubTokenizer(family.tokenizer)
    long = "water " * 50
    for text in (Text(long), Text(long, "boils"), Text("boils", long, cuttable=1)):
        cut = tokenizer([text], 16)[0]
        assert len(cut.ids) == len(cut.segments) == 16
        assert cut.full_length > 50
        assert cut.ids[-1] == tokenizer([Text("a")], 16)[0].ids[-1]  # the closing token stays


# Of each kind of layer one; those without positions in the embeddings beyond their window and their buckets.
TRUE_SIZES = {
    "bert-base-multilingual-cased": 3,
    "xlm-roberta-base": 3,
    "mdeberta-v3-base": 150,
    "mmBERT-small": 150,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUE_SIZES)
def test_true_size_random_weights(name: str, bert: Any, padded_forward: Forward) -> None:
    sizes, known = encoder_shape(name), known_encoder(name)
    assert known is not None
    model = AutoModel.from_config(build_config(known.config)).eval()
    encoder = wrap(name, model, HubTokenizer(bert.tokenizer), prefix="", fingerprint=name)
    assert encoder.parameters == sizes.parameters
    assert (encoder.depth, encoder.width) == (sizes.depth, sizes.width)
    assert encoder.max_positions == (8192 if "BERT-s" in name else 512)
    long = [(5 + 7919 * i) % encoder.vocabulary for i in range(TRUE_SIZES[name])]
    tokenized = [TokenizedText(ids, [0] * len(ids), len(ids)) for ids in (long, long[-2:])]
    ours = encoder.run(encoder.embed(tokenized), 0, encoder.depth, torch.float32)
    assert torch.allclose(ours, padded_forward(model, tokenized), atol=1e-5)


def test_words_and_the_mask_token(family: Any) -> None:
    tokenizer = family.encoder.tokenizer
    assert isinstance(tokenizer, WordTokenizer)
    text = Text("the man lost his keys")
    worded = tokenizer.words([text])[0]
    assert worded.ids == tokenizer([text], 40)[0].ids
    own = [word for word in worded.words if word is not None]
    assert own == list(range(5)) and worded.words[0] is None and worded.words[-1] is None
    assert tokenizer.mask_id == family.tokenizer.mask_token_id
