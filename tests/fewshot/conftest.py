"""Examples that a toy model can learn, and what adapting to them gave."""

import zlib

import pytest
import torch

from metaxcr.adapters.adapted_encoder import AdaptedEncoder
from metaxcr.adapters.layers import AdapterShape
from metaxcr.config.io import load_config
from metaxcr.data.example import Example, Phrased
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.fewshot.adaptation import AdaptedModel, Settings, Start, adapt_to
from metaxcr.fewshot.summary import Summary, adaptation_summary
from metaxcr.fewshot.user_examples import UserExamples
from metaxcr.model.choice_model import ChoiceModel

SETTINGS = Settings(folds=4, repeats=2, steps=100, lr=0.03)
WORDS = ("apple", "brick", "cloud", "dress", "eagle", "flame")


def examples(size: int = 36, flip: bool = False) -> list[Example]:
    """The right choice goes with the context's topic, whatever else is said."""
    found = []
    for n in range(size):
        topic, label = n % 6, (n // 6 + n) % 2
        right, wrong = WORDS[topic], WORDS[(topic + 1 + n // 12) % 6]
        choices = (wrong, right) if label else (right, wrong)
        context = " ".join([*_filler(n), *[WORDS[topic]] * 3])
        found.append(Example(f"q{n}", context, "effect", choices, 1 - label if flip else label, "sw", "own"))
    return found


def _filler(n: int) -> list[str]:
    """A few words that no other example has, so that none is taken for a duplicate."""
    return [hex(zlib.crc32(f"{n} {part}".encode()))[2:] for part in range(1)]


def own_of(found: list[Example]) -> UserExamples:
    return UserExamples(found, lambda e: Phrased(e.context, e.choices, "effect"), "sw")


@pytest.fixture(scope="session")
def own() -> UserExamples:
    return own_of(examples())


@pytest.fixture(scope="session")
def start(toy_encoder: FrozenEncoder) -> Start:
    adapted = AdaptedEncoder(
        toy_encoder, [1, 2], AdapterShape("pfeiffer", 8), torch.Generator().manual_seed(0)
    )
    model = ChoiceModel(adapted, "dual", 0.2, 0.5, torch.float32)
    words = ["encoder.max_tokens=40", "encoder.dtype=float32", "adapters.bottleneck=8"]
    config = load_config("starter", [*words, "adapters.layers=[1, 2]", "finetune.batch=8"])
    return Start(config, model, model.params())


@pytest.fixture(scope="session")
def adapted(own: UserExamples, start: Start) -> AdaptedModel:
    return adapt_to(own, start, SETTINGS)


@pytest.fixture(scope="session")
def summary(adapted: AdaptedModel) -> Summary:
    return adaptation_summary(adapted, SETTINGS)
