"""The starter set that ships with the package, as data."""

from collections import Counter

import pytest

from metaxcr.data.contamination import find_leaks, normalise
from metaxcr.data.registry import load, task_spec
from metaxcr.data.validation import check_split

SOURCES = {
    "starter_causes": 2,
    "starter_social": 3,
    "starter_stories": 2,
    "starter_facts": 5,
    "starter_sense": 2,
}
LANGUAGES = task_spec("starter_target").languages


@pytest.mark.parametrize(("task_id", "choices"), SOURCES.items())
def test_sources(task_id, choices):
    found = check_split(load(task_id, "train"))
    assert found["n"] >= 60 and found["labelled"] == found["n"]
    assert found["choices"] == {choices: found["n"]}
    assert not found["problems"] and not found["notes"]
    # no answer position that pays off
    assert len(found["label_balance"]) == choices
    assert max(found["label_balance"].values()) <= found["n"] / choices + 3


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("split", ["shots", "test"])
def test_target(language, split):
    loaded = load("starter_target", split, language=language)
    found = check_split(loaded)
    assert found["n"] == 36 if split == "shots" else found["n"] >= 60
    assert not found["problems"] and not found["notes"]
    assert set(found["questions"]) == {"cause", "effect"}
    english = load("starter_target", split).examples
    assert [(e.id, e.question, e.label) for e in loaded.examples] == [
        (e.id, e.question, e.label) for e in english
    ]


def test_target_languages_differ():
    texts = Counter(
        normalise(example.context)
        for language in LANGUAGES
        for split in ("shots", "test")
        for example in load("starter_target", split, language=language).examples
    )
    assert [text for text, count in texts.items() if count > 1] == []


def test_shots_and_test_share_nothing():
    shots, test = (load("starter_target", split).examples for split in ("shots", "test"))
    assert find_leaks(shots, test) == []
    items = [int(example.id) for example in (*shots, *test)]
    assert items == list(range(1, len(items) + 1)) and len(items) >= 96


def test_sources_and_target_share_nothing():
    sources = [example for task_id in SOURCES for example in load(task_id, "train").examples]
    for split in ("shots", "test"):
        assert find_leaks(sources, load("starter_target", split).examples) == []
