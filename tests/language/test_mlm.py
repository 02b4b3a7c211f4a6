"""The masked language model."""

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from metaxcr.adapters.language import LanguageAdapter
from metaxcr.encoders.base import FrozenEncoder, TokenizedText
from metaxcr.language.head import TiedHead
from metaxcr.language.masking import Masked
from metaxcr.language.mlm import MaskedLanguageModel

MASKED = [Masked([1, 3, 9, 2], [1], [4]), Masked([1, 7, 3, 3, 11, 2], [2, 3], [0, 5])]


def build(encoder: FrozenEncoder, layers: list[int], invertible: float | None) -> MaskedLanguageModel:
    generator = torch.Generator().manual_seed(0)
    adapter = LanguageAdapter.create(encoder, generator, layers=layers, invertible_reduction=invertible)
    return MaskedLanguageModel(
        encoder, adapter, TiedHead(encoder.word_embeddings, torch.arange(4, 20)), torch.float32
    )


def randomise(model: MaskedLanguageModel) -> None:
    for n, parameter in enumerate(model.adapter.parameters()):
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(n))


def test_a_fresh_adapter_changes_no_loss(encoder: FrozenEncoder) -> None:
    for layers, invertible in (([0, 1], 2.0), ([1], None)):
        model = build(encoder, layers, invertible)
        batch = model.encode(MASKED)
        bare, adapted = (model.losses({}, batch, with_adapter=w) for w in (False, True))
        assert_close(bare, adapted)
        randomise(model)
        assert not torch.allclose(bare, model.losses({}, batch, with_adapter=True), atol=1e-3)
        assert torch.equal(bare, model.losses({}, batch, with_adapter=False))


def test_it_equals_the_adapters_own_forward_with_the_inverse_before_the_head(encoder: FrozenEncoder) -> None:
    for layers, invertible in (([0, 1], 2.0), ([1], None), ([1], 2.0)):
        model = build(encoder, layers, invertible)
        randomise(model)
        expected = []
        for masked in MASKED:
            text = TokenizedText(masked.ids, [0] * len(masked.ids), len(masked.ids))
            top = model.adapter(encoder, encoder.embed([text]), torch.float32)
            logits = model.head(model.adapter.before_head(top)[masked.places])
            expected.append(F.cross_entropy(logits, torch.tensor(masked.targets), reduction="none"))
        found = model.losses({}, model.encode(MASKED), with_adapter=True)
        assert_close(found, torch.cat(expected), rtol=1e-4, atol=1e-5)


def test_owners_and_the_trunk(encoder: FrozenEncoder) -> None:
    batch = build(encoder, [1], None).encode(MASKED)
    assert batch.owners.tolist() == [0, 1, 1] and batch.places.tolist() == [1, 6, 7]
    start = encoder.embed([TokenizedText(m.ids, [0] * len(m.ids), 0) for m in MASKED])
    assert_close(batch.trunk.hidden, encoder.run(start, 0, 1, torch.float32))
    assert_close(batch.bare, encoder.run(start, 0, 2, torch.float32)[batch.places])
