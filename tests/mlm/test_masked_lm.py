"""Heads: BERT's transform with a tied decoder, and an encoder's own."""

import torch
import torch.nn.functional as F
from tests.mlm.conftest import MASK, VOCABULARY, toy_lines
from torch.testing import assert_close
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertLMPredictionHead

from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.encoders.encoder import FrozenEncoder, TokenizedText
from metaxcr.mlm.corpus import Masked, frame, pack, tokenize_lines
from metaxcr.mlm.masked_lm import EPS, Batches, MaskedLanguageModel, OwnHead, TiedHead

ROWS = torch.tensor([5, 2, 9])


def test_it_computes_what_berts_head_computes_and_its_decoder_is_the_embeddings() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings, hidden = (torch.randn(n, 8, generator=generator) for n in (12, 4))
    ours = TiedHead(embeddings, ROWS)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    config = BertConfig(vocab_size=12, hidden_size=8, num_attention_heads=2, layer_norm_eps=EPS)
    theirs = BertLMPredictionHead(config)
    theirs.transform.dense.load_state_dict(ours.dense.state_dict())
    theirs.transform.LayerNorm.load_state_dict(ours.norm.state_dict())
    bias = torch.zeros(12).index_copy(0, ROWS, ours.bias.detach())
    theirs.decoder.weight.data, theirs.bias.data, theirs.decoder.bias.data = embeddings, bias, bias
    assert_close(ours(hidden), theirs(hidden)[:, ROWS], rtol=1e-5, atol=1e-5)


def test_the_decoder_is_not_trained() -> None:
    head = TiedHead(torch.randn(12, 8), ROWS)
    trained = {name for name, p in head.named_parameters() if p.requires_grad}
    assert trained == {"dense.weight", "dense.bias", "norm.weight", "norm.bias", "bias"}
    head(torch.randn(2, 8)).sum().backward()
    assert head.decoder.grad is None and head(torch.randn(2, 8, dtype=torch.bfloat16)).dtype == torch.float32


def test_an_own_head_is_frozen_and_cut_to_the_rows() -> None:
    linear = torch.nn.Linear(8, 12)
    head, hidden = OwnHead(linear, ROWS), torch.randn(2, 8)
    assert_close(head(hidden), linear(hidden)[:, ROWS])
    assert not any(p.requires_grad for p in head.parameters())


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
            embedded, lengths = encoder.embed([text])
            context = encoder.context(lengths)
            top = model.adapter.trunk(encoder, embedded, context, torch.float32, encoder.depth)
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


def batches(encoder: FrozenEncoder, **changes: int) -> Batches:
    sequences = pack(tokenize_lines(encoder, toy_lines(30), whole_words=True), frame(encoder), 32)
    model = build(encoder, [1], None)
    wanted = {"seed": 0, "size": 4, "rounds": 2, "limit_bytes": 10**9, **changes}
    rows = list(range(4, VOCABULARY))
    return Batches(model, sequences, "train", mask_id=MASK, rows=rows, **wanted)


def test_every_pass_has_every_batch_once_in_an_order_and_a_masking_of_its_own(encoder: FrozenEncoder) -> None:
    some = batches(encoder)
    n = len(some)
    assert n > 2
    passes = [[some.at(number * n + k) for k in range(n)] for number in range(3)]
    places = [{tuple(b.places.tolist()) for b in one} for one in passes]
    assert all(len(one) == n for one in places)
    assert places[0] == places[2] != places[1]  # two maskings in turn
    order = [[tuple(b.places.tolist()) for b in one] for one in passes]
    assert order[0] != order[2]


def test_what_is_kept_changes_nothing(encoder: FrozenEncoder) -> None:
    keeping, forgetting = batches(encoder), batches(encoder, limit_bytes=1)
    for step in (5, 0, 5, 1, 0):
        one, other = keeping.at(step), forgetting.at(step)
        assert torch.equal(one.trunk.hidden, other.trunk.hidden) and torch.equal(one.bare, other.bare)
    assert keeping.at(5) is keeping.at(5)


def test_owners_count_through_all_sequences(encoder: FrozenEncoder) -> None:
    some = batches(encoder)
    everything = torch.cat([b.owners for b in some.all()])
    owners = some.owners()
    assert len(owners) == len(everything) and set(owners.tolist()) == set(range(some.size))
    assert owners[: len(some.get(0, 0).owners)].tolist() == some.get(0, 0).owners.tolist()
