"""Sentence vectors layer by layer, with and without the adapters of a stack."""

import pytest
import torch
from torch.testing import assert_close

from metaxcr.adapters.base import Shape
from metaxcr.adapters.language import LanguageAdapter
from metaxcr.adapters.stack import AdaptedEncoder
from metaxcr.encoders.base import FrozenEncoder, Text
from metaxcr.evaluation import representations
from metaxcr.evaluation.representations import layer_vectors, unit
from metaxcr.scoring.model import mean_pool

SENTENCES = ["one two three four five six", "seven", "eight nine ten", "one eight"]


def stack(encoder: FrozenEncoder) -> tuple[LanguageAdapter, AdaptedEncoder]:
    language = LanguageAdapter.create(encoder, torch.Generator().manual_seed(0), layers=[1, 2])
    adapted = AdaptedEncoder(
        encoder, [2], Shape("pfeiffer", 4), torch.Generator().manual_seed(0), {"sw": language}
    )
    for n, parameter in enumerate([*language.parameters(), *adapted.task.parameters()]):
        torch.nn.init.normal_(parameter, std=0.4, generator=torch.Generator().manual_seed(n))
    return language, adapted


def test_without_adapters_it_is_the_encoder_in_the_order_given(toy_encoder: FrozenEncoder) -> None:
    found = layer_vectors(toy_encoder, SENTENCES, dtype=torch.float32)
    assert found.shape == (1, 4, 4, 16)
    embedded = toy_encoder.embed(toy_encoder.tokenize([Text(s) for s in SENTENCES], 64))
    for stop in range(4):
        hidden = toy_encoder.run(embedded, 0, stop, torch.float32)
        assert_close(found[0, stop], mean_pool(hidden, embedded.lengths))


def test_levels_of_a_stack(toy_encoder: FrozenEncoder) -> None:
    language, adapted = stack(toy_encoder)
    levels = [language.at, lambda i: {2: adapted.task["2"]}.get(i)]  # type: ignore
    seen: list[int] = []
    found = layer_vectors(
        toy_encoder,
        SENTENCES,
        levels,
        invertible=language.invertible,
        dtype=torch.float32,
        progress=lambda done, total: seen.append(done),
    )
    embedded = toy_encoder.embed(toy_encoder.tokenize([Text(s) for s in SENTENCES], 64))
    # the whole stack after the last layer
    trunk = representations.Ragged(language(toy_encoder, embedded, torch.float32, 2), embedded.lengths)
    assert_close(found[2, 3], mean_pool(adapted(trunk, torch.float32, "sw"), embedded.lengths))
    # layer 2 has the language adapter alone: its output is what layer 3 gets
    assert_close(found[1, 2], mean_pool(trunk.hidden, embedded.lengths))
    assert_close(found[1, 2], found[2, 2])
    assert not torch.allclose(found[0, 2], found[1, 2], atol=1e-3)
    assert not torch.allclose(found[1, 3], found[2, 3], atol=1e-3)
    # layer 1 has no adapter, and the embeddings differ by the invertible part
    assert_close(found[0, 1], found[2, 1])
    assert not torch.allclose(found[0, 0], found[1, 0], atol=1e-3)
    assert seen == [4]


def test_batches_are_put_back_in_order(toy_encoder: FrozenEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = layer_vectors(toy_encoder, SENTENCES, dtype=torch.float32)
    monkeypatch.setattr(representations, "FORWARD_TOKENS", 3)
    assert_close(layer_vectors(toy_encoder, SENTENCES, dtype=torch.float32), whole)


def test_unit() -> None:
    assert_close(unit(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 0.8]]))
