"""Files of questions that users write."""

import json
import tracemalloc

import pytest

from metaxcr.data.example import Example
from metaxcr.data.infer.user_questions import read_questions
from metaxcr.errors import UserError


def all_questions(file, language):
    return list(read_questions(file, language))


def test_all_spellings_of_a_question(tmp_path):
    rows = [
        {"premise": " p", "choices": ["a", "b"]},
        {"context": "c", "question": "Why?", "choice1": "a", "choice2": "b", "choice10": "j", "id": 7},
    ]
    file = tmp_path / "q.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    assert all_questions(file, "es") == [
        Example("1", "p", "", ("a", "b"), None, "es", "rank"),
        Example("7", "c", "Why?", ("a", "b", "j"), None, "es", "rank"),
    ]


def test_rows_of_a_table_may_have_fewer_choices(tmp_path):
    file = tmp_path / "q.csv"
    file.write_text('id,premise,choice_1,choice_2,choice_3\nx,"p, q",a,b,\n')
    assert all_questions(file, "es") == [Example("x", "p, q", "", ("a", "b"), None, "es", "rank")]


def test_an_id_of_zero_is_an_id(tmp_path):
    file = tmp_path / "q.jsonl"
    file.write_text('{"id": 0, "premise": "p", "choices": ["a", "b"]}')
    assert all_questions(file, "es")[0].id == "0"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ('{"choices": ["a", "b"]}', "one of 'premise' and 'context'"),
        ('{"premise": "a", "context": "a", "choices": ["a", "b"]}', "one of 'premise' and 'context'"),
        ('{"premise": "a"}', "0 choices"),
        ('{"premise": "a", "choice1": "b"}', "1 choices"),
        ('{"premise": "a", "choices": "bc"}', "not a list"),
        ('{"premise": "a", "choices": ["b", 3]}', "3 is not a text"),
        ('{"premise": "a", "choices": ["b", " "]}', "or is empty"),
        ('{"premise": 1, "choices": ["b", "c"]}', "1 is not a text"),
        ('{"premise": "a", "question": 1, "choices": ["b", "c"]}', "1 is not a text"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, message):
    file = tmp_path / "q.jsonl"
    file.write_text('{"premise": "a", "choices": ["b", "c"]}\n' + line)
    with pytest.raises(UserError, match=r"q\.jsonl:2") as caught:
        all_questions(file, "es")
    assert message in str(caught.value)


def test_a_table_with_a_short_row_is_named(tmp_path):
    file = tmp_path / "q.csv"
    file.write_text("premise,choice1,choice2\na,b\n")
    with pytest.raises(UserError, match=r"q\.csv:2"):
        all_questions(file, "es")


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_no_file_and_no_question(tmp_path, content):
    file = tmp_path / "q.jsonl"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=r"no such file|no questions"):
        all_questions(file, "es")


def test_other_names_are_guessed(tmp_path):
    file = tmp_path / "q.tsv"
    file.write_text("ID\tsentence\tquestion\t1\t2\n" + "".join(f"{n}\ts {n}\t원인\ta\tb\n" for n in (7, 8)))
    first = all_questions(file, "ko")[0]
    assert (first.id, first.context, first.question, first.language) == ("7", "s 7", "cause", "ko")
    file = tmp_path / "q.json"
    file.write_text(json.dumps([{"question": "Who?", "options": ["a", "b"], "label": 1}], indent=1))
    (only,) = all_questions(file, "en")
    assert (only.id, only.context, only.question, only.choices) == ("2", "Who?", "", ("a", "b"))
    assert only.label is None


def test_a_table_may_be_separated_by_semicolons(tmp_path):
    file = tmp_path / "q.csv"
    file.write_text("premise;choice1;choice2\np, q;a;b\n")
    assert all_questions(file, "es")[0].context == "p, q"


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv"])
def test_a_large_file_is_never_in_memory(tmp_path, suffix):
    """Four thousand questions of four kilobytes each, read with less than a tenth of the file's size."""
    file, text = tmp_path / f"q.{suffix}", "word " * 800
    separator = {"csv": ",", "tsv": "\t"}.get(suffix)
    with file.open("w") as stream:
        if separator:
            stream.write(separator.join(["premise", "choice1", "choice2"]) + "\n")
        for n in range(4_000):
            row = {"premise": f"{text}{n}", "choice1": "a", "choice2": "b"}
            stream.write((separator.join(row.values()) if separator else json.dumps(row)) + "\n")
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_questions(file, "en")) == 4_000
        assert tracemalloc.get_traced_memory()[1] < file.stat().st_size / 10
    finally:
        tracemalloc.stop()
