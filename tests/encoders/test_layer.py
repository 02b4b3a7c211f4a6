"""One frozen layer: attention, placement of adapters, other dtypes."""

import torch
import torch.nn.functional as F

from metaxcr.encoders.base import FrozenEncoder
from metaxcr.encoders.layer import FrozenLayer, attention, no_adapter


def test_attention_equals_the_fused_kernel_and_ignores_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 5, 4, generator=generator) for _ in range(3))
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])[:, None, None, :]
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert torch.allclose(attention(q, k, v, mask), expected, atol=1e-6)
    k2, v2 = k.clone(), v.clone()
    k2[1, :, 3:], v2[1, :, 3:] = 1e4, -1e4
    assert torch.equal(attention(q, k2, v2, mask), attention(q, k, v, mask))
    assert torch.allclose(attention(q, k, v, None), F.scaled_dot_product_attention(q, k, v), atol=1e-6)


def test_the_adapter_acts_before_the_last_norm(toy_encoder: FrozenEncoder) -> None:
    layer = toy_encoder.layer(0, torch.float32)
    hidden = torch.randn(6, toy_encoder.width, generator=torch.Generator().manual_seed(1))
    context = toy_encoder.context(torch.tensor([2, 4]))
    seen: list[torch.Tensor] = []

    def adapt(z: torch.Tensor, at: FrozenLayer) -> torch.Tensor:
        assert at is layer
        seen.append(z)
        return z * 0 + torch.arange(16.0)

    out = layer(hidden, context, adapt)
    norm = (layer.norm2, layer.norm2_bias, layer.eps)
    assert torch.allclose(out, F.layer_norm(torch.arange(16.0).expand(6, 16), (16,), *norm), atol=1e-6)
    plain = layer(hidden, context, no_adapter)
    assert torch.allclose(plain, F.layer_norm(seen[0], (16,), *norm), atol=1e-6)


def test_cast_keeps_everything_but_the_dtype(toy_encoder: FrozenEncoder) -> None:
    layer = toy_encoder.layer(1, torch.float32)
    copy = layer.cast(torch.bfloat16)
    assert (copy.heads, copy.eps, copy.activation) == (layer.heads, layer.eps, layer.activation)
    names = {name for name, _ in layer.named_buffers()}
    assert {name for name, _ in copy.named_buffers()} == names
    assert all(torch.equal(copy.get_buffer(n), layer.get_buffer(n).bfloat16()) for n in names)
    assert layer.qkv.dtype == torch.float32


def test_no_weight_is_trainable(toy_encoder: FrozenEncoder) -> None:
    assert not list(
        toy_encoder.layers.parameters()
    )  # buffers: functional_call and optimisers do not see them
    assert not any(p.requires_grad for p in toy_encoder.embeddings.parameters())
    assert not toy_encoder.embeddings.training
