"""From settings to a model, and phi to and from disk."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from metaxcr.adapters.adapter_files import pack_adapter, save_language, write_adapter
from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.adapters.layers import AdapterShape, build_layer
from metaxcr.config.schema import Config
from metaxcr.encoders.encoder import FrozenEncoder, Ragged, Text
from metaxcr.errors import UserError
from metaxcr.model.build import SCORER_FILE, adapter_layers, build_model, load_phi, save_phi, task_shape


def config(**changes: Any) -> Config:
    base: dict[str, Any] = {
        "sources": [{"task": "starter_causes"}],
        "target": {"task": "starter_target", "languages": ["es"], "english": {"task": "starter_causes"}},
        "adapters": {"bottleneck": 6},
        "encoder": {"dtype": "float32"},
    }
    return Config.model_validate(base | changes)


def random_phi(phi: dict[str, Tensor]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {n: torch.randn(p.shape, generator=generator) for n, p in phi.items()}


@pytest.mark.parametrize(
    ("layers", "depth", "expected"),
    [
        ("top-third", 12, [8, 9, 10, 11]),
        ("top-third", 3, [2]),
        ("top-third", 1, [0]),
        ("last-two", 12, [10, 11]),
        ("last-two", 1, [0]),
        ("all", 3, [0, 1, 2]),
        ([0, 2], 3, [0, 2]),
    ],
)
def test_adapter_layers(layers: Any, depth: int, expected: list[int]) -> None:
    assert adapter_layers(config(adapters={"layers": layers}), depth) == expected


@pytest.mark.parametrize("kind", ["dual", "cross"])
def test_round_trip(toy_encoder: FrozenEncoder, tmp_path: Path, kind: str) -> None:
    settings = config(scoring={"kind": kind}, adapters={"layers": [1, 2], "bottleneck": 6})
    model = build_model(settings, toy_encoder, seed=0)
    phi = random_phi(model.params())
    save_phi(tmp_path / "meta", "meta", phi, settings, toy_encoder)
    again = load_phi(tmp_path / "meta", build_model(settings, toy_encoder, seed=1))
    assert list(again) == list(phi)
    assert all(torch.equal(again[n], phi[n]) for n in phi)
    assert json.loads((tmp_path / "meta" / "adapter_config.json").read_text())["name"] == "meta"


@pytest.mark.parametrize("adapters", [{"kind": "full", "layers": [0, 2]}, {"kind": "none"}])
@pytest.mark.parametrize("kind", ["dual", "cross"])
def test_round_trip_without_small_adapters(
    toy_encoder: FrozenEncoder, tmp_path: Path, adapters: dict[str, Any], kind: str
) -> None:
    settings = config(scoring={"kind": kind}, adapters=adapters)
    phi = random_phi(build_model(settings, toy_encoder, seed=0).params())
    assert set(phi) == {"scorer"} | {
        f"adapted.task.{i}.delta.{name}"
        for i in adapters.get("layers", [])
        for name in toy_encoder.original(0).weights
    }
    save_phi(tmp_path / "meta", "target.xcopa.sw", phi, settings, toy_encoder)
    again = load_phi(tmp_path / "meta", build_model(settings, toy_encoder, seed=1, inference=True))
    assert list(again) == list(phi)
    assert all(torch.equal(again[n], phi[n]) for n in phi)
    told = json.loads((tmp_path / "meta" / "layers_config.json").read_text())
    assert told == {
        "version": 1, "kind": adapters["kind"], "name": "target_xcopa_sw", "model_name": "toy",
        "model_type": "bert", "hidden_size": 16, "layers": adapters.get("layers", []),
    }  # fmt: skip
    with pytest.raises(UserError, match="not of this model's shape"):
        load_phi(tmp_path / "meta", build_model(config(), toy_encoder, seed=0))
    other = config(scoring={"kind": kind}, adapters={"kind": "full", "layers": [1]})
    with pytest.raises(UserError, match="not of this model's shape"):
        load_phi(tmp_path / "meta", build_model(other, toy_encoder, seed=0))


def test_the_seed_draws_phi(toy_encoder: FrozenEncoder) -> None:
    one, same, other = (build_model(config(), toy_encoder, seed=s).params() for s in (0, 0, 1))
    down = "adapted.task.2.down.weight"
    assert torch.equal(one[down], same[down])
    assert not torch.equal(one[down], other[down])


def test_settings_reach_the_model(toy_encoder: FrozenEncoder) -> None:
    settings = config(scoring={"kind": "cross", "temperature": 0.3, "negatives": 0.1})
    model = build_model(settings, toy_encoder, seed=0)
    assert (model.kind, model.temperature, model.negatives, model.dtype) == ("cross", 0.3, 0.1, torch.float32)
    assert build_model(settings, toy_encoder, seed=0, kind="dual").kind == "dual"
    low = build_model(config(encoder={"dtype": "bfloat16"}), toy_encoder, seed=0)
    assert low.dtype == torch.bfloat16
    assert low.params()["adapted.task.2.down.bias"].shape == (6,)


def test_language_adapters_come_from_their_folders(toy_encoder: FrozenEncoder, tmp_path: Path) -> None:
    language = LanguageAdapter.create(toy_encoder, torch.Generator().manual_seed(0))
    save_language(tmp_path / "sw", "sw", language, toy_encoder)
    adapters = {"bottleneck": 6, "language": {"sw": str(tmp_path / "sw")}}
    model = build_model(config(adapters=adapters), toy_encoder, seed=0)
    assert model.adapted.stack("sw") == ["invertible.sw", "lang.sw", "task"]
    assert model.adapted.stack("it") == ["task"]
    assert not any("language" in name for name in model.params())


def test_a_task_adapter_is_no_language_adapter(toy_encoder: FrozenEncoder, tmp_path: Path) -> None:
    task = {2: build_layer(16, AdapterShape("pfeiffer", 4), torch.Generator())}
    write_adapter(tmp_path / "sw", pack_adapter("copa", "task", task, toy_encoder))
    with pytest.raises(UserError, match="a task adapter was given as a language adapter"):
        build_model(config(adapters={"language": {"sw": str(tmp_path / "sw")}}), toy_encoder, seed=0)


@pytest.mark.parametrize("kind", ["pfeiffer", "houlsby", "parallel", "lora"])
def test_a_mixture_is_saved_as_the_one_adapter_that_computes_the_same(
    toy_encoder: FrozenEncoder, tmp_path: Path, kind: str
) -> None:
    settings = config(adapters={"layers": [1, 2], "bottleneck": 6, "mixture": True, "kind": kind})
    model = build_model(settings, toy_encoder, seed=0)
    phi = random_phi(model.params())
    assert model.adapted.stack("es") == ["mixture of 2 tasks"]
    save_phi(tmp_path, "meta", phi, settings, toy_encoder)
    one = build_model(settings, toy_encoder, seed=0, inference=True)
    again = load_phi(tmp_path, one)
    assert {n: p.shape for n, p in again.items()} == {n: p.shape for n, p in one.params().items()}
    assert {n: p.shape for n, p in load_phi(tmp_path, model).items()} == {
        n: p.shape for n, p in again.items()
    }
    start = toy_encoder.embed(toy_encoder.tokenize([Text("one two three"), Text("four")], 32))
    trunk = Ragged(toy_encoder.run(start, 0, 1, torch.float32), start.lengths)
    mixed, reduced = model.vectors(phi, trunk, "es"), one.vectors(again, trunk, "es")
    assert torch.allclose(mixed, reduced, atol=1e-4)
    assert not torch.allclose(mixed, model.vectors(phi, trunk, "es", source=0), atol=1e-2)


def test_scaling_is_the_kinds_own_unless_given() -> None:
    scalings = [
        task_shape(config(adapters={"kind": kind, "scaling": given})).scaling
        for kind, given in (("pfeiffer", None), ("parallel", None), ("parallel", 1.5), ("lora", 2.0))
    ]
    assert scalings == [1.0, 4.0, 1.5, 2.0]


def test_phi_of_another_shape_is_refused(toy_encoder: FrozenEncoder, tmp_path: Path) -> None:
    settings = config()
    save_phi(tmp_path, "meta", build_model(settings, toy_encoder, 0).params(), settings, toy_encoder)
    for changes in (
        {"adapters": {"bottleneck": 5}},
        {"scoring": {"kind": "cross"}},
        {"adapters": {"layers": "all"}},
        {"adapters": {"bottleneck": 6, "nonlinearity": "gelu"}},
        {"adapters": {"bottleneck": 6, "kind": "parallel"}},
    ):
        with pytest.raises(UserError, match=r"not of this model's shape.*config\.yaml"):
            load_phi(tmp_path, build_model(config(**changes), toy_encoder, 0))


@pytest.mark.parametrize("damage", ["missing", "cut", "renamed"])
def test_a_damaged_scorer_is_one_clear_line(toy_encoder: FrozenEncoder, tmp_path: Path, damage: str) -> None:
    settings = config()
    model = build_model(settings, toy_encoder, 0)
    save_phi(tmp_path, "meta", model.params(), settings, toy_encoder)
    head = tmp_path / SCORER_FILE
    if damage == "missing":
        head.unlink()
    elif damage == "cut":
        head.write_bytes(head.read_bytes()[:50])
    else:
        (tensor,) = load_file(head).values()
        save_file({"weight": tensor.clone()}, head)
    said = {"missing": "no such file", "cut": "cannot read the tensors", "renamed": "shape"}[damage]
    with pytest.raises(UserError, match=said):
        load_phi(tmp_path, model)
