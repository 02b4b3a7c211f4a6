import pytest

from metaxcr.tasks.registry import load, task_spec
from metaxcr.tasks.repair import repair

WRONG = {
    "val": {"th": 52, "tr": 52, "sw": 6, "id": 5, "it": 5},
    "test": {"th": 250, "tr": 51, "sw": 37, "id": 4, "it": 4},
}


def test_only_listed_rows_change_and_only_when_wrong(make_spec, make_example):
    spec = make_spec(repair={"question": "cause", "ids": {"train": {"en": ["1", "3"]}}})
    examples = [make_example(id="1"), make_example(id="2"), make_example(id="3", question="cause")]
    mended, count = repair(examples, spec, "train", "en")
    assert [example.question for example in mended] == ["cause", "effect", "cause"] and count == 1
    assert repair(examples, spec, "test", "en") == (examples, 0)
    assert repair(examples, spec, "train", "th") == (examples, 0)
    assert repair(examples, make_spec(), "train", "en") == (examples, 0)


def test_the_shipped_lists_have_the_known_lengths():
    declared = task_spec("xcopa").repair
    assert declared is not None
    assert {
        split: {language: len(ids) for language, ids in listed.items()}
        for split, listed in declared.ids.items()
    } == {split: dict(sorted(counts.items())) for split, counts in WRONG.items()}


@pytest.mark.real
@pytest.mark.parametrize("split", ["val", "test"])
def test_repaired_xcopa_asks_what_english_asks(data_root, split):
    english = {example.id: example.question for example in load("xcopa_en", split, root=data_root).examples}
    for language in task_spec("xcopa").languages:
        loaded = load("xcopa", split, language=language, root=data_root)
        assert loaded.repaired == WRONG[split].get(language, 0)
        assert {example.id: example.question for example in loaded.examples} == english


@pytest.mark.real
def test_raw_leaves_the_official_file_alone(data_root):
    raw = load("xcopa", "test", language="th", root=data_root, raw=True)
    assert raw.repaired == 0 and {example.question for example in raw.examples} == {"effect"}
