"""The folder of an adapted model: whole or absent, and without the user's examples."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from metaxcr.errors import UserError
from metaxcr.fewshot.account import Account
from metaxcr.fewshot.adapt import Adapted, Start
from metaxcr.fewshot.folder import check_goal, own_config, write_folder
from metaxcr.scoring.build import load_phi, save_phi


@pytest.fixture
def origin(start: Start, tmp_path: Path) -> Path:
    save_phi(tmp_path / "o/adapters/meta", "meta", start.phi, start.config, start.model.adapted.encoder)
    return tmp_path / "o"


def test_what_is_written_can_be_read(
    adapted: Adapted, account: Account, start: Start, origin: Path, tmp_path: Path
) -> None:
    out = tmp_path / "models" / "own"
    write_folder(out, "own", adapted, account, start, origin)
    assert sorted(p.name for p in out.iterdir()) == [
        "README.md", "adaptation.json", "adapters", "config.yaml", "report.html"
    ]  # fmt: skip
    phi = load_phi(out / "adapters/target.own.sw", start.model)
    assert all((phi[name] == adapted.phi[name]).all() for name in phi)
    assert json.loads((out / "adaptation.json").read_text()) == account
    texts = "".join(p.read_text() for p in out.rglob("*") if p.suffix in (".md", ".json", ".yaml", ".html"))
    assert adapted.examples.examples[0].context not in texts


def test_a_model_that_was_not_adapted_has_the_start_alone(
    adapted: Adapted, account: Account, start: Start, origin: Path, tmp_path: Path
) -> None:
    kept = replace(adapted, verdict=replace(adapted.verdict, kept="unadapted"))
    write_folder(tmp_path / "own", "own", kept, account, start, origin)
    assert [p.name for p in (tmp_path / "own/adapters").iterdir()] == ["meta"]


def test_a_failed_write_leaves_what_was_there(
    adapted: Adapted, account: Account, start: Start, origin: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "own"
    write_folder(out, "own", adapted, account, start, origin)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("metaxcr.fewshot.folder.save_phi", full)
    with pytest.raises(UserError, match="the disk is full"):
        write_folder(out, "own", adapted, account, start, origin)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert {p.name for p in tmp_path.iterdir()} == {"o", "own"}


def test_only_a_folder_of_this_kind_is_replaced(tmp_path: Path) -> None:
    check_goal(tmp_path / "new", force=False)
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="--force"):
        check_goal(tmp_path / "there", force=False)
    with pytest.raises(UserError, match="no folder that 'metaxcr adapt' wrote"):
        check_goal(tmp_path / "there", force=True)
    (tmp_path / "there/adaptation.json").write_text("{}")
    check_goal(tmp_path / "there", force=True)


def test_the_examples_become_the_target(start: Start) -> None:
    config = own_config(start.config, "own", "sw")
    assert (config.target.task, config.target.languages) == ("own", ["sw"])
    assert config.adapters == start.config.adapters
