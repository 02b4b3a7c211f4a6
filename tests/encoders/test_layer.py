"""What is made within a transform or in inference mode, and kept, is as good afterwards."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metaxcr.encoders.encoder import FrozenEncoder, Text
from metaxcr.encoders.layer import NO_ADAPTER, AdapterStack, Norm, attention, outside_transforms


def test_a_tensor_made_within_a_transform_can_be_used_after_it() -> None:
    kept: list[Tensor] = []

    def loss(x: Tensor) -> Tensor:
        kept.append(outside_transforms(torch.ones)(3))
        return (kept[0] * x).sum()

    assert torch.func.grad(loss)(torch.ones(3)).tolist() == [1.0, 1.0, 1.0]
    assert torch.func.grad(loss)(torch.ones(3)).tolist() == [1.0, 1.0, 1.0]


def test_a_tensor_made_in_inference_mode_can_be_trained_with() -> None:
    with torch.inference_mode():
        made = outside_transforms(torch.ones)(3)
    assert not made.is_inference()


def test_errors_arrive() -> None:
    def fail(text: str) -> None:
        raise ValueError(text)

    with pytest.raises(ValueError, match="it"):
        outside_transforms(fail)("it")


def test_layers_that_are_cast_within_a_transform_stay_usable(toy_encoder: FrozenEncoder) -> None:
    encoder = FrozenEncoder(**{**vars(toy_encoder), "_cast": {}})
    ragged = encoder.embed(encoder.tokenize([Text("some words")], 8))

    def loss(scale: Tensor) -> Tensor:
        hidden, context = encoder.enter(ragged, torch.bfloat16)
        return encoder.layer(0, torch.bfloat16)(hidden * scale, context).float().sum()

    gradient = torch.func.grad(loss)(torch.tensor(1.0))
    assert torch.equal(torch.func.grad(loss)(torch.tensor(1.0)), gradient)


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


def test_every_hook_acts_where_it_says(toy_encoder: FrozenEncoder) -> None:
    layer, width = toy_encoder.layer(0, torch.float32), toy_encoder.width
    hidden = torch.randn(6, width, generator=torch.Generator().manual_seed(1))
    context = toy_encoder.context(torch.tensor([2, 4]))
    seen: dict[str, torch.Tensor] = {}

    class Recorder(AdapterStack):
        def projections(self, hidden: torch.Tensor, qkv: torch.Tensor) -> torch.Tensor:
            seen["hidden"], seen["qkv"] = hidden, qkv
            return qkv * 2

        def attended(self, z: torch.Tensor, output: torch.Tensor, norm: Norm) -> torch.Tensor:
            seen["attended"], seen["mixed"] = z, output
            assert norm == layer.first_norm
            return z + 1.5 * norm(z)

        def feed_forward(self, hidden: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
            seen["inner"], seen["fed"] = hidden, output
            return output - hidden

        def output(self, z: torch.Tensor, output: torch.Tensor, norm: Norm) -> torch.Tensor:
            seen["z"], seen["changed"] = z, output
            assert norm == layer.last_norm
            return z * 0 + torch.arange(float(width))

    out = layer(hidden, context, Recorder())
    linear = torch.nn.functional.linear
    assert torch.equal(seen["hidden"], hidden)
    assert torch.allclose(seen["qkv"], linear(hidden, layer.qkv, layer.qkv_bias))
    attended = linear(layer.attend(2 * seen["qkv"], context), layer.attended, layer.attended_bias) + hidden
    assert torch.allclose(seen["attended"], attended, atol=1e-6)
    assert torch.allclose(seen["mixed"] + hidden, attended, atol=1e-6)
    assert torch.allclose(seen["changed"], seen["fed"] - seen["inner"], atol=1e-6)
    assert torch.allclose(
        seen["inner"], layer.first_norm(attended + 1.5 * layer.first_norm(attended)), atol=1e-6
    )
    assert torch.allclose(seen["z"], seen["fed"], atol=1e-6)  # the residual, taken away by the hook
    assert torch.allclose(out, layer.last_norm(torch.arange(float(width)).expand(6, width)), atol=1e-6)
    assert not torch.allclose(out, layer(hidden, context, NO_ADAPTER), atol=1e-2)


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


def test_a_changed_copy_adds_before_it_casts_and_leaves_the_layer_alone(toy_encoder: FrozenEncoder) -> None:
    layer = toy_encoder.original(0)
    before = {name: weight.clone() for name, weight in layer.weights.items()}
    delta = torch.full((16,), 2**-9, requires_grad=True)
    copy = layer.cast(torch.bfloat16, {"norm1": delta})
    assert torch.equal(copy.norm1, (before["norm1"] + 2**-9).to(torch.bfloat16))
    assert {w.dtype for w in copy.weights.values()} == {torch.bfloat16}
    assert all(torch.equal(w, before[name]) for name, w in layer.weights.items())
    copy.norm1.sum().backward()
    assert torch.equal(delta.grad, torch.ones(16))
