"""AdapterHub's format: configurations and tensor names, of 2020 and of now."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metaxcr.adapters.adapterhub import (
    AdapterConfig,
    adapter_paths,
    from_hub,
    layer_numbers,
    legacy_role,
    read_config,
    to_hub,
    write_config,
)
from metaxcr.adapters.layers import AdapterShape
from metaxcr.errors import UserError

PARTS = ("down.weight", "down.bias", "up.weight", "up.bias")
OURS = {  # kind -> names of a layer's parameters
    "pfeiffer": PARTS,
    "parallel": PARTS,
    "houlsby": tuple(f"{place}.{p}" for place in ("after_attention", "after_feed_forward") for p in PARTS),
    "lora": tuple(f"{place}.{p}.weight" for place in ("query", "value") for p in ("down", "up")),
}


def raw(config: Any, **changes: Any) -> dict[str, Any]:
    return {"name": "a", "hidden_size": 768, "config": config, **changes}


@pytest.mark.parametrize(
    ("name", "shape", "invertible"),
    [
        ("pfeiffer", AdapterShape("pfeiffer", 48), None),
        ("seq_bn_inv", AdapterShape("pfeiffer", 48), 2),
        ("houlsby+inv", AdapterShape("houlsby", 48, "swish"), 2),
        ("par_bn", AdapterShape("parallel", 384, scaling=4.0), None),
        ("lora", AdapterShape("lora", 8), None),
    ],
)
def test_configurations_by_name(name: str, shape: AdapterShape, invertible: float | None) -> None:
    config = read_config(raw(name, type="text_lang", model_name="m", model_type="bert"), "f")
    assert (config.shape, config.invertible) == (shape, invertible)
    assert (config.role, config.encoder, config.family, config.layers) == ("language", "m", "bert", None)


def test_the_spelling_of_2020() -> None:
    old = {
        "LN_after": False, "LN_before": False, "MH_Adapter": True, "Output_Adapter": True,
        "original_ln_before": False, "non_linearity": "gelu", "reduction_factor": 16,
        "invertible_adapter": {"block_type": "nice", "non_linearity": "relu", "reduction_factor": 2},
    }  # fmt: skip
    config = read_config(raw(old), "f")
    assert (config.shape, config.invertible) == (AdapterShape("houlsby", 48, "gelu_new"), 2)
    assert config.role == ""
    del old["invertible_adapter"]
    now = read_config(raw(old, version="adapters.1.0.0"), "f")
    assert (now.shape.nonlinearity, now.invertible) == ("gelu", None)


@pytest.mark.parametrize(
    ("version", "scaling"), [("adapters.1.0.1", 1.0), ("adapters.1.1.0", 4.0), (None, 4.0)]
)
def test_lora_was_not_scaled_before_1_1(version: str | None, scaling: float) -> None:
    lora = {"architecture": "lora", "r": 4, "alpha": 16}
    assert read_config(raw(lora, version=version), "f").shape == AdapterShape("lora", 4, "relu", scaling)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("mam", "unknown adapter configuration 'mam'"),
        ([], "no mapping"),
        ({"architecture": "prefix_tuning"}, "'prefix_tuning' are not supported"),
        ({"architecture": "lora", "r": 4, "alpha": 16, "use_dora": True}, "use_dora True"),
        ({"non_linearity": "relu", "reduction_factor": 16, "mine": 1}, "unknown key 'mine'"),
        ({"non_linearity": "relu", "reduction_factor": 16, "use_gating": True}, "use_gating True"),
        ({"non_linearity": "relu", "reduction_factor": 0}, "reduction_factor is 0"),
        ({"non_linearity": "relu", "reduction_factor": {"x": 2}}, "malformed"),
        ({"non_linearity": "relu", "reduction_factor": 2, "inv_adapter": "glow"}, "'glow' are not supported"),
        ({"non_linearity": "relu", "reduction_factor": 2, "leave_out": 3}, "leave_out is no list"),
        ({"reduction_factor": 16}, "lacks 'non_linearity'"),
    ],
)
def test_what_is_not_supported_is_one_clear_line(config: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_config(raw(config), "f")


@pytest.mark.parametrize("content", [[], {}, None, {"name": "a", "hidden_size": 768}, raw("lora", name=3)])
def test_what_is_no_configuration_is_one_clear_line(content: Any) -> None:
    with pytest.raises(UserError, match=r"lacks|malformed|no text"):
        read_config(content, "f")


@pytest.mark.parametrize("kind", OURS)
def test_what_is_written_is_read(kind: str) -> None:
    shape = AdapterShape(kind, 24, "relu" if kind == "lora" else "swish", 0.5)
    config = AdapterConfig("a", "task", "m", "bert", 768, shape, leave_out=[0, 3])
    assert read_config(write_config(config), "f") == config
    if kind != "lora":
        wider = replace(config, bottlenecks={1: 7}, invertible=2.0)
        assert read_config(write_config(wider), "f") == wider


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_the_reduction_gives_the_bottleneck_again(width: int, bottleneck: int) -> None:
    """The library divides and rounds down: 768 // 3.2 is 239, not 240."""
    bottleneck = min(width, bottleneck)
    config = AdapterConfig("a", "task", "", "", width, AdapterShape("pfeiffer", bottleneck))
    written = write_config(config)
    assert int(width // written["config"]["reduction_factor"]) == bottleneck
    assert read_config(written, "f").shape.bottleneck == bottleneck


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "distilbert", "modernbert", "unknown"])
@pytest.mark.parametrize("kind", OURS)
def test_tensors_go_out_and_come_back(kind: str, family: str) -> None:
    at = adapter_paths(family)
    layers = {i: {n: torch.tensor([i, k]) for k, n in enumerate(OURS[kind])} for i in (0, 11)}
    front = {f"{net}.{part}": torch.tensor(len(part)) for net in "FG" for part in PARTS}
    tensors = to_hub(kind, "a.b", layers, front, at)
    assert len(tensors) == 2 * len(OURS[kind]) + 8
    for prefix in ("", "bert.", "roberta.model."):
        found, invertible = from_hub(kind, "a.b", {prefix + k: t for k, t in tensors.items()}, "f", at)
        assert found == layers and invertible == front


@pytest.mark.parametrize("role", ["task", "lang"])
def test_tensor_names_of_2020(role: str) -> None:
    named = {
        f"bert.encoder.layer.3.output.layer_text_{role}_adapters.a.adapter_up.bias": torch.ones(1),
        f"bert.encoder.layer.3.attention.output.attention_text_{role}_adapters.a.adapter_up.bias": torch.ones(
            2
        ),
        f"bert.invertible_{role}_adapters.a.F.0.bias": torch.ones(3),
    }
    layers, front = from_hub("houlsby", "a", named, "f", adapter_paths("bert"))
    assert {name: len(tensor) for name, tensor in layers[3].items()} == {
        "after_feed_forward.up.bias": 1,
        "after_attention.up.bias": 2,
    }
    assert front.keys() == {"F.down.bias"}
    assert legacy_role(named) == {"task": "task", "lang": "language"}[role]
    assert legacy_role({"encoder.layer.0.output.adapters.a.adapter_up.bias": torch.ones(1)}) == ""


@pytest.mark.parametrize("key", ["encoder.layer.0.output.adapters.b.adapter_up.bias", "pooler", "layer.x.up"])
def test_a_tensor_without_a_place_is_refused(key: str) -> None:
    with pytest.raises(UserError, match="has no place in an adapter 'a' of kind pfeiffer"):
        from_hub("pfeiffer", "a", {key: torch.ones(1)}, "f", adapter_paths("bert"))


@pytest.mark.parametrize("layers", ["all", [1.5], [-1], [10**9], [True]])
def test_lists_of_layers_are_checked(layers: Any) -> None:
    assert layer_numbers([3, 0], "layers", "f") == [3, 0]
    with pytest.raises(UserError, match="layers"):
        layer_numbers(layers, "layers", "f")
