"""LoRA: placement, scaling, merging."""

import copy

import torch
from torch.nn import init

from metaxcr.adapters.layers import AdapterShape, build_layer
from metaxcr.adapters.lora import LoRA
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.encoders.layer import AdapterStack


def random_lora(width: int) -> LoRA:
    lora = build_layer(width, AdapterShape("lora", 3, scaling=2.0), torch.Generator().manual_seed(0))
    assert isinstance(lora, LoRA)
    for parameter in lora.parameters():
        init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    return lora


def test_query_and_value_change_and_the_key_does_not() -> None:
    lora, x = random_lora(8), torch.randn(5, 8)
    query, key, value = lora.projections(x).split(8, dim=1)
    assert torch.equal(key, torch.zeros(5, 8))
    q, v = lora.query, lora.value
    assert torch.allclose(query, 2.0 * x @ q.down.weight.T @ q.up.weight.T, atol=1e-5)
    assert torch.allclose(value, 2.0 * x @ v.down.weight.T @ v.up.weight.T, atol=1e-5)


def test_merging_gives_the_same_outputs(toy_encoder: FrozenEncoder) -> None:
    lora, layer = random_lora(16), toy_encoder.layer(1, torch.float32)
    x, context = torch.randn(6, 16), toy_encoder.context(torch.tensor([2, 4]))
    merged = copy.deepcopy(layer)
    merged.qkv += lora.delta().detach()
    out = layer(x, context, AdapterStack([lora]))
    assert torch.allclose(merged(x, context), out, atol=1e-4)
    assert not torch.allclose(layer(x, context), out, atol=1e-2)
