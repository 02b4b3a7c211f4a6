import json

import pytest

from metaxcr.errors import UserError
from metaxcr.tasks.readers import read_examples

GOOD = {"id": "x1", "premise": " The glass fell. ", "a": "It broke.", "b": "It sang.", "label": 0}


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_becomes_an_example(tmp_path, make_spec):
    (example,) = read_examples(make_spec(), "train", "en", jsonl(tmp_path / "d.jsonl", GOOD))
    assert (example.id, example.context, example.question) == ("x1", "The glass fell.", "")
    assert example.choices == ("It broke.", "It sang.")
    assert (example.label, example.language, example.task) == (0, "en", "toy")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"label": 2}, "label 2 is out of range for 2 choices"),
        ({"label": "yes"}, "no whole number"),
        ({"a": "  "}, "field 'a' is empty"),
        ({"b": None}, "field 'b' is no text but NoneType"),
        ({"premise": 5}, "field 'premise' is no text but int"),
        ({"id": "x0"}, "id 'x0' is also on line 1"),
    ],
)
def test_a_defect_names_file_line_and_remedy(tmp_path, make_spec, changes, what):
    path = jsonl(tmp_path / "d.jsonl", {**GOOD, "id": "x0"}, {**GOOD, **changes})
    with pytest.raises(UserError) as caught:
        read_examples(make_spec(), "train", "en", path)
    assert what in caught.value.what and caught.value.where == f"{path}:2" and caught.value.fix


@pytest.mark.parametrize("key", GOOD)
def test_a_missing_key_is_named(tmp_path, make_spec, key):
    path = jsonl(tmp_path / "d.jsonl", {name: value for name, value in GOOD.items() if name != key})
    with pytest.raises(UserError) as caught:
        read_examples(make_spec(), "train", "en", path)
    assert f"no field '{key}'" in caught.value.what and caught.value.where == f"{path}:1"


def test_an_empty_file_is_refused(tmp_path, make_spec):
    with pytest.raises(UserError, match="no examples"):
        read_examples(make_spec(), "train", "en", jsonl(tmp_path / "d.jsonl"))


@pytest.mark.parametrize("question", ["because", ""])
def test_a_causal_question_is_cause_or_effect(tmp_path, make_spec, question):
    spec = make_spec(
        relation="question",
        fields={"context": "premise", "question": "q", "choices": ["a", "b"], "label": "label"},
    )
    path = jsonl(tmp_path / "d.jsonl", {**GOOD, "q": "cause"})
    assert read_examples(spec, "train", "en", path)[0].question == "cause"
    with pytest.raises(UserError, match="'q' is"):
        read_examples(spec, "train", "en", jsonl(path, {**GOOD, "q": question}))


@pytest.mark.parametrize("sentence", ["No blank.", "Two _ here _."])
def test_a_sentence_has_one_blank(tmp_path, make_spec, sentence):
    spec = make_spec(phrasing={"blank": "_"})
    with pytest.raises(UserError, match=r"blanks '_'.*d\.jsonl:1"):
        read_examples(spec, "train", "en", jsonl(tmp_path / "d.jsonl", {**GOOD, "premise": sentence}))


@pytest.mark.parametrize(
    ("choices", "what"),
    [
        ("a, b", "no list of two or more"),
        ([{"text": "only one"}], "no list of two or more"),
        ([{"text": "a"}, "b"], "no object"),
        ([{"text": "a"}, {"txt": "b"}], "no field 'text'"),
        ([{"text": "a"}, {"text": ""}], "field 'text' is empty"),
    ],
)
def test_listed_choices(tmp_path, make_spec, choices, what):
    spec = make_spec(fields={"choices": "q.list", "choice_text": "text", "label": "label"})
    path = jsonl(tmp_path / "d.jsonl", {"q": {"list": [{"text": "a"}, {"text": "b"}]}, "label": 1})
    (example,) = read_examples(spec, "train", "en", path)
    assert (example.id, example.choices) == ("train-1", ("a", "b"))
    with pytest.raises(UserError) as caught:
        read_examples(spec, "train", "en", jsonl(path, {"q": {"list": choices}, "label": 1}))
    assert what in caught.value.what


def test_plain_lists_of_choices(tmp_path, make_spec):
    spec = make_spec(fields={"choices": "list", "label": "label"})
    path = jsonl(tmp_path / "d.jsonl", {"list": ["a", "b", "c"], "label": 2})
    assert read_examples(spec, "train", "en", path)[0].choices == ("a", "b", "c")
    with pytest.raises(UserError, match="no text but int"):
        read_examples(spec, "train", "en", jsonl(path, {"list": ["a", 1], "label": 0}))


@pytest.mark.parametrize(("language", "joined"), [("en", "A. B."), ("zh", "A.B.")])
def test_sentences_are_joined_as_the_script_wants(tmp_path, make_spec, language, joined):
    spec = make_spec(
        fields={"context": ["s1", "s2"], "choices": ["a", "b"], "label": "label"}, languages=["en", "zh"]
    )
    path = jsonl(tmp_path / "d.jsonl", {**GOOD, "s1": "A.", "s2": "B."})
    assert read_examples(spec, "train", language, path)[0].context == joined


def test_splits_that_share_a_file_are_ranges_of_ids(tmp_path, make_spec):
    files = {"data": "toy.jsonl"}
    spec = make_spec(
        splits={
            "shots": {"files": files, "ids": {"first": 1, "last": 2}},
            "test": {"files": files, "ids": {"first": 3}},
        }
    )
    path = jsonl(tmp_path / "d.jsonl", *({**GOOD, "id": number} for number in (3, 1, 2, 4)))
    assert [example.id for example in read_examples(spec, "shots", "en", path)] == ["1", "2"]
    assert [example.id for example in read_examples(spec, "test", "en", path)] == ["3", "4"]
    with pytest.raises(UserError, match="no whole number"):
        read_examples(spec, "test", "en", jsonl(path, {**GOOD, "id": "one"}))


def test_label_files_must_be_in_step(tmp_path, make_spec):
    path, labels = jsonl(tmp_path / "d.jsonl", {**GOOD, "id": 1}, {**GOOD, "id": 2}), tmp_path / "d.lst"
    labels.write_text("0\n1\n")
    assert [example.label for example in read_examples(make_spec(), "train", "en", path, labels)] == [0, 1]
    labels.write_text("0\n1\n1\n")
    with pytest.raises(UserError, match="3 labels for 2 rows"):
        read_examples(make_spec(), "train", "en", path, labels)
    labels.write_text("0\n")
    with pytest.raises(UserError, match="1 labels"):
        read_examples(make_spec(), "train", "en", path, labels)
