"""Smaller vocabularies cut the text that they were made for as before, any other text into something."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from metaxcr.data.phrasing import phrase
from metaxcr.data.registry import load, task_spec
from metaxcr.encoders.encoder import FrozenEncoder, Text
from metaxcr.encoders.loading import encoder_shape, load_encoder
from metaxcr.encoders.prune_vocab import (
    collect_texts,
    trim_encoder,
    trim_tokenizer,
    unigram_rows,
    wordpiece_rows,
)
from metaxcr.errors import UserError

CORPUS = [
    "the man lost his keys so he called a locksmith",
    "water boils when it is heated for a long time",
    "the glass fell off the table and it broke into pieces",
    "she walked along the long road to the market",
    "el vaso cayó al suelo y se rompió en pedazos",
] * 4


def wordpiece() -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    fast = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    fast.normalizer = normalizers.BertNormalizer(lowercase=False)
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    fast.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    fast.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return fast


def unigram() -> Tokenizer:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    fast = Tokenizer(models.Unigram())
    fast.normalizer = normalizers.NFKC()
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    fast.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=160, special_tokens=special, unk_token="<unk>")
    fast.train_from_iterator(CORPUS, trainer)
    fast.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return fast


KINDS: dict[str, Callable[[], Tokenizer]] = {"WordPiece": wordpiece, "Unigram": unigram}
TOKENIZERS = {name: make() for name, make in KINDS.items()}
words = st.sampled_from(" ".join(CORPUS).split())
strange = st.text("abkzéñß漢 ##▁[]<s>.", max_size=8)
texts = st.lists(st.lists(words | strange, max_size=8).map(" ".join), min_size=1, max_size=5)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(kept_for=texts, other=st.text(max_size=30))
def test_pieces_stay_the_same(kind: str, kept_for: list[str], other: str) -> None:
    fast = TOKENIZERS[kind]
    small, kept = trim_tokenizer(fast, kept_for, "x")
    for text in kept_for:
        for pair in (None, kept_for[0]):
            before, after = fast.encode(text, pair), small.encode(text, pair)
            assert [kept[i] for i in after.ids] == before.ids
            assert (after.tokens, after.type_ids) == (before.tokens, before.type_ids)
    assert small.get_vocab_size() == len(kept)
    assert all(0 <= i < len(kept) for i in small.encode(other).ids)


@pytest.mark.parametrize("kind", KINDS)
def test_other_text_falls_back_to_characters_and_words_go(kind: str) -> None:
    fast = TOKENIZERS[kind]
    small, kept = trim_tokenizer(fast, ["the man"], "x")
    assert len(kept) < fast.get_vocab_size()
    unknown = "[UNK]" if kind == "WordPiece" else "<unk>"
    after = small.encode("water boils").tokens
    assert unknown not in after
    assert len(after) > len(fast.encode("water boils").tokens)
    assert small.encode("water boils").ids == small.encode(" water boils").ids


def test_a_word_that_gets_stuck_keeps_its_way_there() -> None:
    """Without "abc", the word abcx would be cut into ab ##c ##x, where it was unknown before."""
    vocabulary = {"[UNK]": 0, "ab": 1, "##c": 2, "##x": 3, "abc": 4, "a": 5}
    del vocabulary["##x"]
    model = {"vocab": {**vocabulary, "##cx": 3}, "continuing_subword_prefix": "##", "unk_token": "[UNK]"}
    assert wordpiece_rows(model, [0], ["abcx"]) >= {4}  # abc, then x has nothing
    assert 1 not in wordpiece_rows(model, [0], ["abcx"])


def test_the_lowest_score_stays_because_unknown_characters_are_scored_by_it() -> None:
    pieces = [("<unk>", 0.0), ("ab", -1.0), ("zz", -30.0), ("longer", -2.0), ("c", -3.0), ("<0x0A>", -4.0)]
    assert unigram_rows(pieces, [1], 0) == {0, 1, 2, 4, 5}


def test_special_tokens_behind_the_vocabulary_close_up() -> None:
    """As mDeBERTa's [MASK], whose id lies beyond the model's pieces."""
    fast = unigram()
    fast.add_special_tokens(["[EXTRA]"])
    extra = fast.token_to_id("[EXTRA]")
    assert extra == fast.get_vocab_size(with_added_tokens=False)
    small, kept = trim_tokenizer(fast, ["the man"], "x")
    assert small.token_to_id("[EXTRA]") == len(kept) - 1
    assert kept[-1] == extra


def test_bytes_stay_where_there_are_any() -> None:
    pieces = [("<unk>", 0.0), *((f"<0x{n:02X}>", -9.0) for n in range(256)), ("the", -1.0)]
    fast = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    small, kept = trim_tokenizer(fast, ["the"], "x")
    assert len(kept) == 258
    assert small.encode("é").tokens == ["<0xC3>", "<0xA9>"]


def test_other_kinds_are_refused() -> None:
    fast = Tokenizer(models.BPE({"a": 0}, []))
    with pytest.raises(UserError, match=r"'mmBERT' cannot be trimmed: its tokenizer is of the kind BPE"):
        trim_tokenizer(fast, ["a"], "mmBERT")


def test_the_former_tokenizer_is_left_alone() -> None:
    before = json.loads(TOKENIZERS["Unigram"].to_str())
    trim_tokenizer(TOKENIZERS["Unigram"], ["the man"], "x")
    assert json.loads(TOKENIZERS["Unigram"].to_str()) == before


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
    assert encoder_shape(str(tmp_path / "small")).parameters == small.parameters
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
    texts = [text for g in collect_texts(["xcopa"], [], root=data_root) for text in g.texts]
    trimmed = trim_encoder("embedded", texts, tmp_path / "small")
    assert trimmed.rows[1] < 0.15 * trimmed.rows[0]
    small = load_encoder(str(tmp_path / "small"))
    some = [Text(text) for text in texts[::120]]
    assert torch.equal(vectors(small, some), vectors(embedded_encoder, some))


def test_all_splits_of_a_task_as_the_encoder_reads_them() -> None:
    found = collect_texts(["starter_target"], ["sw"])
    assert {g.place for g in found} == {
        f"starter_target {split} sw" for split in task_spec("starter_target").splits
    }
    spec, example = task_spec("starter_target"), load("starter_target", "test", language="sw").examples[0]
    phrased = phrase(example, spec)
    texts = {text for g in found for text in g.texts}
    assert {phrased.context, *phrased.choices} <= texts
    assert "" not in texts


def test_all_languages_of_a_task_unless_some_are_named() -> None:
    every = {g.place.split()[-1] for g in collect_texts(["starter_target"], [])}
    assert every == set(task_spec("starter_target").languages)
    assert {g.place.split()[-1] for g in collect_texts(["starter_target"], ["sw", "et"])} == {"sw", "et"}


def test_everything_that_is_there_in_a_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    (tmp_path / "flores200" / "dev").mkdir(parents=True)
    (tmp_path / "flores200" / "dev" / "est_Latn.dev").write_text("esimene\n\nkolmas\n", encoding="utf-8")
    found = {g.place: g.texts for g in collect_texts([], ["et"], root=tmp_path)}
    assert any(place.startswith("starter_target") for place in found)
    assert found["flores200 dev et"] == ["esimene", "kolmas"]
    assert {place.split()[-1] for place in found} == {"et"}


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("one\n \ntwo\n", encoding="utf-8")
    assert [g.texts for g in collect_texts([], [], [file])] == [["one", "two"]]
    with pytest.raises(UserError, match=r"no such file.*missing\.txt"):
        collect_texts([], [], [tmp_path / "missing.txt"])


@pytest.mark.parametrize(
    ("tasks", "languages", "words"),
    [
        (["starter_target"], ["ka"], "no text of 'ka'"),
        ([], ["xx"], "no text of 'xx'"),
        (["no_such_task"], [], "no_such_task"),
    ],
)
def test_what_is_not_there_is_one_clear_line(tasks: list[str], languages: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        collect_texts(tasks, languages)


@pytest.mark.real
def test_corpora_count(data_root: Path) -> None:
    places = {g.place for g in collect_texts([], ["qu"], root=data_root)}
    assert {"flores200 dev qu", "flores200 devtest qu", "udhr all qu", "xcopa test qu"} <= places
