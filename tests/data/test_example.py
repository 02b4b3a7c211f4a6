"""Questions as users ask them in Python; what is wrong with them is tested through ``MetaXCR.rank_many``."""

import dataclasses

import pytest

from metaxcr.data.example import inline_example, phrase_inline


def test_examples_are_values(make_example):
    assert make_example() == make_example() and len({make_example(), make_example()}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_example().label = 1


GIVEN = {"context": " a ", "choices": [" b", "c"], "language": "es"}


def test_texts_are_trimmed_and_named_by_position():
    example = inline_example(3, GIVEN)
    assert (example.id, example.context, example.choices, example.question) == ("3", "a", ("b", "c"), "")
    assert (example.language, example.label) == ("es", None)


def test_cause_and_effect_are_directions_and_the_rest_is_words():
    seen = {
        q: phrase_inline(inline_example(0, {**GIVEN, "question": q}))
        for q in ("cause", "effect", None, "Why?")
    }
    assert {q: (p.context, p.relation) for q, p in seen.items()} == {
        "cause": ("a", "cause"),
        "effect": ("a", "effect"),
        None: ("a", "answer"),
        "Why?": ("a Why?", "answer"),
    }
    assert all(p.choices == ("b", "c") for p in seen.values())
