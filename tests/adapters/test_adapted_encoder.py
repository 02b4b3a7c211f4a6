"""The adapter stack: placement, start at zero, parameters, language adapters."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from metaxcr.adapters.adapted_encoder import AdaptedEncoder
from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.adapters.layers import AdapterShape, LayerAdapter, build_layer
from metaxcr.encoders.encoder import FrozenEncoder, Ragged, Text
from metaxcr.errors import UserError

TEXTS = [Text("one two three four"), Text("five"), Text("six seven")]


def adapter(seed: int, width: int = 16) -> LayerAdapter:
    """A bottleneck with random weights everywhere."""
    generator = torch.Generator().manual_seed(seed)
    built = build_layer(width, AdapterShape("pfeiffer", 4, "gelu"), generator)
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return built


def build(
    encoder: FrozenEncoder,
    layers: list[int],
    languages: dict[str, dict[int, LayerAdapter]] | None = None,
    kind: str = "pfeiffer",
    sources: int = 0,
) -> AdaptedEncoder:
    modules = {name: LanguageAdapter(adapters) for name, adapters in (languages or {}).items()}
    shape, generator = AdapterShape(kind, 4, "gelu"), torch.Generator().manual_seed(0)
    return AdaptedEncoder(encoder, layers, shape, generator, modules, sources)


def randomise(adapted: AdaptedEncoder) -> None:
    for n, parameter in enumerate(adapted.task.parameters()):
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(n))


def trunk_of(encoder: FrozenEncoder, layer: int) -> Ragged:
    start = encoder.embed(encoder.tokenize(TEXTS, 32))
    return Ragged(encoder.run(start, 0, layer, torch.float32), start.lengths)


def naive(
    encoder: FrozenEncoder, ragged: Ragged, start: int, stacks: dict[int, list[LayerAdapter]]
) -> Tensor:
    """The upper layers written down anew, one text, one head and one query at a time."""
    outputs = []
    for x in torch.split(ragged.hidden, ragged.lengths.tolist()):
        for index in range(start, encoder.depth):
            w = encoder.layer(index, torch.float32)
            q, k, v = (x @ w.qkv.T + w.qkv_bias).split(16, dim=1)
            mixed = torch.zeros_like(x)
            for head in range(w.heads):
                part = slice(head * 8, head * 8 + 8)
                for i in range(len(x)):
                    weights = torch.softmax(k[:, part] @ q[i, part] / 8**0.5, 0)
                    mixed[i, part] = weights @ v[:, part]
            x = F.layer_norm(x + mixed @ w.attended.T + w.attended_bias, (16,), w.norm1, w.norm1_bias, w.eps)
            z = x + F.gelu(x @ w.up.T + w.up_bias) @ w.down.T + w.down_bias
            for a in stacks.get(index, []):
                y = F.layer_norm(z, (16,), w.norm2, w.norm2_bias, w.eps)
                z = z + F.gelu(y @ a.down.weight.T + a.down.bias) @ a.up.weight.T + a.up.bias
            x = F.layer_norm(z, (16,), w.norm2, w.norm2_bias, w.eps)
        outputs.append(x)
    return torch.cat(outputs)


@pytest.mark.parametrize("layers", [[0, 1, 2], [1, 2], [2], [0, 2]])
def test_at_the_start_the_stack_equals_the_encoder(toy_encoder: FrozenEncoder, layers: list[int]) -> None:
    adapted, trunk = build(toy_encoder, layers), trunk_of(toy_encoder, layers[0])
    expected = toy_encoder.run(trunk, layers[0], 3, torch.float32)
    assert torch.equal(adapted(trunk, torch.float32, "en"), expected)
    randomise(adapted)
    assert not torch.allclose(adapted(trunk, torch.float32, "en"), expected, atol=1e-2)


@pytest.mark.parametrize("layers", [[0, 1, 2], [1, 2], [0, 2]])
def test_placement_of_one_adapter(toy_encoder: FrozenEncoder, layers: list[int]) -> None:
    adapted, trunk = build(toy_encoder, layers), trunk_of(toy_encoder, layers[0])
    randomise(adapted)
    stacks = {i: [adapted.task[str(i)]] for i in layers}
    expected = naive(toy_encoder, trunk, layers[0], stacks)
    assert torch.allclose(adapted(trunk, torch.float32, "en"), expected, atol=1e-5)


def test_placement_of_a_stack_of_two(toy_encoder: FrozenEncoder) -> None:
    language = {1: adapter(7), 2: adapter(8)}
    adapted, trunk = build(toy_encoder, [1, 2], {"sw": language}), trunk_of(toy_encoder, 1)
    randomise(adapted)
    below = {i: [language[i], adapted.task[str(i)]] for i in (1, 2)}
    above = {i: [adapted.task[str(i)], language[i]] for i in (1, 2)}
    out = adapted(trunk, torch.float32, "sw")
    assert torch.allclose(out, naive(toy_encoder, trunk, 1, below), atol=1e-5)
    assert not torch.allclose(out, naive(toy_encoder, trunk, 1, above), atol=1e-2)


def test_only_the_texts_own_language_is_active(toy_encoder: FrozenEncoder) -> None:
    languages = {"sw": {1: adapter(7), 2: adapter(8)}, "it": {2: adapter(9)}}
    adapted, plain, trunk = (
        build(toy_encoder, [1, 2], languages),
        build(toy_encoder, [1, 2]),
        trunk_of(toy_encoder, 1),
    )
    outputs = {language: adapted(trunk, torch.float32, language) for language in ("sw", "it", "en")}
    assert torch.equal(outputs["en"], plain(trunk, torch.float32, "en"))
    assert torch.allclose(outputs["it"], naive(toy_encoder, trunk, 1, {2: [languages["it"][2]]}), atol=1e-5)
    assert not torch.allclose(outputs["sw"], outputs["it"], atol=1e-2)
    assert [adapted.stack(language) for language in ("sw", "en")] == [["lang.sw", "task"], ["task"]]


def test_language_adapters_are_frozen_and_the_task_adapter_is_not(toy_encoder: FrozenEncoder) -> None:
    adapted = build(toy_encoder, [1, 2], {"sw": {1: adapter(7), 2: adapter(8)}})
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained == {
        f"task.{i}.{part}.{kind}" for i in (1, 2) for part in ("down", "up") for kind in ("weight", "bias")
    }
    adapted(trunk_of(toy_encoder, 1), torch.float32, "sw").sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in adapted.parameters())


def test_functional_call_sees_every_task_parameter(toy_encoder: FrozenEncoder) -> None:
    adapted, trunk = build(toy_encoder, [1, 2]), trunk_of(toy_encoder, 1)
    randomise(adapted)
    params = {name: p.detach() for name, p in adapted.named_parameters()}
    before = adapted(trunk, torch.float32, "en").detach()
    for name in params:
        step = torch.randn(params[name].shape, generator=torch.Generator().manual_seed(1))
        changed = params | {name: params[name] + step}
        out = functional_call(adapted, changed, (trunk, torch.float32, "en"))
        assert (out - before).abs().max() > 1e-4, name
    assert torch.equal(adapted(trunk, torch.float32, "en"), before)  # and the module itself is as it was


@pytest.mark.parametrize("layers", [[], [3], [-1, 0], [2, 1], [1, 1]])
def test_layers_that_do_not_fit_are_refused(toy_encoder: FrozenEncoder, layers: list[int]) -> None:
    with pytest.raises(UserError, match=r"do not fit an encoder of 3 layers \(adapters\.layers\)"):
        build(toy_encoder, layers)


def test_kind_none_leaves_the_encoder_as_it_is_with_all_layers_below(toy_encoder: FrozenEncoder) -> None:
    languages = {"sw": {0: adapter(7)}}
    adapted, trunk = build(toy_encoder, [], languages, kind="none"), trunk_of(toy_encoder, 3)
    assert adapted.start == 3
    assert torch.equal(adapted(trunk, torch.float32, "en"), trunk.hidden)
    assert [adapted.stack(x) for x in ("sw", "en")] == [["lang.sw", "no task adapter"], ["no task adapter"]]
    assert adapted.trained == "no task adapter: the scorer alone is trained"
    assert not [p for p in adapted.parameters() if p.requires_grad]
    with pytest.raises(UserError, match=r"adapter layers \[1\] do not fit"):
        build(toy_encoder, [1], kind="none")


@pytest.mark.parametrize(
    ("adapters", "message"),
    [
        ({3: adapter(1)}, r"layers \[3\], width 16\) does not fit toy \(3 layers, width 16\)"),
        ({0: adapter(1, width=12)}, r"layers \[0\], width 12\) does not fit toy"),
        ({}, r"layers \[\]"),
    ],
)
def test_a_language_adapter_of_another_size_is_refused(
    toy_encoder: FrozenEncoder, adapters: dict[int, LayerAdapter], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build(toy_encoder, [2], {"sw": adapters})


@pytest.mark.parametrize("kind", ["pfeiffer", "houlsby", "parallel", "lora"])
@pytest.mark.parametrize("sources", [0, 3])
def test_every_kind_starts_at_zero_and_is_seen_by_functional_call(
    toy_encoder: FrozenEncoder, kind: str, sources: int
) -> None:
    adapted, trunk = build(toy_encoder, [1, 2], kind=kind, sources=sources), trunk_of(toy_encoder, 1)
    expected = toy_encoder.run(trunk, 1, 3, torch.float32)
    assert torch.allclose(adapted(trunk, torch.float32, "en"), expected, atol=1e-6)
    randomise(adapted)
    params = {name: p.detach() for name, p in adapted.named_parameters()}
    before = adapted(trunk, torch.float32, "en").detach()
    for name in params:
        step = torch.randn(params[name].shape, generator=torch.Generator().manual_seed(1))
        out = functional_call(adapted, params | {name: params[name] + step}, (trunk, torch.float32, "en"))
        assert (out - before).abs().max() > 1e-5, name


def test_a_source_uses_its_own_adapter_and_teaches_it_alone(toy_encoder: FrozenEncoder) -> None:
    mixed, trunk = build(toy_encoder, [1, 2], sources=3), trunk_of(toy_encoder, 1)
    randomise(mixed)
    single = build(toy_encoder, [1, 2])
    for i in (1, 2):
        single.task[str(i)].load_state_dict(mixed.task[str(i)].source(2).state_dict())
    assert torch.equal(mixed(trunk, torch.float32, "en", 2), single(trunk, torch.float32, "en"))
    mixed(trunk, torch.float32, "en", 2).sum().backward()
    taught = {name for name, p in mixed.named_parameters() if p.grad is not None}
    assert taught == {n for n, _ in mixed.named_parameters() if ".sources.2." in n}
    mixed(trunk, torch.float32, "en").sum().backward()
    assert all(p.grad is not None for p in mixed.parameters())
    assert mixed.stack("en") == ["mixture of 3 tasks"]


def test_the_seed_draws_the_weights(toy_encoder: FrozenEncoder) -> None:
    one, same = build(toy_encoder, [1, 2]), build(toy_encoder, [1, 2])
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.task["1"].down.weight, one.task["2"].down.weight)
