"""The package's own files of what AdapterHub has no format for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from metaxcr.adapters.adapter_files import load_language, load_task, pack, write_adapter
from metaxcr.adapters.import_export import export_adapter
from metaxcr.adapters.layers import FullLayer
from metaxcr.adapters.native_format import CONFIG, WEIGHTS
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, toy_encoder: FrozenEncoder) -> Path:
    """Changes of two layers, at random."""
    layers = {i: FullLayer.of(toy_encoder.original(i)) for i in (1, 2)}
    for n, parameter in enumerate(p for layer in layers.values() for p in layer.parameters()):
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(n))
    write_adapter(tmp_path / "a", pack("copa", "task", layers, toy_encoder))
    return tmp_path / "a"


def test_round_trip(folder: Path, toy_encoder: FrozenEncoder) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [WEIGHTS, CONFIG]
    tensors, loaded = load_file(folder / WEIGHTS), load_task(folder, toy_encoder)
    assert sorted(loaded) == [1, 2]
    for index, layer in loaded.items():
        assert layer.shape.kind == "full"
        for name, parameter in layer.named_parameters():
            assert torch.equal(tensors.pop(f"{index}.{name}"), parameter)
    assert not tensors


def test_no_adapter_makes_the_round_trip(tmp_path: Path, toy_encoder: FrozenEncoder) -> None:
    write_adapter(tmp_path, pack("copa", "task", {}, toy_encoder))
    assert [path.name for path in tmp_path.iterdir()] == [CONFIG]
    assert load_task(tmp_path, toy_encoder) == {}


def test_adapterhub_and_language_adapters_are_something_else(
    folder: Path, tmp_path: Path, toy_encoder: FrozenEncoder
) -> None:
    with pytest.raises(UserError, match=r"no format for the kind 'full'.*metaxcr export"):
        export_adapter(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="a task adapter was given as a language adapter"):
        load_language(folder, toy_encoder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.pop("layers"), "malformed"),
        (lambda raw: raw.update(layers="top"), "a layer is .t., not a whole number"),
        (lambda raw: raw.update(layers=[]), "unknown version or kind"),
        (lambda raw: raw.update(version=2), "unknown version or kind"),
        (lambda raw: raw.update(kind="pfeiffer"), "unknown version or kind"),
        (lambda raw: raw.update(layers=[0, 1]), r"weights in layers \[1, 2\], not in \[0, 1\]"),
        (lambda raw: raw.update(model_name="bert-base-uncased", hidden_size=768), "does not fit toy"),
        (lambda raw: raw.update(model_type="xlm-roberta"), "made for toy"),
    ],
)
def test_a_wrong_configuration_is_one_clear_line(
    folder: Path, toy_encoder: FrozenEncoder, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    raw = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    change(raw)
    (folder / CONFIG).write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_task(folder, toy_encoder)


@pytest.mark.parametrize("damage", ["missing", "cut", "name", "place", "shape", "incomplete"])
def test_damaged_weights_are_one_clear_line(folder: Path, toy_encoder: FrozenEncoder, damage: str) -> None:
    path = folder / WEIGHTS
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
        load_task(folder, toy_encoder)
