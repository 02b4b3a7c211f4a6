"""Adapters on disk in AdapterHub's layout."""

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from metaxcr.adapters.adapter_files import (
    CONFIG,
    NATIVE_CONFIG,
    NATIVE_WEIGHTS,
    PICKLED,
    WEIGHTS,
    load_language,
    load_task,
    pack_adapter,
    read_adapter,
    save_language,
    write_adapter,
)
from metaxcr.adapters.import_export import export_adapter
from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.adapters.layers import AdapterShape, FullLayer, LayerAdapter, build_layer
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError


def randomise(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, generator=generator)


def layers_of(kind: str = "pfeiffer", indices: tuple[int, ...] = (1, 2)) -> dict[int, LayerAdapter]:
    """Random weights for some layers of the toy encoder."""
    shape = AdapterShape(kind, 5, "relu" if kind == "lora" else "swish", 0.5)
    layers = {i: build_layer(16, shape, torch.Generator()) for i in indices}
    for layer in layers.values():
        randomise(layer)
    return layers


def language(encoder: FrozenEncoder) -> LanguageAdapter:
    adapter = LanguageAdapter.create(encoder, torch.Generator().manual_seed(0))
    randomise(adapter)
    return adapter


@pytest.fixture
def folder(tmp_path: Path, toy_encoder: FrozenEncoder) -> Path:
    """One task adapter on disk."""
    write_adapter(tmp_path / "a" / "b", pack_adapter("copa", "task", layers_of(), toy_encoder))
    return tmp_path / "a" / "b"


@pytest.mark.parametrize("kind", ["pfeiffer", "houlsby", "parallel", "lora"])
@pytest.mark.parametrize("pickled", [False, True])
def test_round_trip(tmp_path: Path, toy_encoder: FrozenEncoder, kind: str, pickled: bool) -> None:
    layers = layers_of(kind)
    write_adapter(tmp_path, pack_adapter("copa", "task", layers, toy_encoder), pickled=pickled)
    if pickled:
        (tmp_path / WEIGHTS).unlink()
    loaded = load_task(tmp_path, toy_encoder)
    assert sorted(loaded) == [1, 2]
    for i, adapter in loaded.items():
        assert adapter.shape == layers[i].shape
        for (name, tensor), (other, expected) in zip(
            adapter.named_parameters(), layers[i].named_parameters(), strict=True
        ):
            assert name == other
            assert torch.equal(tensor, expected)


def test_a_language_adapter_makes_the_round_trip(tmp_path: Path, toy_encoder: FrozenEncoder) -> None:
    adapter = language(toy_encoder)
    save_language(tmp_path, "sw", adapter, toy_encoder)
    loaded = load_language(tmp_path, toy_encoder)
    assert loaded.checksum(3) == adapter.checksum(3)
    assert {n: p.shape for n, p in loaded.named_parameters()} == {
        n: p.shape for n, p in adapter.named_parameters()
    }
    config = json.loads((tmp_path / CONFIG).read_text(encoding="utf-8"))
    assert (config["type"], config["config"]["inv_adapter"]) == ("text_lang", "nice")
    assert config["config"]["reduction_factor"] == 2
    assert "invertible_adapters.sw.G.2.bias" in load_file(tmp_path / WEIGHTS)


def test_layers_of_different_widths_make_the_round_trip(tmp_path: Path, toy_encoder: FrozenEncoder) -> None:
    layers = {
        i: build_layer(16, AdapterShape("pfeiffer", w), torch.Generator()) for i, w in enumerate((5, 7, 5))
    }
    write_adapter(tmp_path, pack_adapter("copa", "task", layers, toy_encoder))
    loaded = load_task(tmp_path, toy_encoder)
    assert [loaded[i].shape.bottleneck for i in range(3)] == [5, 7, 5]


def test_names_and_settings_are_adapterhubs(folder: Path) -> None:
    """As `adapters` 1.x writes a Pfeiffer (seq_bn) adapter."""
    tensors = load_file(folder / WEIGHTS)
    assert sorted(tensors) == [
        f"encoder.layer.{layer}.output.adapters.copa.{part}"
        for layer in (1, 2)
        for part in ("adapter_down.0.bias", "adapter_down.0.weight", "adapter_up.bias", "adapter_up.weight")
    ]
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    assert (config["name"], config["hidden_size"], config["model_name"]) == ("copa", 16, "toy")
    placement = {"mh_adapter": False, "output_adapter": True, "original_ln_before": True,
                 "original_ln_after": True, "residual_before_ln": True, "adapter_residual_before_ln": False,
                 "ln_before": False, "ln_after": False, "non_linearity": "swish"}  # fmt: skip
    assert placement.items() <= config["config"].items()
    assert config["config"]["leave_out"] == [0]
    assert 16 // config["config"]["reduction_factor"] == 5


def test_a_name_with_points_gets_underscores(tmp_path: Path, toy_encoder: FrozenEncoder) -> None:
    write_adapter(tmp_path, pack_adapter("target.xcopa.sw", "task", layers_of(), toy_encoder))
    assert read_adapter(tmp_path).config.name == "target_xcopa_sw"


def test_names_with_the_models_prefix_are_read_too(folder: Path, toy_encoder: FrozenEncoder) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({f"roberta.{k}": v for k, v in tensors.items()}, folder / WEIGHTS)
    assert sorted(load_task(folder, toy_encoder)) == [1, 2]


def edit_config(folder: Path, change: Callable[[dict], object]) -> None:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    change(config)
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")


def test_folders_of_the_packages_first_version_are_read(folder: Path, toy_encoder: FrozenEncoder) -> None:
    def old(config: dict) -> None:
        for key in ("version", "type", "model_type"):
            del config[key]
        for key in ("leave_out", "is_parallel", "use_gating", "cross_adapter", "phm_layer"):
            del config["config"][key]
        config["config"].update(layers=[1, 2], non_linearity="gelu")

    edit_config(folder, old)
    loaded = load_task(folder, toy_encoder)
    assert loaded[2].shape == AdapterShape("pfeiffer", 5, "gelu", 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["config"].update(inv_adapter="nice", inv_adapter_reduction_factor=2), None),
        (lambda c: c.update(hidden_size=768), r"width 768\) does not fit toy \(width 16\).*made for toy"),
        (lambda c: c.update(model_name="xlm-roberta-base"), "made for xlm-roberta-base, the encoder is toy"),
        (lambda c: c["config"].update(non_linearity="tanh"), "'tanh' is not supported"),
        (lambda c: c["config"].update(leave_out=[]), r"in layers \[1, 2\], not in \[0, 1, 2\]"),
        (lambda c: c["config"].update(leave_out=[0, 1]), r"in layers \[1, 2\], not in \[2\]"),
        (lambda c: c["config"].update(reduction_factor=2), "layer 1 are incomplete or misshapen"),
        (lambda c: c["config"].update(colour="red"), "unknown key 'colour'"),
        (lambda c: c["config"].update(use_gating=True), "not supported: use_gating True"),
        (lambda c: c["config"].update(architecture="prefix_tuning"), "kind 'prefix_tuning' are not"),
        (lambda c: c["config"].update(scaling="learned"), "learned scaling is not supported"),
        (lambda c: c.update(name="other"), "has no place in an adapter 'other'"),
        (lambda c: c.update(type="text_lang"), "a language adapter was given as a task adapter"),
        (lambda c: c["config"].pop("reduction_factor"), r"lacks 'reduction_factor' .*adapter_config\.json"),
        (lambda c: c.pop("name"), "lacks 'name'"),
        (lambda c: c.update(config=None), "no mapping"),
        (lambda c: c.update(config="compacter"), "unknown adapter configuration 'compacter'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    folder: Path, toy_encoder: FrozenEncoder, change: Callable[[dict], object], message: str | None
) -> None:
    edit_config(folder, change)
    if message is None:  # task adapters of 2020 name an invertible part that they never had
        assert sorted(load_task(folder, toy_encoder)) == [1, 2]
        return
    with pytest.raises(UserError, match=message):
        load_task(folder, toy_encoder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, k: t.pop(k), "layer 2 are incomplete"),
        (lambda t, k: t.update({k: torch.ones(1)}), "layer 2 are incomplete or misshapen"),  # would broadcast
        (lambda t, k: t.update({k.replace(".2.", ".3."): t[k].clone()}), r"in layers \[1, 2, 3\], not in"),
        (lambda t, k: t.update({k.replace("adapter_up", "gate"): t[k].clone()}), "has no place"),
        (lambda t, k: t.update({k.replace(".2.", ".x."): t[k].clone()}), "has no place"),
        (lambda t, k: t.update({"heads.copa.weight": t[k].clone()}), "has no place"),
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
        load_task(folder, toy_encoder)


def test_a_task_adapter_is_no_language_adapter(folder: Path, toy_encoder: FrozenEncoder) -> None:
    with pytest.raises(UserError, match="a task adapter was given as a language adapter"):
        load_language(folder, toy_encoder)


def test_an_invertible_part_must_be_there_and_be_named(tmp_path: Path, toy_encoder: FrozenEncoder) -> None:
    save_language(tmp_path, "sw", language(toy_encoder), toy_encoder)
    tensors = load_file(tmp_path / WEIGHTS)
    kept = {k: t for k, t in tensors.items() if "invertible" not in k}
    save_file(kept, tmp_path / WEIGHTS)
    with pytest.raises(UserError, match="lacks an invertible part"):
        load_language(tmp_path, toy_encoder)
    save_file(tensors, tmp_path / WEIGHTS)
    edit_config(tmp_path, lambda c: c["config"].update(inv_adapter=None))
    with pytest.raises(UserError, match="has an invertible part"):
        load_language(tmp_path, toy_encoder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("missing", [True, False])
def test_unreadable_files_are_one_clear_line(
    folder: Path, toy_encoder: FrozenEncoder, name: str, missing: bool
) -> None:
    (folder / name).unlink() if missing else (folder / name).write_text("{")
    with pytest.raises(UserError, match=f": an adapter needs {CONFIG} and {WEIGHTS}") as told:
        load_task(folder, toy_encoder)
    assert "\n" not in str(told.value)


class Malicious:
    """Its pickle makes a folder."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("pwned",)


def test_a_pickle_with_code_is_refused_and_not_run(
    folder: Path, toy_encoder: FrozenEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / WEIGHTS).unlink()
    for write in (
        lambda f: torch.save({"x": Malicious()}, f),
        lambda f: pickle.dump(Malicious(), f, protocol=2),
    ):
        with (folder / PICKLED).open("wb") as file:
            write(file)
        with pytest.raises(
            UserError, match="holds more than tensors, such as code, which is not run"
        ) as told:
            load_task(folder, toy_encoder)
        assert "\n" not in str(told.value)
    assert not (tmp_path / "pwned").exists()


def test_a_truncated_pickle_is_one_clear_line(folder: Path, toy_encoder: FrozenEncoder) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / PICKLED)
    (folder / WEIGHTS).unlink()
    data = (folder / PICKLED).read_bytes()
    for size in (0, 10, len(data) // 2, len(data) - 20):
        (folder / PICKLED).write_bytes(data[:size])
        with pytest.raises(UserError, match=r"cannot read the tensors|more than tensors") as told:
            load_task(folder, toy_encoder)
        assert "\n" not in str(told.value)
    torch.save([1, 2], folder / PICKLED)
    with pytest.raises(UserError, match="not a dictionary of tensors"):
        load_task(folder, toy_encoder)


def test_an_encoder_in_a_folder_has_no_name_to_compare(
    folder: Path, toy_encoder: FrozenEncoder, tmp_path: Path
) -> None:
    local = replace(toy_encoder, name=str(tmp_path))
    assert sorted(load_task(folder, local)) == [1, 2]


@pytest.fixture
def native_folder(tmp_path: Path, toy_encoder: FrozenEncoder) -> Path:
    """Changes of two layers, at random."""
    layers = {i: FullLayer.of(toy_encoder.original(i)) for i in (1, 2)}
    for n, parameter in enumerate(p for layer in layers.values() for p in layer.parameters()):
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(n))
    write_adapter(tmp_path / "a", pack_adapter("copa", "task", layers, toy_encoder))
    return tmp_path / "a"


def test_native_round_trip(native_folder: Path, toy_encoder: FrozenEncoder) -> None:
    assert sorted(path.name for path in native_folder.iterdir()) == [NATIVE_WEIGHTS, NATIVE_CONFIG]
    tensors, loaded = load_file(native_folder / NATIVE_WEIGHTS), load_task(native_folder, toy_encoder)
    assert sorted(loaded) == [1, 2]
    for index, layer in loaded.items():
        assert layer.shape.kind == "full"
        for name, parameter in layer.named_parameters():
            assert torch.equal(tensors.pop(f"{index}.{name}"), parameter)
    assert not tensors


def test_no_adapter_makes_the_round_trip(tmp_path: Path, toy_encoder: FrozenEncoder) -> None:
    write_adapter(tmp_path, pack_adapter("copa", "task", {}, toy_encoder))
    assert [path.name for path in tmp_path.iterdir()] == [NATIVE_CONFIG]
    assert load_task(tmp_path, toy_encoder) == {}


def test_adapterhub_and_language_adapters_are_something_else(
    native_folder: Path, tmp_path: Path, toy_encoder: FrozenEncoder
) -> None:
    with pytest.raises(UserError, match=r"no format for the kind 'full'.*metaxcr export"):
        export_adapter(native_folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="a task adapter was given as a language adapter"):
        load_language(native_folder, toy_encoder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.pop("layers"), "malformed"),
        (lambda raw: raw.update(layers="top"), "layers is no list of layers"),
        (lambda raw: raw.update(layers=[]), "unknown version or kind"),
        (lambda raw: raw.update(version=2), "unknown version or kind"),
        (lambda raw: raw.update(kind="pfeiffer"), "unknown version or kind"),
        (lambda raw: raw.update(layers=[0, 1]), r"weights in layers \[1, 2\], not in \[0, 1\]"),
        (lambda raw: raw.update(model_name="bert-base-uncased", hidden_size=768), "does not fit toy"),
        (lambda raw: raw.update(model_type="xlm-roberta"), "made for toy"),
    ],
)
def test_a_wrong_native_configuration_is_one_clear_line(
    native_folder: Path, toy_encoder: FrozenEncoder, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    raw = json.loads((native_folder / NATIVE_CONFIG).read_text(encoding="utf-8"))
    change(raw)
    (native_folder / NATIVE_CONFIG).write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_task(native_folder, toy_encoder)


@pytest.mark.parametrize("damage", ["missing", "cut", "name", "place", "shape", "incomplete"])
def test_damaged_native_weights_are_one_clear_line(
    native_folder: Path, toy_encoder: FrozenEncoder, damage: str
) -> None:
    path = native_folder / NATIVE_WEIGHTS
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    one = tensors.pop("1.delta.qkv")
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        other = {"name": "1.delta.mine", "place": "top.delta.qkv", "shape": "1.delta.qkv"}
        more = (
            {} if damage == "incomplete" else {other[damage]: one[:3].clone() if damage == "shape" else one}
        )
        save_file({**tensors, **more}, path)
    with pytest.raises(UserError, match=r"cannot read the tensors|no such file|no place|incomplete"):
        load_task(native_folder, toy_encoder)
