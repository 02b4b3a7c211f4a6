"""The page that leads from the paper to the code names places that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "paper-to-code.md").read_text(encoding="utf-8")
PLACES = sorted(set(re.findall(r"`([\w/]+\.py)::([\w.]+)`", PAGE)))


def defined(path: Path) -> set[str]:
    """Names of the functions, classes and methods of a file, dotted."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            inner = node.body if isinstance(node, ast.ClassDef) else []
            names |= {f"{node.name}.{n.name}" for n in inner if isinstance(n, ast.FunctionDef)}
    return names


def test_the_page_names_places() -> None:
    assert len(PLACES) > 30
    assert PAGE.count("::") == len(re.findall(r"`([\w/]+\.py)::([\w.]+)`", PAGE)), "each in the same form"


@pytest.mark.parametrize("place", PLACES, ids="::".join)
def test_every_place_exists(place: tuple[str, str]) -> None:
    file, name = place
    assert name in defined(ROOT / file)


def test_every_row_says_what_is_known() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "::" in line]
    assert len(rows) > 25
    for row in rows:
        assert re.search(r"known|assumed|summary|ours|our reading", row.rsplit("|", 2)[1]), row


def test_a_name_that_does_not_exist_would_be_found() -> None:
    assert "no_such_function" not in defined(ROOT / "src/metaxcr/training/episodes.py")
    assert "BatchSampler.across" in defined(ROOT / "src/metaxcr/training/batch_sampler.py")
