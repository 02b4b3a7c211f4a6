"""Rotary positions, windows, and what adapters see before a LayerNorm."""

from typing import Any

import pytest
import torch
from torch import Tensor

from metaxcr.encoders.base import Text, TokenizedText
from metaxcr.encoders.families.modernbert import neighbours, rotation
from metaxcr.encoders.layer import Hooks, Norm
from metaxcr.errors import UserError

from ..conftest import make_family


def test_angles_by_hand() -> None:
    cos, sin = rotation(3, 4, 100.0)
    angles = torch.tensor([[0.0, 0.0], [1.0, 0.1], [2.0, 0.2]])
    assert torch.allclose(cos, angles.cos().repeat(1, 2))
    assert torch.allclose(sin, angles.sin().repeat(1, 2))


def test_products_depend_on_the_distance_alone() -> None:
    from metaxcr.encoders.families.modernbert import _rotate

    q, k = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0)).expand(2, 12, 8)
    scores = _rotate(q, *rotation(12, 8, 50.0)) @ _rotate(k, *rotation(12, 8, 50.0)).T
    for distance in (-3, 0, 5):
        along = scores.diagonal(distance)
        assert torch.allclose(along, along[:1].expand_as(along), atol=1e-5)
    assert not torch.allclose(scores[0, 3], scores[3, 0], atol=1e-2)


def test_window_includes_its_edge() -> None:
    near, own = neighbours(5, 2)
    assert near[0].tolist() == [True, True, True, False, False]
    assert torch.equal(own, torch.eye(5, dtype=torch.bool))


@pytest.mark.parametrize(
    "settings",
    [
        {"norm_bias": True, "mlp_bias": True, "attention_bias": True},
        {"global_attn_every_n_layers": 1},
        {"global_attn_every_n_layers": 2, "local_attention": 128},
    ],
    ids=["biases", "global", "wide"],
)
def test_other_kinds_of_the_family_equal_the_model(settings: dict[str, Any], padded_forward: Any) -> None:
    family = make_family("modernbert", **settings)
    ids = [list(range(4, 24)), [5, 6], list(range(10, 4, -1))]
    tokenized = [TokenizedText(row, [0] * len(row), len(row)) for row in ids]
    encoder = family.encoder
    ours = encoder.run(encoder.embed(tokenized), 0, 3, torch.float32)
    assert torch.allclose(ours, padded_forward(family.model, tokenized), atol=1e-5)


def test_adapters_see_the_normalised_input_in_place_of_the_residual() -> None:
    """As in `adapters` 1.3.0: LN(h) + o, where post-LayerNorm families show LN(h + o)."""
    encoder = make_family("modernbert").encoder
    seen: dict[str, Tensor] = {}

    class Recorder(Hooks):
        def projections(self, hidden: Tensor, qkv: Tensor) -> Tensor:
            seen["entered"] = hidden
            return qkv

        def attended(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
            seen["after attention"], seen["attention"] = norm(z), output
            return z

        def feed_forward(self, hidden: Tensor, output: Tensor) -> Tensor:
            seen["fed"] = hidden
            return output

        def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
            seen["after feed-forward"], seen["made"] = norm(z), output
            moved = norm(z + 1.0) - norm(z)
            assert torch.allclose(moved, torch.ones_like(z), atol=1e-5)  # for the next adapter of a stack
            return z

    hidden, context = encoder.enter(encoder.embed(encoder.tokenize([Text("water boils")], 8)), torch.float32)
    layer: Any = encoder.layer(1, torch.float32)
    layer(hidden, context, Recorder())
    normed = torch.nn.functional.layer_norm
    assert torch.allclose(seen["entered"], normed(hidden, (32,), layer.norm1, None, layer.eps), atol=1e-5)
    assert torch.allclose(seen["after feed-forward"], seen["made"] + seen["fed"], atol=1e-5)
    inner = seen["attention"] + seen["entered"]
    assert torch.allclose(
        seen["after attention"], normed(inner, (32,), layer.norm2, None, layer.eps), atol=1e-4
    )


def test_stretched_rotary_positions_are_refused() -> None:
    rope = {"rope_type": "linear", "factor": 2.0, "rope_theta": 100.0}
    with pytest.raises(UserError, match="rotary positions of the kind linear"):
        make_family("modernbert", rope_parameters={"full_attention": rope, "sliding_attention": dict(rope)})
