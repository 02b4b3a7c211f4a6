"""The protocol of adapter kinds and the stack in one layer."""

import pytest
import torch
from tests.conftest import toy_bert
from torch import Tensor
from torch.func import functional_call
from transformers import BertModel

from metaxcr.adapters.adapted_encoder import AdaptedEncoder
from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.adapters.layers import (
    FULL,
    KINDS,
    MIXED,
    SIZELESS,
    AdapterShape,
    FullLayer,
    LayerAdapter,
    Mixture,
    build_layer,
    fresh_layer,
    reduce_mixture,
)
from metaxcr.encoders.encoder import FrozenEncoder, Ragged, Text
from metaxcr.encoders.layer import AdapterStack, Norm
from metaxcr.encoders.loading import wrap
from metaxcr.errors import UserError
from metaxcr.evaluation.alignment import layer_vectors


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
    assert AdapterStack([Scale(3.0), Scale(10.0)]).output(z, output, halved).item() == 5 + 6 + 80
    assert AdapterStack([Normed(), Scale(10.0)]).output(z, output, halved).item() == 5 + 2.5 + 45
    assert AdapterStack([Scale(3.0), Normed()]).output(z, output, halved).item() == 5 + 6 + 5.5


def test_adapters_without_a_part_in_a_place_change_nothing_there() -> None:
    z, output = torch.tensor([[5.0]]), torch.tensor([[2.0]])
    stack = AdapterStack([Normed(), Scale(3.0)])
    assert stack.attended(z, output, torch.tanh) is z
    assert stack.projections(output, z) is z
    assert stack.feed_forward(output, z).item() == 11


def test_the_registry() -> None:
    assert set(KINDS) >= {"pfeiffer", "houlsby", "parallel", "lora"}
    with pytest.raises(UserError, match=r"unknown kind of adapter 'ia3' \(adapters\.kind\): use one of"):
        build_layer(8, AdapterShape("ia3", 2), torch.Generator())


@pytest.mark.parametrize("kind", ["pfeiffer", "houlsby", "parallel", "lora"])
def test_the_generator_alone_decides(kind: str) -> None:
    one, same, other = (
        build_layer(8, AdapterShape(kind, 2), torch.Generator().manual_seed(seed)).state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[n], same[n]) for n in one)
    assert any(not torch.equal(one[n], other[n]) for n in one)


TEXTS = [Text("one two three four"), Text("five"), Text("six seven")]
PLACES = {  # our name -> the module in a BertModel's layer
    "attended": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm2": "output.LayerNorm",
}


def build(encoder: FrozenEncoder, layers: list[int], **more: dict[str, LanguageAdapter]) -> AdaptedEncoder:
    return AdaptedEncoder(encoder, layers, SIZELESS[FULL], torch.Generator(), **more)


def randomise(adapted: AdaptedEncoder, std: float = 0.3) -> None:
    for n, parameter in enumerate(adapted.task.parameters()):
        torch.nn.init.normal_(parameter, std=std, generator=torch.Generator().manual_seed(n))


def trunk_of(encoder: FrozenEncoder, layer: int) -> Ragged:
    start = encoder.embed(encoder.tokenize(TEXTS, 32))
    return Ragged(encoder.run(start, 0, layer, torch.float32), start.lengths)


def hf_weight(model: BertModel, layer: int, name: str) -> list[Tensor]:
    """The parameters of a BertModel that one of our weights is made of."""
    stem, _, bias = name.partition("_")
    kind, own = bias or "weight", model.encoder.layer[layer]
    if stem == "qkv":
        parts = own.attention.self
        return [getattr(part, kind) for part in (parts.query, parts.key, parts.value)]
    return [getattr(own.get_submodule(PLACES[stem]), kind)]


def hf_output(model: BertModel, encoder: FrozenEncoder) -> Tensor:
    """The model's own output, text after text."""
    rows = [torch.tensor([t.ids]) for t in encoder.tokenize(TEXTS, 32)]
    return torch.cat([model(input_ids=row).last_hidden_state[0] for row in rows])


@pytest.mark.parametrize("layers", [[0, 1, 2], [2], [0, 2]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_a_change_it_equals_the_encoder_exactly(
    toy_encoder: FrozenEncoder, layers: list[int], dtype: torch.dtype
) -> None:
    adapted, trunk = build(toy_encoder, layers), trunk_of(toy_encoder, layers[0])
    expected = toy_encoder.run(trunk, layers[0], 3, dtype)
    assert torch.equal(adapted(trunk, dtype, "en"), expected)
    assert adapted.stack("en") == ["all weights"]
    assert adapted.trained == f"all weights of layers {layers}"


def test_output_and_gradients_are_those_of_a_bert_with_these_weights(toy_encoder: FrozenEncoder) -> None:
    """An independent BertModel, with the changes added to its parameters, all embeddings frozen."""
    adapted, model = build(toy_encoder, [0, 1, 2]), toy_bert().eval()
    randomise(adapted)
    names = list(toy_encoder.original(0).weights)
    assert len(names) == 12
    with torch.no_grad():
        for layer in range(3):
            for name in names:
                parts = hf_weight(model, layer, name)
                delta = adapted.task[str(layer)].delta[name]
                for part, change in zip(parts, delta.chunk(len(parts)), strict=True):
                    part += change
    ours, theirs = adapted(trunk_of(toy_encoder, 0), torch.float32, "en"), hf_output(model, toy_encoder)
    assert torch.allclose(ours, theirs, atol=1e-5)
    weights = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(5))
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    for layer in range(3):
        for name in names:
            expected = torch.cat([p.grad for p in hf_weight(model, layer, name) if p.grad is not None])
            found = adapted.task[str(layer)].delta[name].grad
            assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max())), name
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert trained == sum(p.numel() for p in model.encoder.parameters())


def test_a_change_too_small_for_bfloat16_is_kept_until_it_counts(toy_encoder: FrozenEncoder) -> None:
    adapted, trunk = build(toy_encoder, [2]), trunk_of(toy_encoder, 2)
    before = adapted(trunk, torch.bfloat16, "en").detach()
    delta, original = adapted.task["2"].delta["norm2"], toy_encoder.original(2).norm2
    assert torch.equal(original, torch.ones(16))
    with torch.no_grad():
        delta += 2**-10  # a quarter of what bfloat16 can tell from 1
    assert torch.equal(adapted(trunk, torch.bfloat16, "en"), before)
    with torch.no_grad():
        delta.fill_(0.0)
        for _ in range(8):
            delta += 2**-10
    assert not torch.equal(adapted(trunk, torch.bfloat16, "en"), before)
    assert torch.equal(original, torch.ones(16))  # the frozen weight is as it was


def test_functional_call_sees_every_weight(toy_encoder: FrozenEncoder) -> None:
    adapted, trunk = build(toy_encoder, [1, 2]), trunk_of(toy_encoder, 1)
    params = {name: p.detach() for name, p in adapted.named_parameters()}
    assert set(params) == {f"task.{i}.delta.{n}" for i in (1, 2) for n in toy_encoder.original(1).weights}
    before = adapted(trunk, torch.float32, "en").detach()
    for name in params:
        step = torch.randn(params[name].shape, generator=torch.Generator().manual_seed(1))
        out = functional_call(adapted, params | {name: params[name] + step}, (trunk, torch.float32, "en"))
        assert (out - before).abs().max() > 1e-4, name
    assert torch.equal(adapted(trunk, torch.float32, "en"), before)


def test_a_language_adapter_below_it_acts(toy_encoder: FrozenEncoder) -> None:
    """It is added before the last LayerNorm, whose weights are the changed ones."""
    generator = torch.Generator().manual_seed(3)
    below = build_layer(16, AdapterShape("pfeiffer", 4), generator)
    for parameter in below.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    adapted = build(toy_encoder, [2], languages={"sw": LanguageAdapter({2: below})})
    randomise(adapted)
    assert adapted.stack("sw") == ["lang.sw", "all weights"]
    changed = wrap("changed", toy_bert(), toy_encoder.tokenizer, prefix="", fingerprint="")
    changed.layers[2] = toy_encoder.original(2).cast(torch.float32, adapted.task["2"].deltas())
    alone = AdaptedEncoder(changed, [2], AdapterShape("pfeiffer", 4), torch.Generator())
    alone.task["2"].load_state_dict(below.state_dict())
    trunk = trunk_of(toy_encoder, 2)
    out = adapted(trunk, torch.float32, "sw")
    assert torch.equal(out, alone(trunk, torch.float32, "en"))
    assert not torch.allclose(out, adapted(trunk, torch.float32, "en"), atol=1e-2)


def test_the_alignment_check_sees_the_changes(toy_encoder: FrozenEncoder) -> None:
    adapted = build(toy_encoder, [1, 2])
    randomise(adapted)
    levels = [{i: adapted.task[str(i)] for i in (1, 2)}.get]
    found = layer_vectors(toy_encoder, ["one two", "three"], levels, dtype=torch.float32)
    assert torch.equal(found[0, 1], found[1, 1])  # the lowest layer has no changes
    texts = toy_encoder.embed(toy_encoder.tokenize([Text("one two"), Text("three")], 32))
    trunk = Ragged(toy_encoder.run(texts, 0, 1, torch.float32), texts.lengths)
    top = adapted(trunk, torch.float32, "en").detach()
    assert torch.allclose(found[1, 3], torch.stack([x.mean(0) for x in top.split([3, 2])]), atol=1e-5)


def test_only_this_kind_needs_a_layer(toy_encoder: FrozenEncoder) -> None:
    full = fresh_layer(toy_encoder, 1, SIZELESS[FULL], torch.Generator())
    assert isinstance(full, FullLayer) and not any(p.any() for p in full.parameters())
    assert fresh_layer(toy_encoder, 1, AdapterShape("lora", 4), torch.Generator()).shape.kind == "lora"


def test_it_can_be_differentiated_twice(toy_encoder: FrozenEncoder) -> None:
    """d/dphi of the squared gradient equals a difference quotient along it."""
    adapted, trunk = build(toy_encoder, [2]).double(), trunk_of(toy_encoder, 2)
    names = ["task.2.delta.qkv", "task.2.delta.norm1"]
    params = {n: p.detach().double() for n, p in adapted.named_parameters()}
    weights = torch.randn(len(trunk.hidden), 16, generator=torch.Generator().manual_seed(0)).double()

    def loss(phi: dict[str, Tensor]) -> Tensor:
        out = functional_call(adapted, params | phi, (trunk, torch.float64, "en"))
        return (out * weights).sum()

    def gradient(phi: dict[str, Tensor], **options: bool) -> list[Tensor]:
        return list(torch.autograd.grad(loss(phi), list(phi.values()), **options))

    start = {n: params[n].clone().requires_grad_() for n in names}
    slopes = gradient(start, create_graph=True)
    product = torch.autograd.grad(sum((s * s.detach()).sum() for s in slopes), list(start.values()))
    step = 1e-6
    ahead, behind = (
        gradient(
            {
                n: (p + sign * step * s).detach().requires_grad_()
                for (n, p), s in zip(start.items(), slopes, strict=True)
            }
        )
        for sign in (1, -1)
    )
    for found, a, b in zip(product, ahead, behind, strict=True):
        assert torch.allclose(found, (a - b) / (2 * step), rtol=1e-4, atol=1e-4)


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
