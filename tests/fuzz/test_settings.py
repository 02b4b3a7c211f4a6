"""Hostile settings: YAML in files, in ``--set``, in grids, in declarations of tasks."""

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from tests.fuzzing import TEXTS, VALUES, damaged, fuzz, only_user_errors, run_command

from metaxcr.compare.grid import GRIDS as GRID_FOLDER
from metaxcr.compare.grid import load_grid
from metaxcr.config.io import SHIPPED, load_config, read_settings
from metaxcr.data.registry import SPECS
from metaxcr.data.spec import read_spec
from metaxcr.parse import dump_yaml, yaml_value

CONFIGS = sorted(SHIPPED.glob("*.yaml"))
GRIDS = sorted(GRID_FOLDER.glob("*.yaml"))
TASKS = sorted(SPECS.glob("*.yaml"))
KEYS = sorted(
    f"{section}.{key}"
    for section, inner in load_config("starter").model_dump().items()
    for key in (inner if isinstance(inner, dict) else [""])
)


def contents(paths: list[Path]) -> st.SearchStrategy[bytes]:
    return st.sampled_from([path.read_bytes() for path in paths])


def written(value: Any) -> str:
    """A value as JSON, which is YAML, too."""
    return json.dumps(value, ensure_ascii=False)


@fuzz(
    0.12, quick=150, key=st.sampled_from(KEYS), text=st.sampled_from(TEXTS) | st.text() | VALUES.map(written)
)
def test_overrides(key: str, text: str) -> None:
    with only_user_errors():
        load_config("starter", [f"{key}={text}"])


@fuzz(0.06, quick=40, text=damaged(contents(CONFIGS)))
def test_configurations(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(text)
    with only_user_errors():
        load_config(str(path))


@fuzz(0.03, quick=25, text=damaged(contents(GRIDS)), override=VALUES.map(written))
def test_grids(tmp_path: Path, text: bytes, override: str) -> None:
    path = tmp_path / "grid.yaml"
    path.write_bytes(text)
    with only_user_errors():
        load_grid(str(path), [f"methods={override}"])
    with only_user_errors():
        load_grid(str(path))


@fuzz(0.03, quick=25, text=damaged(contents(TASKS)))
def test_declarations_of_tasks(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(text)
    with only_user_errors():
        read_spec(path)


@fuzz(
    0.12,
    quick=100,
    text=st.sampled_from(TEXTS)
    | st.text()
    | damaged(contents(CONFIGS)).map(lambda b: b.decode(errors="replace")),
)
def test_yaml_is_what_we_write(text: str) -> None:
    try:
        value = yaml_value(text)
    except yaml.YAMLError:
        return
    assert yaml_value(dump_yaml(value)) == value or value != value or "nan" in repr(value)


@fuzz(0.01, quick=10, key=st.sampled_from(KEYS), value=VALUES.map(written))
def test_commands(key: str, value: str) -> None:
    run_command("configs", "show", "starter", "--set", f"{key}={value}")


@fuzz(0.01, quick=10, name=st.sampled_from(TEXTS) | st.text())
def test_names_of_configurations(name: str) -> None:
    with only_user_errors():
        read_settings(name)
