"""From settings to a model, and phi to and from disk."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from metaxcr.adapters.store import save_adapter
from metaxcr.config import Config
from metaxcr.encoders.base import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.scoring.build import HEAD, adapter_layers, build_model, load_phi, save_phi


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
        ("all", 3, [0, 1, 2]),
        ([0, 2], 3, [0, 2]),
    ],
)
def test_adapter_layers(toy_encoder: FrozenEncoder, layers: Any, depth: int, expected: list[int]) -> None:
    encoder = FrozenEncoder(**{**vars(toy_encoder), "layers": [None] * depth})  # only its depth is asked for
    assert adapter_layers(config(adapters={"layers": layers}), encoder) == expected


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
    shapes = {"down.weight": (4, 16), "down.bias": (4,), "up.weight": (16, 4), "up.bias": (16,)}
    layers = {2: {part: torch.randn(shape) for part, shape in shapes.items()}}
    save_adapter(tmp_path / "sw", "sw", layers, width=16, nonlinearity="relu", encoder="toy")
    adapters = {"bottleneck": 6, "language": {"sw": str(tmp_path / "sw")}}
    model = build_model(config(adapters=adapters), toy_encoder, seed=0)
    assert model.adapted.stack("sw") == ["lang.sw", "task"]
    assert model.adapted.stack("it") == ["task"]
    assert not any("language" in name for name in model.params())


def test_phi_of_another_shape_is_refused(toy_encoder: FrozenEncoder, tmp_path: Path) -> None:
    settings = config()
    save_phi(tmp_path, "meta", build_model(settings, toy_encoder, 0).params(), settings, toy_encoder)
    for changes in (
        {"adapters": {"bottleneck": 5}},
        {"scoring": {"kind": "cross"}},
        {"adapters": {"layers": "all"}},
    ):
        with pytest.raises(UserError, match=r"not of this model's shape.*config\.yaml"):
            load_phi(tmp_path, build_model(config(**changes), toy_encoder, 0))


@pytest.mark.parametrize("damage", ["missing", "cut", "renamed"])
def test_a_damaged_scorer_is_one_clear_line(toy_encoder: FrozenEncoder, tmp_path: Path, damage: str) -> None:
    settings = config()
    model = build_model(settings, toy_encoder, 0)
    save_phi(tmp_path, "meta", model.params(), settings, toy_encoder)
    head = tmp_path / HEAD
    if damage == "missing":
        head.unlink()
    elif damage == "cut":
        head.write_bytes(head.read_bytes()[:50])
    else:
        (tensor,) = load_file(head).values()
        save_file({"weight": tensor.clone()}, head)
    with pytest.raises(UserError, match="cannot read the scorer" if damage != "renamed" else "shape"):
        load_phi(tmp_path, model)
