"""A run keeps its encoder, whatever happens to the hub's main branch or to a folder."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metaxcr.config.io import load_config
from metaxcr.config.schema import Encoder
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.runs.run_dir import RunDir, load_pinned, open_folder, recorded_revision
from metaxcr.saved_model import read_settings

NEWEST = {"commit": "a" * 40}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunDir]:
    opened = open_folder(tmp_path / "run", load_config("starter"), {"threads": 1}, resume=False)
    yield opened
    opened.close()


@pytest.fixture
def load(toy_encoder: FrozenEncoder) -> Any:
    """A hub with one encoder, whose main branch moves on."""

    def load(name: str, *, prefix: str | None, revision: str | None) -> FrozenEncoder:
        commit = revision or NEWEST["commit"]
        return replace(toy_encoder, name=name, revision=commit, fingerprint=f"weights of {commit}")

    NEWEST["commit"] = "a" * 40
    return load


def test_a_resumed_run_stays_at_its_commit(folder: RunDir, load: Any) -> None:
    settings = Encoder(name="own/tiny")
    first = load_pinned(settings, folder, load)
    NEWEST["commit"] = "b" * 40
    again = load_pinned(settings, folder, load)
    assert (first.revision, again.revision) == ("a" * 40, "a" * 40)
    record = json.loads((folder.path / "environment.json").read_text(encoding="utf-8"))
    assert record["threads"] == 1
    assert record["encoder"] == {
        "name": "own/tiny",
        "revision": "a" * 40,
        "fingerprint": f"weights of {'a' * 40}",
    }


def test_a_model_is_loaded_and_saved_with_the_commit_of_its_run(folder: RunDir, load: Any) -> None:
    assert read_settings(folder.path).encoder.revision is None
    load_pinned(Encoder(name="own/tiny"), folder, load)
    assert recorded_revision(folder.path) == "a" * 40
    assert read_settings(folder.path).encoder.revision == "a" * 40


def test_another_encoder_under_the_same_name_stops_the_run(
    folder: RunDir, toy_encoder: FrozenEncoder
) -> None:
    def load(name: str, **options: Any) -> FrozenEncoder:
        return replace(toy_encoder, name=name)

    load_pinned(Encoder(name="folder"), folder, load)
    with pytest.raises(UserError, match=r"'folder' has changed since the run was started .*another --out"):
        load_pinned(
            Encoder(name="folder"), folder, lambda *a, **k: replace(load(*a, **k), fingerprint="other")
        )


def test_a_run_that_an_older_version_began_resumes_without_a_word(tmp_path: Path) -> None:
    config, environment = load_config("starter"), {"threads": 1}
    open_folder(tmp_path / "run", config, environment, resume=False).close()
    path = tmp_path / "run" / "config.yaml"
    old = path.read_text()
    for new, name in (
        ("inner_lr", "inner_rate"),
        ("outer_lr", "outer_rate"),
        ("few_shot_lr", "few_shot_rate"),
    ):
        old = old.replace(new, name)
    assert old != path.read_text()
    path.write_text(old)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_folder(tmp_path / "run", config, environment, resume=True).close()
        assert read_settings(tmp_path / "run").ctml == config.ctml
