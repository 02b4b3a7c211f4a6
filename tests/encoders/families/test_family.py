"""What every family has to do: hooks, derivatives of second order, padding that harms none; the registry."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import AutoConfig

from metaxcr.adapters.adapted_encoder import AdaptedEncoder
from metaxcr.adapters.layers import AdapterShape
from metaxcr.encoders.encoder import Text
from metaxcr.encoders.families import family as registry
from metaxcr.encoders.families.bert import Bert
from metaxcr.encoders.families.family import Family, check_family, families, family_of, register
from metaxcr.encoders.layer import AdapterStack, FrozenLayer, Norm
from metaxcr.errors import UserError

# Lengths from 3 to 20 tokens: every family's positions, windows and buckets matter, and much is padded.
TEXTS = [Text("water boils when heated " * 4), Text("a"), Text("his keys", "the man lost his keys")]


class Recorder(AdapterStack):
    """Notes what each hook gets."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, tuple[Tensor, ...]] = {}

    def projections(self, hidden: Tensor, qkv: Tensor) -> Tensor:
        self.seen["projections"] = (hidden, qkv)
        return qkv

    def attended(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
        self.seen["attended"] = (z, output, norm(z))
        return z

    def feed_forward(self, hidden: Tensor, output: Tensor) -> Tensor:
        self.seen["feed_forward"] = (hidden, output)
        return output

    def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
        self.seen["output"] = (z, output, norm(z))
        return z


@pytest.mark.parametrize("index", [0, 1, 2])
def test_every_family_calls_all_four_hooks_with_what_they_are_named_after(family: Any, index: int) -> None:
    encoder, recorder = family.encoder, Recorder()
    start = encoder.embed(encoder.tokenize(TEXTS, 40))
    hidden, context = encoder.enter(start, torch.float32)
    layer = encoder.layer(index, torch.float32)
    layer(hidden, context, recorder)
    assert sorted(recorder.seen) == ["attended", "feed_forward", "output", "projections"]
    entered, qkv = recorder.seen["projections"]
    assert torch.allclose(qkv, nn.functional.linear(entered, layer.qkv, layer.qkv_bias))
    z, output, _ = recorder.seen["attended"]
    assert torch.allclose(z - output, hidden, atol=1e-5)
    fed, made = recorder.seen["feed_forward"]
    z2, output2, _ = recorder.seen["output"]
    assert torch.equal(made, output2)
    residual = z if family.model.config.model_type == "modernbert" else fed  # LayerNorm before or after
    assert torch.allclose(z2 - output2, residual, atol=1e-5)


@pytest.mark.parametrize("name", ["projections", "attended", "feed_forward", "output"])
def test_what_a_hook_returns_is_used(family: Any, name: str) -> None:
    class Changed(AdapterStack):
        pass

    def change(self: AdapterStack, *given: Any) -> Tensor:
        tensor: Tensor = given[1] if name in ("projections", "feed_forward") else given[0]
        return tensor * torch.linspace(0.5, 1.5, tensor.shape[-1])  # which no LayerNorm undoes

    setattr(Changed, name, change)
    encoder = family.encoder
    hidden, context = encoder.enter(encoder.embed(encoder.tokenize(TEXTS, 40)), torch.float32)
    for index in range(encoder.depth):
        layer = encoder.layer(index, torch.float32)
        assert not torch.allclose(layer(hidden, context, Changed()), layer(hidden, context), atol=1e-2)


def _adapted(family: Any) -> tuple[AdaptedEncoder, dict[str, Tensor], Any]:
    """An adapter that does something in every layer, in float64."""
    generator = torch.Generator().manual_seed(0)
    adapted = AdaptedEncoder(family.encoder, [0, 1, 2], AdapterShape("pfeiffer", 4, "swish"), generator)
    for parameter in adapted.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    params = {name: p.detach().double() for name, p in adapted.named_parameters()}
    encoder = family.encoder
    return adapted, params, encoder.embed(encoder.tokenize(TEXTS, 40))


def test_derivatives_of_second_order(family: Any) -> None:
    """The derivative of the gradient along a direction equals its finite difference."""
    adapted, params, trunk = _adapted(family)

    def gradient(params: dict[str, Tensor]) -> dict[str, Tensor]:
        def loss(params: dict[str, Tensor]) -> Tensor:
            out = functional_call(adapted, params, (trunk, torch.float64, "en"))
            return out.square().mean()

        return torch.func.grad(loss)(params)

    generator = torch.Generator().manual_seed(1)
    direction = {k: torch.randn(p.shape, generator=generator, dtype=p.dtype) for k, p in params.items()}

    def along(params: dict[str, Tensor]) -> Tensor:
        gradients = gradient(params)
        return torch.stack([(gradients[k] * direction[k]).sum() for k in params]).sum()

    exact = torch.func.grad(along)(params)
    step = 1e-5
    above = gradient({k: p + step * direction[k] for k, p in params.items()})
    below = gradient({k: p - step * direction[k] for k, p in params.items()})
    assert max(float(v.abs().max()) for v in exact.values()) > 1e-3
    for name, value in exact.items():
        # Embeddings and rotary angles are float32, the same ones on both sides.
        assert torch.allclose(value, (above[name] - below[name]) / (2 * step), rtol=1e-4, atol=1e-6), name


def test_padding_gives_no_gradient_that_is_not_a_number(family: Any) -> None:
    adapted, params, trunk = _adapted(family)
    leaves = {name: p.float().requires_grad_() for name, p in params.items()}
    out = functional_call(adapted, leaves, (trunk, torch.float32, "en"))
    first = torch.autograd.grad(out.square().sum(), list(leaves.values()), create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), list(leaves.values()))
    assert all(g.isfinite().all() for g in (*first, *second))


def test_layers_hold_no_parameters_and_casting_keeps_them(family: Any) -> None:
    for layer in family.encoder.layers:
        assert not list(layer.parameters())
        copy = layer.cast(torch.bfloat16)
        assert type(copy) is type(layer)
        assert {n: b.dtype for n, b in copy.named_buffers()} == {
            n: torch.bfloat16 for n, _ in layer.named_buffers()
        }
        assert layer.qkv.dtype == torch.float32


def test_adapters_have_a_place_in_adapterhubs_files(family: Any) -> None:
    modules = dict(family.model.named_modules())
    for place in family.encoder.family.adapters_at.values():
        # `adapters` adds ..._adapters modules to some families; what they are added to is there.
        assert (
            place.format(layer=2).removesuffix(".output_adapters").removesuffix(".attention_adapters")
            in modules
        )


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    yield


def test_registering_a_family(own_registry: None) -> None:
    @register
    class Electra(Bert):
        model_types = ("electra",)

    config = AutoConfig.for_model("electra")
    assert isinstance(family_of(config.model_type), Electra)
    assert isinstance(check_family("x", config), Family)
    assert "electra" in families()


def test_a_family_has_to_say_what_its_layers_are(own_registry: None) -> None:
    with pytest.raises(TypeError, match="abstract"):

        @register
        class Nothing(Family):
            model_types = ("nothing",)

    assert "nothing" not in families()


def test_unknown_family_and_unsupported_kind_are_one_clear_line() -> None:
    with pytest.raises(UserError, match=r"'x' is of the family 'gpt2'.*use one of bert, .*docs/encoders\.md"):
        check_family("x", AutoConfig.for_model("gpt2"))
    with pytest.raises(UserError, match=r"'x' has a convolution beside its first layer \(encoder\.name\)"):
        check_family("x", AutoConfig.for_model("deberta-v2", relative_attention=True, conv_kernel_size=3))


def test_a_layer_without_forward_says_so() -> None:
    with pytest.raises(NotImplementedError):
        FrozenLayer(1, {"qkv": torch.zeros(3, 1)})(torch.zeros(1, 1), None)
