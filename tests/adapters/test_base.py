"""The protocol of adapter kinds and the stack in one layer."""

import pytest
import torch
from torch import Tensor

from metaxcr.adapters.base import KINDS, LayerAdapter, Shape, Stacked, build_layer
from metaxcr.encoders.layer import Norm
from metaxcr.errors import UserError


class Scale(LayerAdapter):
    """Adds a multiple of what it sees."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
        return self.factor * output

    def feed_forward(self, hidden: Tensor) -> Tensor:
        return self.factor * hidden


class Normed(LayerAdapter):
    """Adds the norm of the sum."""

    def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
        return norm(z)


def test_each_adapter_sees_what_is_below_it() -> None:
    z, output = torch.tensor([[5.0]]), torch.tensor([[2.0]])
    halved = lambda t: t / 2  # noqa: E731
    assert Stacked([Scale(3.0), Scale(10.0)]).output(z, output, halved).item() == 5 + 6 + 80
    assert Stacked([Normed(), Scale(10.0)]).output(z, output, halved).item() == 5 + 2.5 + 45
    assert Stacked([Scale(3.0), Normed()]).output(z, output, halved).item() == 5 + 6 + 5.5


def test_adapters_without_a_part_in_a_place_change_nothing_there() -> None:
    z, output = torch.tensor([[5.0]]), torch.tensor([[2.0]])
    stack = Stacked([Normed(), Scale(3.0)])
    assert stack.attended(z, output, torch.tanh) is z
    assert stack.projections(output, z) is z
    assert stack.feed_forward(output, z).item() == 11


def test_the_registry() -> None:
    assert set(KINDS) >= {"pfeiffer", "houlsby", "parallel", "lora"}
    with pytest.raises(UserError, match=r"unknown kind of adapter 'ia3' \(adapters\.kind\): use one of"):
        build_layer(8, Shape("ia3", 2), torch.Generator())


@pytest.mark.parametrize("kind", ["pfeiffer", "houlsby", "parallel", "lora"])
def test_the_generator_alone_decides(kind: str) -> None:
    one, same, other = (
        build_layer(8, Shape(kind, 2), torch.Generator().manual_seed(seed)).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[n], same[n]) for n in one)
    assert any(not torch.equal(one[n], other[n]) for n in one)
