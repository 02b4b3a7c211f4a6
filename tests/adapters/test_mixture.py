"""The mixture of several sources' adapters, and its reduction to one."""

import pytest
import torch

from metaxcr.adapters.layers import AdapterShape, build_layer
from metaxcr.adapters.mixture import MIXED, Mixture, reduce_mixture


def random_mixture(kind: str, width: int = 8, sources: int = 3) -> Mixture:
    generator = torch.Generator().manual_seed(0)
    mixture = Mixture(width, AdapterShape(kind, 4, "relu", 0.5), generator, sources)
    for parameter in mixture.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return mixture.double()


def added(adapter, x):
    """What an adapter adds at every place, side by side."""
    parts = [
        adapter.projections(x),
        adapter.attended(x, x + 1, torch.tanh),
        adapter.feed_forward(x),
        adapter.output(x, x + 1, torch.tanh),
    ]
    return torch.cat([p for p in parts if p is not None], dim=1)


def test_the_mixture_is_the_weighted_sum() -> None:
    mixture, x = random_mixture("pfeiffer"), torch.randn(5, 8, dtype=torch.float64)
    weights = torch.softmax(mixture.logits, 0)
    expected = sum(w * added(mixture.source(i), x) for i, w in enumerate(weights))
    assert torch.allclose(added(mixture, x), expected)
    assert mixture.source(MIXED) is mixture
    assert mixture.projections(x) is None


@pytest.mark.parametrize("kind", ["pfeiffer", "houlsby", "parallel", "lora"])
def test_a_mixture_reduces_to_one_adapter_exactly(kind: str) -> None:
    mixture, x = random_mixture(kind), torch.randn(5, 8, dtype=torch.float64)
    phi = {f"adapted.task.1.{n}": p.detach() for n, p in mixture.named_parameters()} | {
        "scorer": torch.ones(2)
    }
    reduced = reduce_mixture(phi)
    one = build_layer(8, AdapterShape(kind, 12, "relu", 0.5), torch.Generator()).double()
    assert set(reduced) == {"scorer", *(f"adapted.task.1.{n}" for n, _ in one.named_parameters())}
    one.load_state_dict({n.removeprefix("adapted.task.1."): p for n, p in reduced.items() if n != "scorer"})
    assert torch.allclose(added(one, x), added(mixture, x), rtol=0, atol=1e-12)


def test_parameters_without_a_mixture_stay_as_they_are() -> None:
    phi = {"adapted.task.1.down.weight": torch.ones(2, 2), "scorer": torch.ones(2)}
    assert reduce_mixture(phi) == phi


def test_sources_start_apart_and_equally_weighted() -> None:
    mixture = Mixture(8, AdapterShape("pfeiffer", 4), torch.Generator().manual_seed(0), 3)
    assert torch.equal(mixture.logits, torch.zeros(3))
    assert not torch.equal(mixture.sources[0].down.weight, mixture.sources[1].down.weight)
