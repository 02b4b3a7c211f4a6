import dataclasses
import shutil

import pytest

from metaxcr.data.contamination import Leak
from metaxcr.data.registry import LoadedSplit, load, task_spec
from metaxcr.data.validation import Lengths, check_split, held_out_elsewhere, verify_repair


def test_counts(make_spec, make_example):
    examples = [
        make_example(id="1"),
        make_example(id="2", choices=("It sang", "IT BROKE"), label=1),
        make_example(id="3", context="A", choices=("Same.", "Same."), label=None, question="cause"),
        make_example(id="4", context="B", choices=("...", "b"), question="Why?"),
    ]
    spec = make_spec(splits={"train": {"files": {"data": "x"}, "n": 5}})
    loaded = LoadedSplit(spec, "train", "en", examples, [], [2, 3, 5, 7], {"question": 2}, ["f:9: x"])
    found = check_split(loaded)
    assert (found["n"], found["expected"], found["labelled"]) == (4, 5, 3)
    assert (found["repairs"], found["skipped"], found["cut"]) == ({"question": 2}, 1, None)
    assert found["label_balance"] == {0: 2, 1: 1} and found["choices"] == {2: 4}
    assert found["questions"] == {"cause": 1, "effect": 2, "other": 1}
    assert (found["duplicates"], found["equal_choices"], found["empty_choices"]) == (1, 1, 1)
    assert found["problems"] == ["4 rows where the official file has 5"]
    assert found["notes"] == [
        "1 examples repeat another one (line 3)",
        "1 examples offer the same choice twice (line 5)",
        "1 examples have a choice without a letter or digit (line 7)",
        "2 x repaired: question",
        "1 rows left out, first f:9: x",
    ]


def test_lengths_and_leaks(make_spec, make_example):
    examples = [make_example(id="1"), make_example(id="2")]
    loaded = LoadedSplit(make_spec(), "train", "en", examples, [], [4, 8])
    found = check_split(loaded, Lengths(16, 1, [1]), [Leak(examples[0], examples[1], "same wording")])
    assert found["cut"] == 0.5 and found["leaks"] == 1
    assert found["problems"] == ["1 choices do not fit into 16 tokens (line 8)"]
    assert found["notes"][1:] == [
        "1 contexts (50.0%) are cut at 16 tokens",
        "1 examples are also held out, first 1 = toy/en/2 (same wording)",
    ]


def test_a_sound_split_has_neither_problems_nor_notes(make_spec, make_example):
    found = check_split(LoadedSplit(make_spec(), "train", "en", [make_example()], []))
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
        and found["repairs"] == {"question": 250, "line-ends": 500}
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
    told = "xcopa val et val-0: 'cause' after the repair, 'effect' by majority over the languages"
    assert verify_repair(tmp_path) == [told]
    assert verify_repair(tmp_path, "copa") == []


@pytest.mark.real
def test_leaks_between_official_splits_are_found(data_root):
    leaks = held_out_elsewhere(load("ecare", "train", root=data_root), data_root)
    assert (
        len({x.held_out.id for x in leaks if x.kind == "same wording" and x.held_out.task == "ecare"}) == 48
    )  # word for word
    assert held_out_elsewhere(load("ecare", "dev", root=data_root), data_root) == []
    assert held_out_elsewhere(load("copa", "train", root=data_root), data_root) == []
