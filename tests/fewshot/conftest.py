"""Examples that a toy model can learn, and what adapting to them gave."""

import zlib

import pytest
import torch

from metaxcr.adapters.base import Shape
from metaxcr.adapters.stack import AdaptedEncoder
from metaxcr.config_io import load_config
from metaxcr.encoders.base import FrozenEncoder
from metaxcr.fewshot.account import Account, account_of
from metaxcr.fewshot.adapt import Adapted, Start, adapt_to
from metaxcr.fewshot.own import Own
from metaxcr.fewshot.settings import Settings
from metaxcr.scoring.model import ChoiceModel
from metaxcr.tasks.example import Example, Phrased

SETTINGS = Settings(folds=4, repeats=2, steps=100, rate=0.03)
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


def own_of(found: list[Example]) -> Own:
    return Own(found, lambda e: Phrased(e.context, e.choices, "effect"), "sw")


@pytest.fixture(scope="session")
def own() -> Own:
    return own_of(examples())


@pytest.fixture(scope="session")
def start(toy_encoder: FrozenEncoder) -> Start:
    adapted = AdaptedEncoder(toy_encoder, [1, 2], Shape("pfeiffer", 8), torch.Generator().manual_seed(0))
    model = ChoiceModel(adapted, "dual", 0.2, 0.5, torch.float32)
    words = ["encoder.max_tokens=40", "encoder.dtype=float32", "adapters.bottleneck=8"]
    config = load_config("starter", [*words, "adapters.layers=[1, 2]", "finetune.batch=8"])
    return Start(config, model, model.params())


@pytest.fixture(scope="session")
def adapted(own: Own, start: Start) -> Adapted:
    return adapt_to(own, start, SETTINGS)


@pytest.fixture(scope="session")
def account(adapted: Adapted) -> Account:
    return account_of(adapted, SETTINGS)
