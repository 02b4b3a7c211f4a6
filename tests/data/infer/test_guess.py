"""Layouts of published sets, in invented rows."""

from pathlib import Path

import pytest

from metaxcr.data.infer.guess import guess
from metaxcr.data.infer.table import ColumnHints
from metaxcr.data.languages import language_tag
from metaxcr.data.rows import Defect
from metaxcr.errors import UserError

FILE = Path("file.x")


def guessed(rows, *, language="en", **hints):
    numbered = [(n, row) for n, row in enumerate(rows, start=1)]
    return guess(numbered, language_tag(language), ColumnHints(**hints), FILE)


def causal(n=4, **more):
    return [
        {"premise": f"p {i}", "choice1": "a", "choice2": "b", "question": ("cause", "effect")[i % 2],
         "label": i % 2, "idx": i, **more} for i in range(n)
    ]  # fmt: skip


def renamed(rows, **names):
    return [{names.get(key, key): value for key, value in row.items()} for row in rows]


def test_xcopa():
    found = guessed(causal(changed=False))
    assert found.fields == {
        "id": "{split}-{idx}",
        "context": "premise",
        "question": "question",
        "choices": ["choice1", "choice2"],
        "label": "label",
        "label_kind": "zero",
    }
    assert (found.relation, found.phrasing, found.labelled, found.repairs) == ("question", {}, True, [])
    assert found.unused == ["changed"]


def test_kobest_with_words_of_its_language_and_bare_numbers():
    rows = renamed(causal(), premise="sentence", choice1="1", choice2="2", label="Answer", idx="ID")
    rows = [
        {**row, "question": "원인" if row["question"] == "cause" else "결과", "Answer": row["Answer"] + 1}
        for row in rows
    ]
    found = guessed(rows, language="ko")
    assert found.fields["question_words"] == {"cause": ["원인"], "effect": ["결과"]}
    assert found.fields["choices"] == ["1", "2"]
    assert found.fields["label_kind"] == "one"


def test_nested_mera():
    rows = [
        {"instruction": "{premise}", "inputs": {"premise": r["premise"], "choice1": "a", "choice2": "b"},
         "outputs": str(r["label"] + 1), "meta": {"task": r["question"], "id": r["idx"]}} for r in causal()
    ]  # fmt: skip
    found = guessed(rows, language="ru")
    assert found.fields["context"] == "inputs.premise"
    assert found.fields["question"] == "meta.task"
    assert found.fields["choices"] == ["inputs.choice1", "inputs.choice2"]
    assert (found.fields["label"], found.fields["label_kind"]) == ("outputs", "one")
    assert found.fields["id"] == "{split}-{line}"  # an id is made of plain fields


def test_parsinlu_with_blank_choices_and_a_source_that_is_no_id():
    rows = [
        {
            "اسم فایل": "one",
            "صورت سوال": f"سوال {n} کدام است؟",
            "پاسخ": label,
            "گزینه ۱": "۳",
            "گزینه ۲": "۱",
            "گزینه ۳": last,
        }
        for n, (label, last) in enumerate([("1", "۲"), ("3", "۲"), ("2", "")])
    ]
    found = guessed(rows, language="fa")
    assert found.fields["choices"] == ["گزینه ۱", "گزینه ۲", "گزینه ۳"]
    assert found.fields["blank_choices"] is True
    assert (found.fields["label"], found.fields["label_kind"]) == ("پاسخ", "one")
    assert found.fields["id"] == "{split}-{line}"
    assert (found.relation, found.phrasing) == ("answer", {"context": "{question}"})


def test_a_context_that_is_sometimes_blank():
    rows = [
        {
            "id": f"x{n}",
            "paragraph": text,
            "question": f"q {n}?",
            "choices": ["one", "two"],
            "answer": ("one", "two")[n % 2],
        }
        for n, text in enumerate(["", "said", "", "done"])
    ]
    found = guessed(rows)
    assert found.fields["blank_context"] is True
    assert found.phrasing == {"context": "{context} {question}"}
    assert found.fields["label_kind"] == "text"
    assert found.fields["id"] == "{id}"
    assert "context" not in guessed([{**row, "paragraph": ""} for row in rows]).fields


def test_csqa_nested_and_flat():
    rows = [
        {"id": f"x{n}", "answerKey": "AB"[n], "question": {"stem": "s?", "question_concept": "c",
         "choices": [{"label": "A", "text": "a"}, {"label": "B", "text": "b"}]}} for n in range(2)
    ]  # fmt: skip
    found = guessed(rows)
    assert found.fields["question"] == "question.stem"
    assert (found.fields["choices"], found.fields["choice_text"], found.fields["choice_key"]) == (
        "question.choices", "text", "label",
    )  # fmt: skip
    assert found.fields["label_kind"] == "key"
    flat = [{**row, "question": "s?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}} for row in rows]
    found = guessed(flat)
    assert (found.fields["choices"], found.fields["choice_keys"]) == ("choices.text", "choices.label")
    assert found.fields["label"] == "answerKey"


def test_one_field_that_is_both_is_told_by_its_question_marks():
    rows = [{"query": f"who {n}?", "sol1": "a", "sol2": "b", "label": n % 2} for n in range(4)]
    assert guessed(rows).relation == "answer"
    assert guessed([{**row, "query": "he went"} for row in rows]).relation == "effect"
    assert guessed(renamed(rows, query="context")).fields.get("question") == "context"


def test_stories_goals_and_blanks():
    story = [
        {"InputStoryid": f"i{n}", **{f"InputSentence{k}": "s" for k in (1, 2)},
         "RandomFifthSentenceQuiz1": "a", "RandomFifthSentenceQuiz2": "b", "AnswerRightEnding": n % 2 + 1}
        for n in range(4)
    ]  # fmt: skip
    found = guessed(story)
    assert found.fields["context"] == ["InputSentence1", "InputSentence2"]
    assert (found.relation, found.fields["label_kind"], found.fields["id"]) == (
        "effect",
        "one",
        "{InputStoryid}",
    )
    goal = [{"goal": "do it", "sol1": "a", "sol2": "b", "label": n % 2} for n in range(4)]
    assert guessed(goal).relation == "cause"
    blank = [
        {"sentence": "so _ left", "option1": "a", "option2": "b", "answer": str(n % 2 + 1)} for n in range(4)
    ]
    assert guessed(blank).phrasing == {"blank": "_", "context": "{before}", "choice": "{choice}{after}"}
    assert guessed(blank, relation="cause").relation == "cause"


def test_only_choices_have_no_relation():
    found = guessed([{"id": n, "sent0": "a b", "sent1": "c d"} for n in range(3)])
    assert (found.relation, found.labelled) == ("none", False)


def test_rows_of_other_languages_are_left_out():
    rows = [{**row, "lang": lang} for row in causal() for lang in ("swh", "en")]
    found = guessed(rows, language="sw")
    assert found.fields["where"] == {"lang": "{language}"}
    assert found.codes == {"sw": "swh"}
    assert found.fields["id"] == "{split}-{idx}"  # unique within the language
    assert guessed(rows, language="en").codes == {}
    with pytest.raises(UserError, match=r"no row is in 'th'.*en, swh"):
        guessed(rows, language="th")
    with pytest.raises(UserError, match="no row is in 'th'"):
        guessed([{**row, "lang": "en"} for row in rows], language="th")


def test_a_column_that_is_no_language_is_passed_over():
    assert (
        guessed([{**row, "language": "formal speech"} for row in causal()], language="th").relation
        == "question"
    )


def test_ids():
    rows = causal(100)
    rows[7]["idx"] = 6
    found = guessed(rows)
    assert (found.fields["id"], found.repairs) == ("{split}-{idx}", [{"step": "repeated-ids"}])
    many = [{**row, "idx": row["idx"] // 2} for row in causal(100)]
    assert guessed(many).fields["id"] == "{split}-{line}"
    assert guessed(many, repairs=("repeated-ids",)).repairs == [{"step": "repeated-ids"}]
    assert guessed(many, roles={"id": ["idx"]}).fields["id"] == "{split}-{idx}"
    one_line = guess(
        [(1, row) for row in renamed(causal(), idx="x")], language_tag("en"), ColumnHints(), FILE
    )
    assert one_line.fields["id"] == "{split}-{position}"


def test_one_row_with_a_choice_too_many_is_a_repair():
    rows = [{"question": f"q {n}?", "choices": ["a", "b", "c"], "label": n % 3} for n in range(100)]
    rows[5]["choices"] = ["a", "b", "c", "c"]
    assert guessed(rows).repairs == [{"step": "choices", "n": 3}]
    for n in range(20):
        rows[n]["choices"] = ["a", "b", "c", "d"]
    assert guessed(rows).repairs == []


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (renamed(causal(), choice1="left", choice2="right"), "--map choices="),
        (renamed(causal(), premise="said", question="x"), "--map premise="),
        (renamed(causal(), premise="said"), "cause or effect, but there is no context"),
        ([{**row, "question": ("wuk", "wak")[row["idx"] % 2]} for row in causal()], "--map cause=WORD"),
        ([{**row, "question": "effect" if row["idx"] else "affect"} for row in causal(10)], "'affect'"),
        ([{**row, "label": "good"} for row in causal()], "file.x:1"),
        (renamed(causal(8), label="x"), "'x' looks like labels"),
        ([{**row, "label": 1} for row in causal()], "--labels zero"),
        ([{"He went to the big house.": "a", "She ran to the big tree.": "b"}], "must name the columns"),
        ([], "no rows"),
        ([Defect("broken", "mend it"), *causal()], "--skip-bad"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_one_line_with_what_to_say(rows, told):
    with pytest.raises(UserError, match=r"file\.x") as caught:
        guessed(rows)
    assert told in str(caught.value)


def test_a_wrong_name_is_told_with_those_that_are_there():
    with pytest.raises(UserError, match=r"no column 'x'.*'premise', 'choice1'"):
        guessed(causal(), roles={"premise": ["x"]})


def test_what_the_user_says_counts():
    rows = renamed(causal(8), premise="said", choice1="left", choice2="right", question="x", label="y")
    rows = [{**row, "x": "wuk" if row["x"] == "cause" else "wak"} for row in rows]
    roles = {"premise": ["said"], "choices": ["right", "left"], "question": ["x"], "label": ["y"],
             "cause": ["wuk"], "effect": ["wak"]}  # fmt: skip
    found = guessed(rows, roles=roles)
    assert found.fields["choices"] == ["right", "left"]
    assert found.fields["question_words"] == {"cause": ["wuk"], "effect": ["wak"]}
    assert not guessed(rows, roles=roles, labels="none").labelled
    assert guessed([{**row, "y": 1} for row in rows], roles=roles, labels="one").fields["label_kind"] == "one"


def test_bad_rows_do_not_stand_in_the_way_where_they_are_skipped():
    rows = [Defect("broken", "mend it"), *causal(60), *causal(1, question="affect")]
    assert guessed(rows, skip_bad=True).relation == "question"


@pytest.mark.parametrize("hidden", [None, -1, "-1", "", "-"])
def test_hidden_labels(hidden):
    found = guessed([{**row, "label": hidden} for row in causal()])
    assert not found.labelled
    assert "label" not in found.fields


def test_a_file_of_labels_beside_the_rows_is_named(tmp_path):
    file = tmp_path / "train.jsonl"
    rows = [(n, {"goal": f"g {n}", "sol1": "a", "sol2": "b"}) for n in range(1, 5)]
    assert guess(rows, language_tag("en"), ColumnHints(), file).warnings == []
    (tmp_path / "train-labels.lst").touch()
    (warning,) = guess(rows, language_tag("en"), ColumnHints(), file).warnings
    assert "train-labels.lst may hold the labels: join the two files" in warning
    assert guess(rows, language_tag("en"), ColumnHints(labels="none"), file).warnings == []
