"""Hostile adapters: configurations of any number, damaged pickles and safetensors, zip files."""

import copy
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from safetensors.torch import save as to_safetensors
from tests.fuzzing import NUMBERS, VALUES, damaged, fuzz, only_user_errors, run_command

from metaxcr.adapters.adapter_files import (
    CONFIG,
    PICKLED,
    WEIGHTS,
    build_invertible,
    build_layers,
    load_language,
    load_task,
    read_adapter,
)
from metaxcr.adapters.import_export import import_adapter
from metaxcr.parse import read_pickled_tensors

WIDTH = 16
BOTTLENECK = {
    "config": {
        "architecture": None, "mh_adapter": False, "output_adapter": True, "non_linearity": "relu",
        "reduction_factor": 2, "scaling": 1.0, "inv_adapter": "nice", "inv_adapter_reduction_factor": 2,
        "original_ln_before": True, "original_ln_after": True, "ln_before": False, "ln_after": False,
        "residual_before_ln": True, "adapter_residual_before_ln": False, "is_parallel": False,
        "leave_out": [2],
    },
    "hidden_size": WIDTH, "model_name": "toy", "model_type": "bert", "name": "x", "type": "text_lang",
    "version": "adapters.1.3.0",
}  # fmt: skip
LORA = {
    **BOTTLENECK, "type": "text_task",
    "config": {"architecture": "lora", "r": 4, "alpha": 8, "attn_matrices": ["q", "v"], "dropout": 0.0},
}  # fmt: skip
OWN = {
    "version": 1, "kind": "full", "name": "x", "model_name": "toy", "model_type": "bert",
    "hidden_size": WIDTH,
    "layers": [0, 1],
}  # fmt: skip
KEYS = [
    (base, section, key)
    for base in (BOTTLENECK, LORA)
    for section, keys in ((None, base), ("config", base["config"]))
    for key in keys  # type: ignore[attr-defined]
]


def tensors() -> dict[str, torch.Tensor]:
    found = {}
    for layer in (0, 1):
        at = f"encoder.layer.{layer}.output.adapters.x"
        found |= {
            f"{at}.adapter_down.0.weight": torch.ones(8, WIDTH),
            f"{at}.adapter_down.0.bias": torch.ones(8),
        }
        found |= {f"{at}.adapter_up.weight": torch.ones(WIDTH, 8), f"{at}.adapter_up.bias": torch.ones(WIDTH)}
    for net in "FG":
        at = f"invertible_adapters.x.{net}"
        found |= {f"{at}.0.weight": torch.ones(4, 8), f"{at}.0.bias": torch.ones(4)}
        found |= {f"{at}.2.weight": torch.ones(8, 4), f"{at}.2.bias": torch.ones(8)}
    return found


def pickled(new: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(tensors(), stream, _use_new_zipfile_serialization=new)
    return stream.getvalue()


SAFE, ZIPPED, LEGACY = to_safetensors(tensors()), pickled(True), pickled(False)


def unfolded(folder: Path) -> None:
    file = read_adapter(folder)
    build_layers(file, folder)
    build_invertible(file, folder)


def test_the_whole_adapter_is_read(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(BOTTLENECK))
    for name, content in ((WEIGHTS, SAFE), (PICKLED, ZIPPED), (PICKLED, LEGACY)):
        (tmp_path / name).write_bytes(content)
        unfolded(tmp_path)
        (tmp_path / name).unlink()


@fuzz(0.12, quick=150, key=st.sampled_from(KEYS), value=st.sampled_from(NUMBERS) | VALUES)
def test_numbers_in_configurations(
    tmp_path: Path, toy_encoder: Any, key: tuple[Any, str | None, str], value: Any
) -> None:
    base, section, name = key
    raw = copy.deepcopy(base)
    (raw if section is None else raw[section])[name] = value
    (tmp_path / CONFIG).write_text(json.dumps(raw))
    (tmp_path / WEIGHTS).write_bytes(SAFE)
    with only_user_errors():
        unfolded(tmp_path)
    with only_user_errors():
        load_language(tmp_path, toy_encoder)
    with only_user_errors():
        load_task(tmp_path, toy_encoder)


@fuzz(0.03, quick=40, key=st.sampled_from(sorted(OWN)), value=st.sampled_from(NUMBERS) | VALUES)
def test_configurations_of_our_own_kinds(tmp_path: Path, toy_encoder: Any, key: str, value: Any) -> None:
    (tmp_path / "layers_config.json").write_text(json.dumps({**OWN, key: value}))
    (tmp_path / "layers.safetensors").write_bytes(
        to_safetensors({"0.delta.qkv": torch.ones(3), "1.x": torch.ones(1)})
    )
    with only_user_errors():
        load_task(tmp_path, toy_encoder)


@fuzz(0.03, quick=40, content=damaged(st.just(json.dumps(BOTTLENECK).encode())))
def test_damaged_configurations(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CONFIG).write_bytes(content)
    (tmp_path / WEIGHTS).write_bytes(SAFE)
    with only_user_errors():
        unfolded(tmp_path)


@fuzz(0.1, quick=100, content=damaged(st.sampled_from([ZIPPED, LEGACY, LEGACY])) | st.binary())
def test_damaged_pickles(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with only_user_errors():
        read_pickled_tensors(tmp_path / "f")


@fuzz(0.04, quick=40, content=damaged(st.just(SAFE)) | st.binary())
def test_damaged_safetensors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(BOTTLENECK))
    (tmp_path / WEIGHTS).write_bytes(content)
    with only_user_errors():
        unfolded(tmp_path)


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(f"x/{CONFIG}", json.dumps(BOTTLENECK))
        packed.writestr(f"x/{WEIGHTS}", SAFE)
    return stream.getvalue()


@fuzz(0.02, quick=20, content=damaged(st.just(archive())))
def test_damaged_archives(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "a.zip").write_bytes(content)
    out = folder / "imported"
    with only_user_errors():
        import_adapter(str(folder / "a.zip"), out)
        for file in out.iterdir():
            file.unlink()
        out.rmdir()


@fuzz(0.005, quick=8, key=st.sampled_from(KEYS), value=VALUES)
def test_the_command(
    tmp_path_factory: pytest.TempPathFactory, key: tuple[Any, str | None, str], value: Any
) -> None:
    folder = tmp_path_factory.mktemp("adapter")
    base, section, name = key
    raw = copy.deepcopy(base)
    (raw if section is None else raw[section])[name] = value
    (folder / CONFIG).write_text(json.dumps(raw))
    (folder / WEIGHTS).write_bytes(SAFE)
    run_command("adapters", "import", folder, "--out", folder / "out")
