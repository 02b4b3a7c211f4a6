import dataclasses
import shutil

import pytest

from metaxcr.tasks.check import check_split, verify_repair
from metaxcr.tasks.registry import LoadedSplit, load, task_spec


def test_counts(make_spec, make_example):
    examples = [
        make_example(id="1"),
        make_example(id="2", choices=("It sang", "IT BROKE"), label=1),
        make_example(id="3", context="A", choices=("Same.", "Same."), label=None, question="cause"),
        make_example(id="4", context="B", choices=("...", "b"), question="Why?"),
    ]
    spec = make_spec(splits={"train": {"files": {"data": "x"}, "n": 5}})
    found = check_split(LoadedSplit(spec, "train", "en", examples, 2, []))
    assert (found["n"], found["expected"], found["labelled"], found["repaired"]) == (4, 5, 3, 2)
    assert found["label_balance"] == {0: 2, 1: 1} and found["choices"] == {2: 4}
    assert found["questions"] == {"cause": 1, "effect": 2, "other": 1}
    assert (found["duplicates"], found["equal_choices"], found["empty_choices"]) == (1, 1, 1)
    assert found["problems"] == ["4 rows where the official file has 5"] and len(found["notes"]) == 3


def test_a_sound_split_has_neither_problems_nor_notes(make_spec, make_example):
    found = check_split(LoadedSplit(make_spec(), "train", "en", [make_example()], 0, []))
    assert found["problems"] == [] and found["notes"] == [] and found["expected"] is None


def test_an_incomplete_set_proves_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    assert verify_repair(tmp_path) == []


@pytest.mark.real
def test_official_files_have_no_problems_and_the_repair_is_right(data_root):
    assert verify_repair(data_root) == []
    loaded = load("xcopa", "test", language="th", root=data_root)
    found = check_split(loaded)
    assert (
        found["problems"] == []
        and found["repaired"] == 250
        and found["questions"] == {"cause": 250, "effect": 250}
    )
    assert check_split(dataclasses.replace(loaded, examples=loaded.examples[1:]))["problems"]


@pytest.mark.real
def test_a_wrong_question_that_the_list_lacks_is_found(data_root, tmp_path):
    for split in ("val", "test"):
        for language in task_spec("xcopa").languages:
            target = tmp_path / "xcopa" / "data" / language / f"{split}.{language}.jsonl"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data_root / target.relative_to(tmp_path), target)
    path = tmp_path / "xcopa" / "data" / "et" / "val.et.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")
    assert '"question": "effect"' in lines[0]
    lines[0] = lines[0].replace('"question": "effect"', '"question": "cause"')
    path.write_text("\n".join(lines), encoding="utf-8")
    (found,) = verify_repair(tmp_path)
    assert (found.language, found.split, found.id, found.majority) == ("et", "val", "val-0", "effect")
    assert "xcopa val et val-0" in str(found)
