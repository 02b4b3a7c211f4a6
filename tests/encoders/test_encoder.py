"""The encoder entered and left between layers equals the model's own forward pass."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from metaxcr.encoders.encoder import FrozenEncoder, Ragged, Text, TokenizedText, truncate
from metaxcr.encoders.layer import NO_ADAPTER
from metaxcr.errors import UserError

Forward = Callable[[Any, list[TokenizedText]], Tensor]

TEXTS = [
    Text("the man lost his keys so he called a smith"),
    Text("water boils"),
    Text("it was late", "and dark so the man called"),
    Text("his keys", "the water boils when heated"),
    Text("a"),
]


def test_layers_equal_the_models_own_forward(family: Any, padded_forward: Forward) -> None:
    encoder = family.encoder
    tokenized = encoder.tokenize(TEXTS, 32)
    assert len({len(t.ids) for t in tokenized}) > 2  # ragged, so padding matters
    expected = padded_forward(family.model, tokenized)
    ours = encoder.run(encoder.embed(tokenized), 0, encoder.depth, torch.float32)
    assert torch.allclose(ours, expected, atol=1e-5)


def test_leaving_and_entering_between_any_two_layers(family: Any) -> None:
    encoder = family.encoder
    start = encoder.embed(encoder.tokenize(TEXTS, 32))
    whole = encoder.run(start, 0, 3, torch.float32)
    for split in range(4):
        trunk = Ragged(encoder.run(start, 0, split, torch.float32), start.lengths)
        assert torch.equal(encoder.run(trunk, split, 3, torch.float32), whole)


def test_hidden_states_after_every_layer(family: Any) -> None:
    encoder = family.encoder
    tokenized = encoder.tokenize(TEXTS[2:3], 32)
    with torch.no_grad():
        segments = (
            {} if family.without_segments else {"token_type_ids": torch.tensor([tokenized[0].segments])}
        )
        states = family.model(
            torch.tensor([tokenized[0].ids]), output_hidden_states=True, **segments
        ).hidden_states
    ragged = encoder.embed(tokenized)
    for layer in range(3):  # after the top layer some families have one more LayerNorm
        assert torch.allclose(encoder.run(ragged, 0, layer, torch.float32), states[layer][0], atol=1e-5)


def test_segments_of_a_pair_matter_for_bert(bert: Any) -> None:
    pair = bert.encoder.tokenize([TEXTS[2]], 32)
    assert set(pair[0].segments) == {0, 1}
    flat = [TokenizedText(pair[0].ids, [0] * len(pair[0].ids), len(pair[0].ids))]
    assert not torch.allclose(bert.encoder.embed(pair).hidden, bert.encoder.embed(flat).hidden, atol=1e-2)


def test_word_embeddings_are_the_rows_of_the_vocabulary(family: Any) -> None:
    encoder = family.encoder
    assert encoder.word_embeddings.shape == (encoder.vocabulary, encoder.width) == (5 + 19, 32)
    assert torch.equal(encoder.word_embeddings, family.model.get_input_embeddings().weight)
    assert not encoder.word_embeddings.requires_grad


def test_positions_start_after_the_padding_index(family: Any) -> None:
    roberta = "roberta" in family.model.config.model_type
    assert family.encoder.first_position == (2 if roberta else 0)
    assert family.encoder.max_positions == 40


def test_the_longest_allowed_text_fits_and_a_longer_limit_is_refused(
    family: Any, padded_forward: Forward
) -> None:
    encoder = family.encoder
    tokenized = encoder.tokenize([Text("keys " * 100)], 40)
    assert len(tokenized[0].ids) == 40
    ours = encoder.run(encoder.embed(tokenized), 0, 3, torch.float32)
    assert torch.allclose(ours, padded_forward(family.model, tokenized), atol=1e-5)
    with pytest.raises(UserError, match=r"max_tokens 41 .* 40 positions .*encoder\.max_tokens"):
        encoder.tokenize([Text("keys")], 41)


def test_neighbours_in_the_batch_do_not_matter(family: Any) -> None:
    encoder = family.encoder
    together = encoder.embed(encoder.tokenize(TEXTS, 32))
    rows = torch.split(encoder.run(together, 0, 3, torch.float32), together.lengths.tolist())
    for text, row in zip(TEXTS, rows, strict=True):
        alone = encoder.embed(encoder.tokenize([text], 32))
        assert torch.allclose(encoder.run(alone, 0, 3, torch.float32), row, atol=1e-5)


def test_context_places_tokens_in_the_padded_grid(toy_encoder: FrozenEncoder) -> None:
    context = toy_encoder.context(torch.tensor([2, 3, 1]))
    assert context.cells.tolist() == [0, 1, 3, 4, 5, 6]
    assert (context.texts, context.longest) == (3, 3)
    assert context.mask is not None
    assert context.mask[:, 0, 0].tolist() == [[True, True, False], [True] * 3, [True, False, False]]
    assert toy_encoder.context(torch.tensor([2, 2])).mask is None


def test_rounded_shapes_only_add_filler(toy_encoder: FrozenEncoder) -> None:
    lengths = torch.tensor([2, 9, 1])
    context = toy_encoder.context(lengths, rounded=True)
    assert (context.texts, context.longest) == (8, 16)
    assert context.cells[:12].tolist() == [0, 1, *range(16, 25), 32]
    assert context.cells[12:].tolist() == [8 * 16] * 116
    assert context.mask is not None
    assert context.mask[:3, 0, 0].sum(1).tolist() == [2, 9, 1]


def test_what_stands_in_the_filler_reaches_no_text(bert: Any) -> None:
    encoder = bert.encoder
    ragged = encoder.embed(encoder.tokenize(TEXTS, 32))
    hidden, context = encoder.enter(ragged, torch.float32)
    tokens = len(ragged.hidden)
    assert len(hidden) == 128
    assert torch.equal(hidden[:tokens], ragged.hidden)
    spoilt = hidden.clone()
    spoilt[tokens:] = torch.randn(128 - tokens, 32) * 1e3
    layer = encoder.layer(0, torch.float32)
    out, exact = layer(spoilt, context, NO_ADAPTER), encoder.context(ragged.lengths)
    assert torch.equal(out[:tokens], layer(hidden, context, NO_ADAPTER)[:tokens])
    assert torch.allclose(out[:tokens], layer(ragged.hidden, exact, NO_ADAPTER), atol=1e-5)


def test_the_prefix_stands_before_the_first_part_only(bert: Any) -> None:
    encoder = FrozenEncoder(**{**vars(bert.encoder), "prefix": "water "})
    with_prefix = encoder.tokenize([Text("the man", "his keys")], 32)
    assert with_prefix == bert.encoder.tokenize([Text("water the man", "his keys")], 32)


def test_bfloat16_is_close_and_layers_are_cast_once(bert: Any) -> None:
    encoder = bert.encoder
    ragged = encoder.embed(encoder.tokenize(TEXTS, 32))
    low, high = (encoder.run(ragged, 0, 3, dtype) for dtype in (torch.bfloat16, torch.float32))
    assert low.dtype == torch.bfloat16
    assert 0 < (low.float() - high).abs().max() < 0.2
    assert encoder.layer(1, torch.bfloat16) is encoder.layer(1, torch.bfloat16)
    context = encoder.context(ragged.lengths)
    assert encoder.layer(1, torch.float32)(ragged.hidden, context, NO_ADAPTER).dtype == torch.float32


@pytest.mark.parametrize(
    ("limit", "cuttable", "kept", "segments"),
    [
        (9, None, [0, 10, 11, 12, 1, 1, 20, 21, 1], [0, 0, 0, 0, 0, 1, 1, 1, 1]),
        (7, 0, [0, 10, 1, 1, 20, 21, 1], [0, 0, 0, 1, 1, 1, 1]),
        (6, 0, [0, 1, 1, 20, 21, 1], [0, 0, 1, 1, 1, 1]),
        (7, 1, [0, 10, 11, 12, 1, 1, 1], [0, 0, 0, 0, 0, 1, 1]),
    ],
)
def test_truncation_takes_the_cuttable_part_from_its_end(
    limit: int, cuttable: int | None, kept: list[int], segments: list[int]
) -> None:
    text = Text("one", "other", cuttable)
    ids = [0, 10, 11, 12, 1, 1, 20, 21, 1]
    parts = [None, 0, 0, 0, None, None, 1, 1, None]
    cut = truncate(text, ids, [0, 0, 0, 0, 0, 1, 1, 1, 1], parts, limit)
    assert cut == TokenizedText(kept, segments, 9)


@pytest.mark.parametrize(("limit", "cuttable", "choice"), [(5, 0, "other"), (6, 1, "one"), (8, None, "one")])
def test_a_choice_is_never_cut(limit: int, cuttable: int | None, choice: str) -> None:
    ids, parts = [0, 10, 11, 12, 1, 1, 20, 21, 1], [None, 0, 0, 0, None, None, 1, 1, None]
    with pytest.raises(UserError, match=rf"{limit} tokens \('{choice}'\).*encoder\.max_tokens"):
        truncate(Text("one", "other", cuttable), ids, [0] * 9, parts, limit)
