import json

import pytest

from metaxcr.data.readers import read_examples
from metaxcr.data.registry import load, task_spec
from metaxcr.data.repairs import GENERAL, STEPS, Repairs
from metaxcr.errors import UserError

QUESTIONS = ["effect", "effect", "cause"]
WRONG = {  # rows of XCOPA whose question the shipped list repairs
    "val": {"th": 52, "tr": 52, "sw": 6, "id": 5, "it": 5},
    "test": {"th": 250, "tr": 51, "sw": 37, "id": 4, "it": 4},
}


def declared(make_spec):
    step = {"step": "question", "to": "cause", "ids": {"train": {"en": ["1", "3"]}}}
    return make_spec(repairs=[{"step": "repeated-ids"}, step])


def test_only_listed_rows_change_and_only_when_wrong(make_spec, tmp_path):
    step = {"step": "question", "to": "cause", "ids": {"train": {"en": ["1", "3"]}}}
    files = {"files": {"data": "toy/{language}.jsonl"}}
    fields = {"id": "{id}", "context": "p", "question": "q", "choices": ["a", "b"], "label": "label"}
    layout = {"languages": ["en", "th"], "splits": {"train": files, "test": files}, "fields": fields}
    path = tmp_path / "rows.jsonl"
    rows = [{"id": n, "p": "p", "q": q, "a": "a", "b": "b", "label": 0} for n, q in enumerate(QUESTIONS, 1)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    def questions(split="train", language="en", repairs=(step,), off=()):
        spec = make_spec(repairs=list(repairs), **layout)
        loaded = read_examples(spec, split, language, path, off=off)
        return [example.question for example in loaded.examples], loaded.repairs

    assert questions() == (["cause", "effect", "cause"], {"question": 1})
    for as_they_are in ({"split": "test"}, {"language": "th"}, {"off": ["question"]}, {"repairs": ()}):
        assert questions(**as_they_are) == (QUESTIONS, {})


def test_steps_that_are_on(make_spec):
    assert {step for step in STEPS if Repairs().take(step)} == set(GENERAL)
    spec = declared(make_spec)
    assert {step for step in STEPS if Repairs.of([step.step for step in spec.repairs]).take(step)} == {
        *GENERAL,
        "question",
        "repeated-ids",
    }
    off = Repairs.of([step.step for step in spec.repairs], ["digits", "question"])
    assert not off.take("digits") and not off.take("question") and off.take("repeated-ids")
    assert off.take("repeated-ids") and off.counts == {"repeated-ids": 2}


def test_a_step_that_does_not_exist_is_refused(make_spec):
    with pytest.raises(UserError, match="unknown repair step 'questions'") as caught:
        Repairs.of([step.step for step in make_spec().repairs], ["questions"])
    assert caught.value.fix is not None and all(step in caught.value.fix for step in STEPS)


def test_the_shipped_lists_have_the_known_lengths():
    (step,) = (step for step in task_spec("xcopa").repairs if step.step == "question")
    assert {
        split: {language: len(ids) for language, ids in listed.items()} for split, listed in step.ids.items()
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
