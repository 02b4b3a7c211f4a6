"""Adapters on disk in AdapterHub's layout, and the account of parameters."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertConfig, BertModel

from metaxcr.adapters.bottleneck import Bottleneck
from metaxcr.adapters.store import CONFIG, WEIGHTS, load_adapter, parameter_account, save_adapter
from metaxcr.encoders.base import FrozenEncoder
from metaxcr.encoders.load import wrap
from metaxcr.errors import UserError

PARTS = ("down.weight", "down.bias", "up.weight", "up.bias")


@pytest.fixture
def layers() -> dict[int, dict[str, Tensor]]:
    """Random weights for two layers of the toy encoder."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"down.weight": (5, 16), "down.bias": (5,), "up.weight": (16, 5), "up.bias": (16,)}
    return {i: {part: torch.randn(shapes[part], generator=generator) for part in PARTS} for i in (1, 2)}


@pytest.fixture
def folder(tmp_path: Path, layers: dict[int, dict[str, Tensor]]) -> Path:
    """One adapter on disk."""
    save_adapter(tmp_path / "a" / "b", "copa", layers, width=16, nonlinearity="swish", encoder="toy")
    return tmp_path / "a" / "b"


def test_round_trip(folder: Path, layers: dict[int, dict[str, Tensor]], toy_encoder: FrozenEncoder) -> None:
    loaded = load_adapter(folder, toy_encoder)
    assert sorted(loaded) == [1, 2]
    for layer, parts in layers.items():
        assert loaded[layer].nonlinearity == "swish"
        for part, tensor in parts.items():
            assert torch.equal(loaded[layer].get_parameter(part), tensor)


def test_names_and_settings_are_adapterhubs(folder: Path, layers: dict[int, dict[str, Tensor]]) -> None:
    """As `adapters` 1.x writes a Pfeiffer (seq_bn) adapter."""
    tensors = load_file(folder / WEIGHTS)
    assert sorted(tensors) == [
        f"encoder.layer.{layer}.output.adapters.copa.{part}"
        for layer in (1, 2)
        for part in ("adapter_down.0.bias", "adapter_down.0.weight", "adapter_up.bias", "adapter_up.weight")
    ]
    down = tensors["encoder.layer.2.output.adapters.copa.adapter_down.0.weight"]
    assert torch.equal(down, layers[2]["down.weight"])
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    assert (config["name"], config["hidden_size"], config["model_name"]) == ("copa", 16, "toy")
    placement = {"mh_adapter": False, "output_adapter": True, "original_ln_before": True,
                 "original_ln_after": True, "residual_before_ln": True, "adapter_residual_before_ln": False,
                 "ln_before": False, "ln_after": False, "non_linearity": "swish"}  # fmt: skip
    assert placement.items() <= config["config"].items()
    assert config["config"]["reduction_factor"] == pytest.approx(16 / 5)


def test_names_with_the_models_prefix_are_read_too(folder: Path, toy_encoder: FrozenEncoder) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({f"roberta.{k}": v for k, v in tensors.items()}, folder / WEIGHTS)
    assert sorted(load_adapter(folder, toy_encoder)) == [1, 2]


def edit_config(folder: Path, change: Callable[[dict], object]) -> None:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    change(config)
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["config"].update(inv_adapter="nice"), "invertible part"),
        (lambda c: c.update(hidden_size=768), "width 768.* does not fit toy"),
        (lambda c: c["config"].update(non_linearity="tanh"), "tanh.* does not fit toy"),
        (lambda c: c["config"].update(layers=[0, 1, 2]), r"weights in layers \[1, 2\], not in \[0, 1, 2\]"),
        (lambda c: c["config"].update(reduction_factor=2), "layer 1 are incomplete or misshapen"),
        (lambda c: c.update(name="other"), "has no place in toy"),
        (lambda c: c["config"].pop("reduction_factor"), r"lacks 'reduction_factor' .*adapter_config\.json"),
        (lambda c: c.pop("name"), "lacks 'name'"),
        (lambda c: c.update(config=None), "cannot read an adapter"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    folder: Path, toy_encoder: FrozenEncoder, change: Callable[[dict], object], message: str
) -> None:
    edit_config(folder, change)
    with pytest.raises(UserError, match=message):
        load_adapter(folder, toy_encoder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, k: t.pop(k), "layer 2 are incomplete"),
        (lambda t, k: t.update({k: torch.ones(1)}), "layer 2 are incomplete or misshapen"),  # would broadcast
        (lambda t, k: t.update({k.replace(".2.", ".3."): t[k].clone()}), "has no place"),
        (lambda t, k: t.update({k.replace("adapter_up", "gate"): t[k].clone()}), "has no place"),
        (lambda t, k: t.update({k.replace(".2.", ".x."): t[k].clone()}), "has no place"),
        (lambda t, k: t.clear(), r"weights in layers \[\]"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    folder: Path, toy_encoder: FrozenEncoder, change: Callable[[dict, str], object], message: str
) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors, "encoder.layer.2.output.adapters.copa.adapter_up.bias")
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(UserError, match=message):
        load_adapter(folder, toy_encoder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("missing", [True, False])
def test_unreadable_files_are_one_clear_line(
    folder: Path, toy_encoder: FrozenEncoder, name: str, missing: bool
) -> None:
    (folder / name).unlink() if missing else (folder / name).write_text("{")
    with pytest.raises(UserError, match=f"cannot read an adapter.*it needs {CONFIG} and {WEIGHTS}"):
        load_adapter(folder, toy_encoder)


def test_account_of_the_paper(toy_encoder: FrozenEncoder) -> None:
    """M-BERT's size, bottleneck 154 in all 12 layers: the 1.6 % of the paper."""
    with torch.device("meta"):
        model = BertModel(BertConfig(vocab_size=119547))
    # The encoder's tensors need no storage to be counted.
    encoder = wrap("mbert", model, toy_encoder.tokenizer, prefix="", fingerprint="")
    bottleneck = Bottleneck(768, 154, "relu", torch.Generator())
    trained = 12 * sum(p.numel() for p in bottleneck.parameters())
    account = parameter_account(trained, encoder)
    assert account == {
        "trained": 2_849_592,
        "encoder": 177_853_440,
        "share": 0.016022,
        "share_without_embeddings": round(2_849_592 / (177_853_440 - 92_209_152), 6),
    }


def test_account_without_embeddings(toy_encoder: FrozenEncoder) -> None:
    embeddings = 128 * 16 + 64 * 16 + 2 * 16 + 2 * 16
    layer = 4 * (16 * 16 + 16) + 2 * 16 * 32 + 32 + 16 + 4 * 16
    account = parameter_account(100, toy_encoder)
    assert account["encoder"] == embeddings + 3 * layer
    assert account["share_without_embeddings"] == round(100 / (3 * layer), 6)
