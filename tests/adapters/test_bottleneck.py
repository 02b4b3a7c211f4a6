"""The bottleneck adapter."""

import pytest
import torch
import torch.nn.functional as F

from metaxcr.adapters.bottleneck import NONLINEARITIES, Bottleneck


def build(nonlinearity: str = "relu", seed: int = 0) -> Bottleneck:
    return Bottleneck(12, 5, nonlinearity, torch.Generator().manual_seed(seed))


def test_zero_at_the_start_with_a_gradient_to_leave_it() -> None:
    adapter, x = build(), torch.randn(7, 12)
    out = adapter(x)
    assert torch.equal(out, torch.zeros(7, 12))
    (out * torch.randn(7, 12)).sum().backward()
    assert adapter.up.weight.grad is not None
    assert adapter.up.weight.grad.abs().max() > 0


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_down_nonlinearity_up(name: str) -> None:
    adapter, x = build(name), torch.randn(7, 12)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    function = {
        "relu": F.relu,
        "gelu": F.gelu,
        "gelu_new": lambda v: 0.5 * v * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (v + 0.044715 * v**3))),
        "swish": lambda v: v * torch.sigmoid(v),
    }[name]
    inner = function(x @ adapter.down.weight.T + adapter.down.bias)
    assert torch.allclose(adapter(x), inner @ adapter.up.weight.T + adapter.up.bias, atol=1e-5)


def test_float32_weights_take_part_in_bfloat16() -> None:
    adapter = build()
    torch.nn.init.normal_(adapter.up.weight)
    out = adapter(torch.randn(3, 12, dtype=torch.bfloat16))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert all(p.dtype == torch.float32 and p.grad is not None for p in adapter.parameters())


def test_the_generator_alone_decides() -> None:
    torch.manual_seed(1)
    one = build()
    torch.manual_seed(2)
    same, other = build(), build(seed=3)
    assert torch.equal(one.down.weight, same.down.weight)
    assert not torch.equal(one.down.weight, other.down.weight)
    assert one.down.weight.abs().max() > 0
