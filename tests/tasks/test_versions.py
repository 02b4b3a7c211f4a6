"""Versions of an item: the same item in other languages and tasks."""

import json
from pathlib import Path

import pytest

from metaxcr.tasks import load
from metaxcr.tasks.leaks import identity
from metaxcr.tasks.versions import other_versions

ROW = {"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 0}


def write(path: Path, numbers: range) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(json.dumps({**ROW, "premise": f"{path.stem} {n}", "idx": n}) + "\n" for n in numbers)
    )


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few COPA items in three languages, and no other data root."""
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no-cache"))
    write(tmp_path / "xcopa/data/sw/test.sw.jsonl", range(1, 3))
    write(tmp_path / "xcopa/data/it/test.it.jsonl", range(4))
    write(tmp_path / "copa/test.jsonl", range(4))
    write(tmp_path / "copa/val.jsonl", range(4))
    return tmp_path


def test_originals_and_translations_of_the_items_and_no_others(root: Path) -> None:
    items = load("xcopa", "test", language="sw", root=root).examples
    english = other_versions(items, {"en"}, root)
    assert {(e.task, e.id) for e in english} == {("copa", "test-1"), ("copa", "test-2")}
    both = other_versions(items, {"en", "it", "sw", "th"}, root)
    assert sorted((e.task, e.language) for e in both) == [("copa", "en")] * 2 + [("xcopa", "it")] * 2
    assert {identity(e) for e in both} == {identity(e) for e in items}


def test_items_of_no_common_origin_have_none(root: Path) -> None:
    facts = load("starter_facts", "train").examples
    assert other_versions(facts, {"en", "sw"}, root) == []
    assert other_versions([], {"en"}, root) == []


@pytest.mark.real
def test_the_official_originals(data_root: Path) -> None:
    items = load("xcopa", "val", language="qu", root=data_root).examples
    found = other_versions(items, {"en"}, data_root)
    counts = {task: sum(e.task == task for e in found) for task in ("copa", "xcopa_en", "balanced_copa")}
    assert counts == {"copa": 100, "xcopa_en": 100, "balanced_copa": 200}
    stories = load("xstorycloze", "test", language="eu", root=data_root).examples
    assert len(other_versions(stories, {"en"}, data_root)) == 1511
