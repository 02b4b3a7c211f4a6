"""The invertible adapter."""

import pytest
import torch

from metaxcr.adapters.invertible import InvertibleAdapter


def build(width: int, reduction: float = 2, random: bool = True) -> InvertibleAdapter:
    generator = torch.Generator().manual_seed(0)
    nice = InvertibleAdapter(width, reduction, "relu", generator)
    if random:
        for parameter in nice.parameters():
            torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return nice.double()


@pytest.mark.parametrize("width", [12, 13])
def test_the_inverse_is_exact(width: int) -> None:
    nice, x = build(width), torch.randn(50, width, dtype=torch.float64)
    y = nice(x)
    assert (y - x).abs().max() > 0.5
    assert torch.allclose(nice.inverse(y), x, rtol=0, atol=1e-13)
    assert torch.allclose(nice(nice.inverse(x)), x, rtol=0, atol=1e-13)


def test_the_coupling_is_nices() -> None:
    nice, x = build(12), torch.randn(5, 12, dtype=torch.float64)
    x1, x2 = x.split(6, dim=1)
    y1, y2 = nice(x).split(6, dim=1)
    f, g = nice.F, nice.G
    assert torch.allclose(y1, x1 + torch.relu(x2 @ f.down.weight.T + f.down.bias) @ f.up.weight.T + f.up.bias)
    assert torch.allclose(y2, x2 + torch.relu(y1 @ g.down.weight.T + g.down.bias) @ g.up.weight.T + g.up.bias)
    assert f.down.weight.shape == (3, 6)  # reduction 2 of a half


def test_the_volume_is_preserved() -> None:
    """NICE is additive: the Jacobian's determinant is 1 everywhere."""
    nice = build(6)
    jacobian = torch.autograd.functional.jacobian(lambda v: nice(v[None])[0], torch.randn(6).double())
    assert torch.isclose(torch.linalg.det(jacobian), torch.tensor(1.0).double())


def test_a_fresh_one_is_the_identity() -> None:
    x = torch.randn(5, 12, dtype=torch.float64)
    assert torch.equal(build(12, random=False)(x), x)
