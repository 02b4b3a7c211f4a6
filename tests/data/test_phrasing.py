import pytest

from metaxcr.data.phrasing import phrase, relation_of
from metaxcr.data.registry import load, task_ids, task_spec


@pytest.mark.parametrize("question", ["cause", "effect"])
def test_causal_tasks_ask_in_their_direction(make_example, question):
    phrased = phrase(make_example(question=question), task_spec("copa"))
    assert phrased.context == "The glass fell." and phrased.choices == ("It broke.", "It sang.")
    assert phrased.relation == question


def test_without_a_question_there_is_no_direction(make_example):
    assert phrase(make_example(question=""), task_spec("copa")).relation == "answer"


def test_a_blank_is_filled_and_the_rest_goes_with_the_choice(make_example):
    example = make_example(
        context="Sarah was better than Maria so _ got the easier cases.",
        question="",
        choices=("Sarah", "Maria"),
    )
    phrased = phrase(example, task_spec("winogrande"))
    assert phrased.context == "Sarah was better than Maria so"
    assert phrased.choices == ("Sarah got the easier cases.", "Maria got the easier cases.")
    assert phrased.relation == "effect"


def test_statements_have_no_context(make_example):
    phrased = phrase(make_example(context="", question=""), task_spec("comve"))
    assert (phrased.context, phrased.relation) == ("", "none")


def test_a_question_in_words_joins_its_context(make_example):
    example = make_example(context="Jan gave out jobs.", question="How would others feel as a result?")
    assert (
        phrase(example, task_spec("socialiqa")).context
        == "Jan gave out jobs. How would others feel as a result?"
    )
    assert phrase(example, task_spec("commonsenseqa")).context == "How would others feel as a result?"


@pytest.mark.parametrize("task_id", ["socialiqa", "starter_social"])
@pytest.mark.parametrize(
    ("question", "relation"),
    [
        ("What will Others want to do next?", "effect"),
        ("What will happen to Jan?", "effect"),
        ("How would Jan feel afterwards?", "effect"),
        ("How would Others feel as a result?", "effect"),
        ("What does Jan need to do after this?", "effect"),
        ("Why did Jan do this?", "cause"),
        ("What does Jan need to do before this?", "cause"),
        ("What does Jan need to do beforehand?", "cause"),
        ("How would you describe Jan?", "answer"),
        ("What kind of person is Jan?", "answer"),
    ],
)
def test_the_wording_of_a_social_question_tells_its_direction(make_example, task_id, question, relation):
    assert relation_of(make_example(question=question), task_spec(task_id)) == relation


@pytest.mark.parametrize("task_id", [name for name in task_ids() if task_spec(name).package])
def test_every_starter_example_can_be_phrased(task_id):
    spec = task_spec(task_id)
    for split in spec.splits:
        for example in load(task_id, split).examples:
            phrased = phrase(example, spec)
            assert (phrased.context == "") == (phrased.relation == "none")
            assert len(phrased.choices) == len(example.choices) and all(phrased.choices)
            assert not any(mark in text for text in (phrased.context, *phrased.choices) for mark in "{}")


@pytest.mark.real
def test_every_real_example_can_be_phrased(data_root):
    for task_id in task_ids():
        spec = task_spec(task_id)
        if spec.package:
            continue
        there = [
            (split, language)
            for split in spec.splits
            for language in spec.split_languages(split)
            if all((data_root / name).is_file() for name in spec.files_of(split, language))
        ]
        for split, language in there[: len(spec.languages)]:
            for example in load(task_id, split, language=language, root=data_root).examples:
                phrased = phrase(example, spec)
                assert (phrased.context == "") == (phrased.relation == "none")
                assert all(choice.strip() == choice for choice in phrased.choices)


def test_a_context_that_does_not_count_is_left_out(make_spec, make_example):
    assert phrase(make_example(), make_spec(relation="none")).context == ""
