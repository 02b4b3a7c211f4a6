"""Names of columns, and words for cause and effect."""

from pathlib import Path

import pytest

from metaxcr.data.infer.table import (
    ColumnHints,
    Table,
    columns_of,
    comparable,
    has_word,
    known,
    numbered_columns,
    question_kind,
    select_rows,
    words_of,
)
from metaxcr.data.languages import language_tag
from metaxcr.errors import UserError


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


def test_columns_of_all_rows_with_nested_ones_dotted():
    rows = [
        {"id": 1, "question": {"stem": "s", "choices": [1]}},
        {"choices": {"text": ["a"], "label": ["A"]}, "id": 2},
    ]
    assert columns_of(rows) == ["id", "question.stem", "question.choices", "choices.text", "choices.label"]


def test_only_the_rows_that_are_wanted_are_read():
    rows = [(n, {"lang": ("hr", "en")[n % 2], "part": "ab"[n // 2]}) for n in range(4)]
    table = Table(rows, ColumnHints(where={"part": "b"}), Path("file.x"))
    select_rows(table, language_tag("hr"))
    assert (table.codes, table.other_languages) == ({}, 3)
    assert [line for line, _ in table.rows] == [2]
    assert table.fields == {"where": {"part": "b", "lang": "{language}"}}
    with pytest.raises(UserError, match=r"no row has part=c .*'part' has a, b"):
        select_rows(Table(rows, ColumnHints(where={"part": "c"}), Path("file.x")), language_tag("hr"))


def test_a_column_for_languages_may_be_blank():
    rows = [(n, {"lang": "", "premise": "p"}) for n in range(4)]
    table = Table(rows, ColumnHints(), Path("file.x"))
    select_rows(table, language_tag("hr"))
    assert (len(table.rows), table.fields) == (4, {})
    with pytest.raises(UserError, match="'lang' has no value, and it is not known which is 'hr'"):
        select_rows(
            Table(rows, ColumnHints(roles={"language": ["lang"]}), Path("file.x")), language_tag("hr")
        )
