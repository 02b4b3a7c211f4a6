"""Smaller vocabularies cut the text that they were made for as before, any other text into something."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from metaxcr.encoders.vocabulary import trim_tokenizer, unigram_rows, wordpiece_rows
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
