"""Language adapters: fresh, trainable, in the encoder, and their identity."""

import pytest
import torch
from torch import nn

from metaxcr.adapters.language_adapter import InvertibleAdapter, LanguageAdapter
from metaxcr.adapters.layers import AdapterShape
from metaxcr.encoders.encoder import FrozenEncoder, Ragged, Text

TEXTS = [Text("one two three four"), Text("five"), Text("six seven")]


def embedded(encoder: FrozenEncoder) -> Ragged:
    return encoder.embed(encoder.tokenize(TEXTS, 32))


def randomised(encoder: FrozenEncoder, seed: int = 0, **options) -> LanguageAdapter:
    adapter = LanguageAdapter.create(encoder, torch.Generator().manual_seed(seed), **options)
    for n, parameter in enumerate(adapter.parameters()):
        nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(100 * seed + n))
    return adapter


def run(adapter: LanguageAdapter, encoder: FrozenEncoder, start: Ragged, stop: int = 3) -> torch.Tensor:
    hidden, context = encoder.enter(start, torch.float32)
    return adapter.trunk(encoder, hidden, context, torch.float32, stop)[: len(start.hidden)]


def test_a_fresh_one_is_mad_xs_and_changes_nothing(toy_encoder: FrozenEncoder) -> None:
    adapter, start = LanguageAdapter.create(toy_encoder, torch.Generator()), embedded(toy_encoder)
    assert adapter.indices == [0, 1, 2]
    assert adapter.by_layer[0].shape == AdapterShape("pfeiffer", 8)
    assert adapter.invertible.reduction == 2
    hidden = run(adapter, toy_encoder, start)
    assert torch.equal(hidden, toy_encoder.run(start, 0, 3, torch.float32))
    assert torch.equal(adapter.before_head(hidden), hidden)


def test_every_parameter_learns(toy_encoder: FrozenEncoder) -> None:
    adapter = randomised(toy_encoder)
    hidden = adapter.before_head(run(adapter, toy_encoder, embedded(toy_encoder)))
    (hidden * torch.randn_like(hidden)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in adapter.parameters())


def test_layers_shape_and_invertible_can_be_chosen(toy_encoder: FrozenEncoder) -> None:
    shape = AdapterShape("houlsby", 3, "gelu")
    adapter = randomised(toy_encoder, layers=[2], shape=shape, invertible_reduction=None)
    assert (adapter.indices, adapter.by_layer[2].shape) == ([2], shape)
    assert 1 not in adapter.by_layer
    assert adapter.invertible is None
    start = embedded(toy_encoder)
    lower = run(adapter, toy_encoder, start, 2)
    assert torch.equal(lower, toy_encoder.run(start, 0, 2, torch.float32))
    assert adapter.checksum(2) == ""
    assert adapter.checksum(3) != ""


def test_the_checksum_tells_what_acts_below(toy_encoder: FrozenEncoder) -> None:
    one, same, other = (randomised(toy_encoder, seed) for seed in (0, 0, 1))
    assert one.checksum(2) == same.checksum(2) != other.checksum(2)
    changed = randomised(toy_encoder)
    changed.by_layer[2].up.bias.data += 1
    assert changed.checksum(2) == one.checksum(2)
    assert changed.checksum(3) != one.checksum(3)
    scaled = randomised(toy_encoder)
    scaled.by_layer[0].shape = AdapterShape("pfeiffer", 8, scaling=2.0)
    assert scaled.checksum(1) != one.checksum(1)
    front = randomised(toy_encoder)
    front.invertible.F.up.bias.data += 1
    assert front.checksum(0) != one.checksum(0)


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
