"""A tiny random encoder whose tokenizer knows words, and a toy language that can be learned."""

import zlib
from collections.abc import Callable, Sequence

import pytest
import torch
from transformers import BertConfig, BertModel

from metaxcr.encoders.encoder import FrozenEncoder, Text, TokenizedText, WordTokens
from metaxcr.encoders.loading import wrap
from metaxcr.mlm.adapter_training import LanguageTraining
from metaxcr.mlm.corpus import Document
from metaxcr.mlm.train_adapter import Request
from metaxcr.seeding import rng

CLS, SEP, MASK, FIRST, VOCABULARY = 1, 2, 3, 4, 96


class ToyTokenizer:
    """Words at blanks, cut into pieces of three letters."""

    mask_id = MASK

    def words(self, texts: Sequence[Text]) -> list[WordTokens]:
        found = []
        for text in texts:
            ids: list[int] = [CLS]
            words: list[int | None] = [None]
            for n, word in enumerate(text.first.split()):
                for at in range(0, len(word), 3):
                    ids.append(FIRST + zlib.crc32(word[at : at + 3].encode()) % (VOCABULARY - FIRST))
                    words.append(n)
            found.append(WordTokens([*ids, SEP], [*words, None]))
        return found

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        return [TokenizedText(w.ids, [0] * len(w.ids), len(w.ids)) for w in self.words(texts)]


def build_encoder(prefix: str = "", tokenizer: object | None = None) -> FrozenEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
            initializer_range=0.3,
        )
        model = BertModel(config, add_pooling_layer=False)
    return wrap("toy", model, tokenizer or ToyTokenizer(), prefix=prefix, fingerprint="toy")


@pytest.fixture(scope="session")
def encoder() -> FrozenEncoder:
    """Two random layers, 16 wide."""
    return build_encoder()


def toy_lines(count: int, seed: int = 0) -> list[str]:
    """Sentences in which each word decides the next: what is masked can be guessed from its neighbours."""
    names = ["ba", "cedo", "fi", "gohuja", "ke", "limo", "nu", "pyqare"]
    draw = rng(seed, "toy")
    starts = draw.integers(len(names), size=count).tolist()
    return [" ".join(names[(start + k) % len(names)] for k in range(6)) for start in starts]


def settings(**changes: object) -> LanguageTraining:
    small: dict[str, object] = {
        "length": 32, "batch": 4, "head_steps": 20, "steps": 20, "evaluate_every": 5, "rounds": 2,
        "held_out_rounds": 2, "patience": 2, "lr": 0.02, "dtype": "float32",
    }  # fmt: skip
    return LanguageTraining.model_validate({**small, **changes})


@pytest.fixture
def request_of() -> Callable[..., Request]:
    """A request to train on the toy language; every line is different, so that none is dropped."""

    def build(lines: int = 80, **changes: object) -> Request:
        text = [f"{line} w{n}" for n, line in enumerate(toy_lines(lines))]
        docs = [Document("toy.txt", text[i : i + 4]) for i in range(0, lines, 4)]
        source = {"name": "toy.txt", "lines": lines, "licence": "none", "citation": ""}
        return Request("sw", docs, [source], "metaxcr adapters train", settings(**changes))

    return build
