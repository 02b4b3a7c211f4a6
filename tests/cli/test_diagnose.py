"""What ``metaxcr diagnose`` prints; the rules themselves are tested beside them."""

import json
from pathlib import Path

import pytest

from metaxcr.diagnosis import RULES

from .conftest import Call

WEAK = {
    "stage": "ctml",
    "seed": 0,
    "source": "a",
    "alignment_loss": 0.9,
    "alignment_language": "qu",
    "query_loss": 0.7,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An unfinished run whose Quechua is badly aligned."""
    lines = [json.dumps({**WEAK, "step": step}) for step in range(12)]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + '\n{"half a li')
    return tmp_path


def test_findings_in_words_with_what_to_change(call: Call, folder: Path) -> None:
    done = call("diagnose", folder)
    assert done.status == 0
    words = " ".join(done.out.split())
    assert "weak-alignment" in words
    assert "qu 0.90" in words
    assert "ctml.alignment" in words
    assert "note: config.yaml is missing" in words


def test_findings_as_json(call: Call, folder: Path) -> None:
    printed = json.loads(call("diagnose", folder, "--json").out)
    assert (printed["events"], printed["rules"]) == (12, len(RULES))
    (found,) = printed["findings"]
    assert found["rule"] == "weak-alignment"
    assert found["evidence"]["qu"]["mean"] == pytest.approx(0.9)
    assert {"severity", "says", "change", "settings"} <= found.keys()


def test_the_table_of_adapters_align_is_read(call: Call, folder: Path) -> None:
    row = {"language": "sw", "layer": 1, "stack": "task", "retrieval": 0.1, "ci95": [0.05, 0.15], "n": 99}
    (folder / "alignment.json").write_text(json.dumps({"rows": [row]}))
    (found,) = json.loads(call("diagnose", folder, "--json").out)["findings"]
    assert found["evidence"] == {"sw": {"retrieval": 0.1, "ci95": [0.05, 0.15], "stack": "task"}}


def test_nothing_found_and_nothing_there_are_told_apart(call: Call, folder: Path) -> None:
    (folder / "events.jsonl").write_text(json.dumps({**WEAK, "step": 0, "alignment_loss": 0.1}) + "\n")
    assert "none of" in call("diagnose", folder).out
    (folder / "events.jsonl").write_text("")
    assert "there are no events yet" in call("diagnose", folder).out


def test_what_is_no_run_folder_is_refused(call: Call, tmp_path: Path) -> None:
    done = call("diagnose", tmp_path)
    assert done.status == 2
    assert "not a run folder" in done.line
