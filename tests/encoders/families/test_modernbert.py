"""Rotary positions, windows, and what adapters see before a LayerNorm."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tests.encoders.conftest import make_family
from torch import Tensor

from metaxcr.encoders.encoder import Text, TokenizedText
from metaxcr.encoders.families.modernbert import ModernBert, neighbours, rotation
from metaxcr.encoders.layer import AdapterStack, Norm
from metaxcr.encoders.loading import wrap
from metaxcr.encoders.tokens import HubTokenizer
from metaxcr.errors import UserError


def test_angles_by_hand() -> None:
    cos, sin = rotation(3, 4, 100.0)
    angles = torch.tensor([[0.0, 0.0], [1.0, 0.1], [2.0, 0.2]])
    assert torch.allclose(cos, angles.cos().repeat(1, 2))
    assert torch.allclose(sin, angles.sin().repeat(1, 2))


def test_products_depend_on_the_distance_alone() -> None:
    from metaxcr.encoders.families.modernbert import _rotate

    q, k = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0)).expand(2, 12, 8)
    scores = _rotate(q, *rotation(12, 8, 50.0)) @ _rotate(k, *rotation(12, 8, 50.0)).T
    for distance in (-3, 0, 5):
        along = scores.diagonal(distance)
        assert torch.allclose(along, along[:1].expand_as(along), atol=1e-5)
    assert not torch.allclose(scores[0, 3], scores[3, 0], atol=1e-2)


def test_window_includes_its_edge() -> None:
    near, own = neighbours(5, 2)
    assert near[0].tolist() == [True, True, True, False, False]
    assert torch.equal(own, torch.eye(5, dtype=torch.bool))


@pytest.mark.parametrize(
    "settings",
    [
        {"norm_bias": True, "mlp_bias": True, "attention_bias": True},
        {"global_attn_every_n_layers": 1},
        {"global_attn_every_n_layers": 2, "local_attention": 128},
    ],
    ids=["biases", "global", "wide"],
)
def test_other_kinds_of_the_family_equal_the_model(settings: dict[str, Any], padded_forward: Any) -> None:
    family = make_family("modernbert", **settings)
    ids = [list(range(4, 24)), [5, 6], list(range(10, 4, -1))]
    tokenized = [TokenizedText(row, [0] * len(row), len(row)) for row in ids]
    encoder = family.encoder
    ours = encoder.run(encoder.embed(tokenized), 0, 3, torch.float32)
    assert torch.allclose(ours, padded_forward(family.model, tokenized), atol=1e-5)


def test_adapters_see_the_normalised_input_in_place_of_the_residual() -> None:
    """As in `adapters` 1.3.0: LN(h) + o, where post-LayerNorm families show LN(h + o)."""
    encoder = make_family("modernbert").encoder
    seen: dict[str, Tensor] = {}

    class Recorder(AdapterStack):
        def projections(self, hidden: Tensor, qkv: Tensor) -> Tensor:
            seen["entered"] = hidden
            return qkv

        def attended(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
            seen["after attention"], seen["attention"] = norm(z), output
            return z

        def feed_forward(self, hidden: Tensor, output: Tensor) -> Tensor:
            seen["fed"] = hidden
            return output

        def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
            seen["after feed-forward"], seen["made"] = norm(z), output
            moved = norm(z + 1.0) - norm(z)
            assert torch.allclose(moved, torch.ones_like(z), atol=1e-5)  # for the next adapter of a stack
            return z

    hidden, context = encoder.enter(encoder.embed(encoder.tokenize([Text("water boils")], 8)), torch.float32)
    layer: Any = encoder.layer(1, torch.float32)
    layer(hidden, context, Recorder())
    normed = torch.nn.functional.layer_norm
    assert torch.allclose(seen["entered"], normed(hidden, (32,), layer.norm1, None, layer.eps), atol=1e-5)
    assert torch.allclose(seen["after feed-forward"], seen["made"] + seen["fed"], atol=1e-5)
    inner = seen["attention"] + seen["entered"]
    assert torch.allclose(
        seen["after attention"], normed(inner, (32,), layer.norm2, None, layer.eps), atol=1e-4
    )


def test_stretched_rotary_positions_are_refused() -> None:
    rope = {"rope_type": "linear", "factor": 2.0, "rope_theta": 100.0}
    with pytest.raises(UserError, match="rotary positions of the kind linear"):
        make_family("modernbert", rope_parameters={"full_attention": rope, "sliding_attention": dict(rope)})


REFERENCE = Path(__file__).parent / "reference" / "modernbert.safetensors"  # by make_modernbert.py beside it


class Reference(AdapterStack):
    """Adapters as in AdapterHub's files, one layer of them."""

    def __init__(self, kind: str, layer: int, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.kind, self.layer, self.state = kind, layer, state

    def _adapter(self, x: Tensor, place: str, name: str, act: Any = F.relu) -> Tensor:
        at = ModernBert.adapters_at[place].format(layer=self.layer)
        down, up = (f"state.{at}.adapters.{name}.{part}" for part in ("adapter_down.0", "adapter_up"))
        inner = act(F.linear(x, self.state[f"{down}.weight"], self.state[f"{down}.bias"]))
        return F.linear(inner, self.state[f"{up}.weight"], self.state[f"{up}.bias"])

    def attended(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
        return z + self._adapter(output, "attended", "houlsby", F.silu) if self.kind == "houlsby" else z

    def feed_forward(self, hidden: Tensor, output: Tensor) -> Tensor:
        scaling = 4.0  # the library's default
        if self.kind != "parallel":
            return output
        return output + scaling * self._adapter(hidden, "output", "parallel")

    def output(self, z: Tensor, output: Tensor, norm: Norm) -> Tensor:
        if self.kind == "houlsby":
            return z + self._adapter(output, "output", "houlsby", F.silu)
        for name in ("one", "two") if self.kind == "stack" else ():
            z = z + self._adapter(norm(z), "output", name)
        return z


@pytest.mark.parametrize("kind", ["none", "stack", "houlsby", "parallel"])
def test_adapters_compute_what_the_adapters_library_does(kind: str) -> None:
    state = load_file(REFERENCE)
    settings = {"vocab_size": 16, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    family = make_family("modernbert", **settings)
    weights = {k.removeprefix("state.").replace(".base_layer", ""): v for k, v in state.items()}
    own = family.model.state_dict()
    family.model.load_state_dict({name: weights[name] for name in own})
    encoder = wrap("modernbert", family.model, HubTokenizer(family.tokenizer), prefix="", fingerprint="")
    ids = state["ids"][0].tolist()
    hidden, context = encoder.enter(encoder.embed([TokenizedText(ids, [0] * 12, 12)]), torch.float32)
    for index in range(encoder.depth):
        hidden = encoder.layer(index, torch.float32)(hidden, context, Reference(kind, index, state))
    assert torch.allclose(hidden[:12], state[f"out.{kind}"], atol=1e-5)
    if kind != "none":
        assert not torch.allclose(state[f"out.{kind}"], state["out.none"], atol=1e-2)
