"""Names of columns, and words for cause and effect."""

import pytest

from metaxcr.data.infer.column_names import (
    comparable,
    has_word,
    known,
    numbered_columns,
    question_kind,
    words_of,
)


@pytest.mark.parametrize(
    "names",
    [
        ["choice1", "choice2"],
        ["choice0", "choice1", "choice2"],
        ["choice_1", "choice_2"],
        ["Choice 1", "Choice 2"],
        ["optionA", "optionB", "optionC"],
        ["1", "2"],
        ["A", "B", "C", "D"],
        ["گزینه ۱", "گزینه ۲"],
        ["inputs.choice1", "inputs.choice2"],
        [f"choice{n}" for n in range(1, 11)],
    ],
)
def test_numbered_columns_are_found_in_their_order(names):
    assert list(numbered_columns(["premise", *reversed(names), "label"]).values()) == [names]


@pytest.mark.parametrize("names", [["choice1"], ["choice2", "choice3"], ["choice1", "choice3"], ["id", "ie"]])
def test_columns_that_do_not_count_up_are_no_group(names):
    assert numbered_columns(names) == {}


def test_known_names_are_sorted_by_how_much_they_tell():
    assert known("context", ["paragraph", "Premise", "x"]) == ["Premise", "paragraph"]
    assert known("id", ["question_id", "idx", "meta.id"]) == ["meta.id", "idx", "question_id"]
    assert known("label", ["answer-key", "gold label", "پاسخ"]) == ["gold label", "answer-key", "پاسخ"]
    assert comparable("question.Asks-For") == "asksfor"


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("cause", "cause"),
        (" Effect ", "effect"),
        ("원인", "cause"),
        ("결과", "effect"),
        ("What was the CAUSE of this?", "cause"),
        ("What happened as a RESULT?", "effect"),
        ("Ursache", "cause"),
        ("kết quả", "effect"),
        ("Why did he go?", None),
        ("", None),
    ],
)
def test_words_for_cause_and_effect(word, kind):
    assert question_kind(word) == kind


def test_words_in_a_name():
    assert words_of("meta.correctAnswer_2") == {"correct", "answer"}
    assert has_word("falsche Antwort 1", "wrong_words") and not has_word("answer", "wrong_words")
