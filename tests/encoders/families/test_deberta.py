"""Relative distances and their buckets."""

from typing import Any

import pytest
import torch
from tests.encoders.conftest import make_family
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

from metaxcr.encoders.encoder import TokenizedText
from metaxcr.encoders.families.deberta import distances


@pytest.mark.parametrize(("buckets", "reach"), [(256, 512), (8, 40), (32, 512)])
def test_buckets_equal_the_models(buckets: int, reach: int) -> None:
    rows, pairs = distances(reach, buckets, reach)
    steps = torch.arange(1 - reach, reach)
    expected = make_log_bucket_position(steps, buckets, reach).long() + buckets
    assert torch.equal(rows, expected)
    assert rows.min() >= 0 and rows.max() < 2 * buckets
    assert torch.equal(rows[pairs[5]], expected[torch.arange(5, 5 - reach, -1) + reach - 1])


def test_near_distances_have_their_own_and_far_ones_share() -> None:
    rows, _ = distances(41, 8, 40)
    assert rows.tolist()[37:44] == [5, 6, 7, 8, 9, 10, 11]  # distances -3 .. 3 around the middle
    assert len(set(rows.tolist())) < 41


def test_without_buckets_every_distance_counts() -> None:
    rows, _ = distances(4, -1, 10)
    assert rows.tolist() == [7, 8, 9, 10, 11, 12, 13]


@pytest.mark.parametrize(
    "settings",
    [
        {"pos_att_type": "c2p"},
        {"pos_att_type": "p2c"},
        {"share_att_key": False},
        {"position_buckets": -1},
        {"norm_rel_ebd": "none"},
        {"position_biased_input": True, "type_vocab_size": 2},
    ],
    ids=lambda s: "-".join(s),
)
def test_other_kinds_of_the_family_equal_the_model(settings: dict[str, Any], padded_forward: Any) -> None:
    family = make_family("deberta-v2", **settings)
    ids = [list(range(4, 24)), [5, 6], list(range(10, 4, -1))]
    tokenized = [TokenizedText(row, [0] * len(row), len(row)) for row in ids]
    encoder = family.encoder
    ours = encoder.run(encoder.embed(tokenized), 0, 3, torch.float32)
    assert torch.allclose(ours, padded_forward(family.model, tokenized), atol=1e-5)
