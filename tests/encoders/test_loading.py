"""Encoders by name: random ones, and published ones: revisions, heads, and what can be wrong with files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    GPT2Config,
    GPT2Model,
)

from metaxcr.encoders.encoder import Text, TokenizedText
from metaxcr.encoders.loading import encoder_shape, find_commit, load_encoder, load_mlm_head, wrap
from metaxcr.encoders.shapes import known_encoder
from metaxcr.encoders.tokens import HubTokenizer
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


@pytest.mark.slow
def test_the_true_size() -> None:
    encoder = load_encoder("random:bert-base-multilingual-cased")
    assert encoder.parameters == 177_853_440
    out = encoder.run(encoder.embed(encoder.tokenize(TEXTS, 64)), 0, encoder.depth, torch.float32)
    assert out.shape[1] == 768
    assert out.isfinite().all()


Forward = Callable[[Any, list[TokenizedText]], Tensor]
PAIRED = [Text("the man lost his keys", "so he called a smith"), Text("water boils when heated")]


def save(family: Any, place: Path) -> Path:
    family.model.save_pretrained(place)
    family.tokenizer.save_pretrained(place)
    return place


@pytest.fixture
def folder(family: Any, tmp_path: Path) -> Path:
    """A model and its tokenizer, saved the usual way."""
    return save(family, tmp_path / "model")


def test_a_folder_gives_the_same_encoder(family: Any, folder: Path, padded_forward: Forward) -> None:
    encoder = load_encoder(str(folder))
    tokenized = encoder.tokenize(PAIRED, 32)
    assert tokenized == family.encoder.tokenize(PAIRED, 32)
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
    model = AutoModel.from_config(AutoConfig.for_model(**known.config)).eval()
    encoder = wrap(name, model, HubTokenizer(bert.tokenizer), prefix="", fingerprint=name)
    assert encoder.parameters == sizes.parameters
    assert (encoder.depth, encoder.width) == (sizes.depth, sizes.width)
    assert encoder.max_positions == (8192 if "BERT-s" in name else 512)
    long = [(5 + 7919 * i) % encoder.vocabulary for i in range(TRUE_SIZES[name])]
    tokenized = [TokenizedText(ids, [0] * len(ids), len(ids)) for ids in (long, long[-2:])]
    ours = encoder.run(encoder.embed(tokenized), 0, encoder.depth, torch.float32)
    assert torch.allclose(ours, padded_forward(model, tokenized), atol=1e-5)


FIRST, SECOND = "a" * 40, "b" * 40


@pytest.fixture
def bert_folder(bert: Any, tmp_path: Path) -> Path:
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
    bert_folder: Path, damage: Callable[[Path], None], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    damage(bert_folder)
    capfd.readouterr()
    with pytest.raises(UserError, match=words) as caught:
        load_encoder(str(bert_folder))
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


def test_a_folder_has_no_commit(bert_folder: Path) -> None:
    assert find_commit(str(bert_folder)) is None
    assert load_encoder(str(bert_folder)).revision is None


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
    tokenized = encoder.tokenize(PAIRED[:1], 32)
    hidden = encoder.run(encoder.embed(tokenized), 0, encoder.depth, torch.float32)
    more = {} if family.without_segments else {"token_type_ids": torch.tensor([tokenized[0].segments])}
    with torch.no_grad():
        expected = model(torch.tensor([tokenized[0].ids]), **more).logits[0]
    assert torch.allclose(head(hidden), expected, atol=1e-4)
    assert expected.std() > 0.1
    assert not any(p.requires_grad for p in head.parameters())


def test_no_head_where_none_was_trained(bert_folder: Path) -> None:
    assert load_mlm_head(str(bert_folder)) is None  # a base model: transformers would draw a random head
    assert load_mlm_head("embedded") is None
    assert load_mlm_head("random-tiny:xlm-roberta-base") is None


def test_an_encoder_saved_with_its_head_loads_like_one_without(bert: Any, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        BertForMaskedLM(bert.model.config).save_pretrained(tmp_path)
    bert.tokenizer.save_pretrained(tmp_path)
    assert load_encoder(str(tmp_path)).depth == 3
