"""Declarations made of two, and what they refuse."""

from pathlib import Path

import pytest

from metaxcr.data.infer.declaration import body_of, merged, validated
from metaxcr.errors import UserError


def test_a_value_that_is_not_allowed_is_one_line(make_spec):
    with pytest.raises(UserError, match="group: Input should be 'source' or 'target'"):
        validated({**body_of(make_spec()), "group": "other"})


def test_a_declaration_written_by_hand_is_left_alone(make_spec):
    spec = make_spec()
    with pytest.raises(UserError, match="written by hand"):
        merged(spec, make_spec(languages=["sw"]), "sw", force=False, path=Path("toy.yaml"))


def test_the_body_reads_back(make_spec):
    assert validated(body_of(make_spec(skip_bad=True))) == make_spec(skip_bad=True)


def test_words_for_the_question_are_joined(make_spec):
    def one(language, **more):
        fields = {
            "id": "{id}",
            "context": "p",
            "question": "q",
            "choices": ["a", "b"],
            "label": "label",
            **more,
        }
        splits = {"test": {"files": {"data": {language: f"/{language}"}}}}
        return make_spec(languages=[language], fields=fields, splits=splits, relation="question")

    spec = merged(
        one("en"),
        one("ko", question_words={"cause": ["원인"], "effect": ["결과"]}),
        "ko",
        force=False,
        path=Path("toy.yaml"),
    )
    assert spec.fields_.question_words == {"cause": ["cause", "원인"], "effect": ["effect", "결과"]}
    assert spec.splits["test"].files.data == {"en": "/en", "ko": "/ko"}
