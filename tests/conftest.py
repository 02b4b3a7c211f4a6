"""Fixtures shared by all tests."""

import os
import zlib

# Before torch is imported, as the package does it: waiting threads sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
if "PYTEST_XDIST_WORKER" in os.environ:  # processes side by side share the cores
    os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from tests.server import Server, start
from transformers import BertConfig, BertModel

from metaxcr.adapters.adapted_encoder import AdaptedEncoder
from metaxcr.adapters.layers import AdapterShape
from metaxcr.data.example import Example, Phrased, Relation
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import FrozenEncoder, Text, TokenizedText, truncate
from metaxcr.encoders.loading import wrap
from metaxcr.model.batch import TaskData, encode_task
from metaxcr.model.choice_model import ChoiceModel

torch.set_num_threads(1)  # the toy encoder's matrices are so small that more threads only wait for each other


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with the real data sets; without it a test is skipped, except in CI, where that is a failure."""
    value = os.environ.get("METAXCR_DATA")
    if value and Path(value).is_dir():
        return Path(value)
    message = "no data root: set METAXCR_DATA to a folder with the official files"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _words(texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
    """Split at blanks; a word's id is a checksum of it."""
    tokenized = []
    for text in texts:
        first, second = text.first.split(), (text.second or "").split()
        words = [*first, *(["[SEP]", *second] if second else [])]
        ids = [1, *(2 + zlib.crc32(word.encode()) % 126 for word in words)]
        parts = [None, *([0] * len(first)), *([None, *([1] * len(second))] if second else [])]
        tokenized.append(truncate(text, ids, [0] * len(ids), parts, max_tokens))
    return tokenized


def toy_bert() -> BertModel:
    """Three random layers, 16 wide: the same ones at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=128,
            hidden_size=16,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
            initializer_range=0.3,
        )
        return BertModel(config, add_pooling_layer=False)


@pytest.fixture(scope="session")
def toy_encoder() -> FrozenEncoder:
    """The layers of :func:`toy_bert`, over words split at blanks."""
    return wrap("toy", toy_bert(), _words, prefix="", fingerprint="toy")


@pytest.fixture(scope="session")
def toy_store(toy_encoder: FrozenEncoder, tmp_path_factory: pytest.TempPathFactory) -> ActivationCache:
    """The lowest of the toy encoder's layers is the trunk."""
    return ActivationCache(toy_encoder, 1, torch.float32, tmp_path_factory.mktemp("trunk"), max_tokens=32)


@pytest.fixture
def toy_model(toy_encoder: FrozenEncoder) -> Callable[..., ChoiceModel]:
    """Build a choice model on the toy encoder, adapters in its upper two layers."""

    def build(kind: str = "dual", dtype: torch.dtype = torch.float32, negatives: float = 0.5) -> ChoiceModel:
        adapted = AdaptedEncoder(
            toy_encoder, [1, 2], AdapterShape("pfeiffer", 8), torch.Generator().manual_seed(0)
        )
        return ChoiceModel(adapted, kind, 0.2, negatives, dtype)

    return build


@pytest.fixture
def toy_task(toy_store: ActivationCache) -> Callable[..., TaskData]:
    """Encode a made-up task: the right choice goes with the first word of the context."""

    def build(
        task: str = "toy",
        language: str = "en",
        size: int = 24,
        choices: Sequence[int] = (2,),
        kind: str = "dual",
        relation: Relation = "effect",
    ) -> TaskData:
        examples = []
        for n in range(size):
            many, topic = choices[n % len(choices)], n % 6
            label = (n // 6 + n) % many
            texts = tuple(f"{language} answer{(topic + c - label) % 6} of {task}" for c in range(many))
            context = f"topic{topic} {language} {task} number {n}" + " more" * (n % 3)
            examples.append(Example(f"{task}-{n}", context, relation, texts, label, language, task))

        def phrase(example: Example) -> Phrased:
            return Phrased(example.context, example.choices, relation)

        return encode_task(examples, phrase, toy_store, kind=kind)

    return build


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server on this machine, which is also the hub; nothing else is asked, and nobody waits."""
    served, http = start()
    for name in ("http_proxy", "https_proxy", "all_proxy", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HF_ENDPOINT", served.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr("metaxcr.data.download.PAUSE", 0.01)
    yield served
    http.shutdown()
    http.server_close()
