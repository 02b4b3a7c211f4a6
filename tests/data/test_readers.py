import json

import pytest

from metaxcr.data.readers import read_examples
from metaxcr.errors import UserError

GOOD = {"id": "x1", "premise": " The glass fell. ", "a": "It broke.", "b": "It sang.", "label": 0}


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def examples_of(*words, **more):
    return read_examples(*words, **more).examples


def test_a_row_becomes_an_example(tmp_path, make_spec):
    (example,) = examples_of(make_spec(), "train", "en", jsonl(tmp_path / "d.jsonl", GOOD))
    assert (example.id, example.context, example.question) == ("x1", "The glass fell.", "")
    assert example.choices == ("It broke.", "It sang.")
    assert (example.label, example.language, example.task) == (0, "en", "toy")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"label": 2}, "label 2 is out of range for 2 choices"),
        ({"label": "yes"}, "no whole number"),
        ({"a": "  "}, "field 'choices' is empty"),
        ({"b": None}, "field 'choices' is not text but NoneType"),
        ({"premise": 5}, "field 'premise' is not text but int"),
        ({"id": "x0"}, "id 'x0' is also on line 1"),
        ({"id": None}, "field 'id' is NoneType"),
        ({"id": [1]}, "field 'id' is list"),
        ({"id": " "}, "field 'id' is empty"),
        ({"premise": "a\0"}, "field 'premise' holds a NUL"),
        ({"premise": "x" * 100_001}, "field 'premise' has 100,001 characters"),
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
    assert examples_of(spec, "train", "en", path)[0].question == "cause"
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
        ("a, b", "not a list of two or more"),
        ([{"text": "only one"}], "not a list of two or more"),
        ([{"text": "a"}, "b"], "not an object"),
        ([{"text": "a"}, {"txt": "b"}], "no field 'text'"),
        ([{"text": "a"}, {"text": ""}], "field 'choices' is empty"),
    ],
)
def test_listed_choices(tmp_path, make_spec, choices, what):
    spec = make_spec(fields={"choices": "q.list", "choice_text": "text", "label": "label"})
    path = jsonl(tmp_path / "d.jsonl", {"q": {"list": [{"text": "a"}, {"text": "b"}]}, "label": 1})
    (example,) = examples_of(spec, "train", "en", path)
    assert (example.id, example.choices) == ("train-1", ("a", "b"))
    with pytest.raises(UserError) as caught:
        read_examples(spec, "train", "en", jsonl(path, {"q": {"list": choices}, "label": 1}))
    assert what in caught.value.what


def test_plain_lists_of_choices(tmp_path, make_spec):
    spec = make_spec(fields={"choices": "list", "label": "label"})
    path = jsonl(tmp_path / "d.jsonl", {"list": ["a", "b", "c"], "label": 2})
    assert examples_of(spec, "train", "en", path)[0].choices == ("a", "b", "c")
    with pytest.raises(UserError, match="not text but int"):
        read_examples(spec, "train", "en", jsonl(path, {"list": ["a", 1], "label": 0}))


@pytest.mark.parametrize(("language", "joined"), [("en", "A. B."), ("zh", "A.B.")])
def test_sentences_are_joined_as_the_script_wants(tmp_path, make_spec, language, joined):
    spec = make_spec(
        fields={"context": ["s1", "s2"], "choices": ["a", "b"], "label": "label"}, languages=["en", "zh"]
    )
    path = jsonl(tmp_path / "d.jsonl", {**GOOD, "s1": "A.", "s2": "B."})
    assert examples_of(spec, "train", language, path)[0].context == joined


def test_splits_that_share_a_file_are_ranges_of_ids(tmp_path, make_spec):
    files = {"data": "toy.jsonl"}
    spec = make_spec(
        splits={
            "shots": {"files": files, "ids": {"first": 1, "last": 2}},
            "test": {"files": files, "ids": {"first": 3}},
        }
    )
    path = jsonl(tmp_path / "d.jsonl", *({**GOOD, "id": number} for number in (3, 1, 2, 4)))
    assert [example.id for example in examples_of(spec, "shots", "en", path)] == ["1", "2"]
    assert [example.id for example in examples_of(spec, "test", "en", path)] == ["3", "4"]
    with pytest.raises(UserError, match="not a whole number"):
        read_examples(spec, "test", "en", jsonl(path, {**GOOD, "id": "one"}))


def test_label_files_must_be_in_step(tmp_path, make_spec):
    path, labels = jsonl(tmp_path / "d.jsonl", {**GOOD, "id": 1}, {**GOOD, "id": 2}), tmp_path / "d.lst"
    labels.write_text("0\n1\n")
    assert [example.label for example in examples_of(make_spec(), "train", "en", path, labels)] == [0, 1]
    labels.write_text("0\n1\n1\n")
    with pytest.raises(UserError, match="3 labels for 2 rows"):
        read_examples(make_spec(), "train", "en", path, labels)
    labels.write_text("0\n")
    with pytest.raises(UserError, match="1 labels"):
        read_examples(make_spec(), "train", "en", path, labels)


def test_a_reading_has_lines_and_what_was_repaired(tmp_path, make_spec):
    path = tmp_path / "d.jsonl"
    second = {**GOOD, "id": "x2", "label": "١"}
    text = json.dumps(GOOD) + "\r\n\n" + json.dumps(second)[:-1] + ', "label": "١"}\n'
    path.write_text("\ufeff" + text, encoding="utf-8", newline="")
    found = read_examples(make_spec(), "train", "en", path)
    assert [example.label for example in found.examples] == [0, 1] and found.lines == [1, 3]
    assert found.repairs == {"byte-order-mark": 1, "line-ends": 1, "digits": 1, "repeated-keys": 1}
    assert found.skipped == []
    for step, line in (("byte-order-mark", 1), ("line-ends", 1), ("repeated-keys", 3), ("digits", 3)):
        with pytest.raises(UserError) as caught:
            read_examples(make_spec(), "train", "en", path, off=[step])
        assert caught.value.where == f"{path}:{line}"
    with pytest.raises(UserError, match="unknown repair step"):
        read_examples(make_spec(), "train", "en", path, off=["digit"])


def test_repeated_ids_are_numbered_where_the_task_says_so(tmp_path, make_spec):
    path = jsonl(tmp_path / "d.jsonl", *({**GOOD, "id": i} for i in ("x", "y", "x", "x", "x#2")))
    spec = make_spec(repairs=[{"step": "repeated-ids"}])
    found = read_examples(spec, "train", "en", path)
    assert [example.id for example in found.examples] == ["x", "y", "x#2", "x#3", "x#2#2"]
    assert found.repairs == {"repeated-ids": 3}
    with pytest.raises(UserError, match="id 'x' is also on line 1"):
        read_examples(spec, "train", "en", path, off=["repeated-ids"])


def test_surplus_choices_are_taken_out_where_the_task_says_so(tmp_path, make_spec):
    fields = {"id": "{id}", "context": "premise", "choices": "list", "label": "label"}
    spec = make_spec(fields=fields, repairs=[{"step": "choices", "n": 2}])
    rows = [
        (["a", "b"], 1),
        (["a", "", "b"], 2),
        (["a", "a", "b"], 1),
        (["a", "b", "c"], 0),
        (["a", "", "b"], 1),
        (["a", "a"], 0),
    ]
    path = jsonl(
        tmp_path / "d.jsonl",
        *({**GOOD, "id": n, "list": choices, "label": label} for n, (choices, label) in enumerate(rows)),
    )
    found = read_examples(spec, "train", "en", path)
    assert [(e.id, e.choices, e.label) for e in found.examples] == [
        ("0", ("a", "b"), 1),
        ("1", ("a", "b"), 1),
        ("2", ("a", "b"), 0),
        ("5", ("a", "a"), 0),
    ]
    assert found.repairs == {"choices": 4} and found.lines == [1, 2, 3, 6]
    with pytest.raises(UserError, match=r"3 choices where 2 belong \(.*:2\)"):
        read_examples(spec, "train", "en", path, off=["choices"])


def test_rows_that_cannot_be_used_are_left_out_and_counted(tmp_path, make_spec):
    path = tmp_path / "d.jsonl"
    lines = [GOOD, {**GOOD, "id": "x2", "label": 9}, {**GOOD, "id": "x3"}, {**GOOD, "a": ""}]
    path.write_text("".join(json.dumps(row) + "\n" for row in lines) + "{\n" + json.dumps(GOOD))
    found = read_examples(make_spec(skip_bad=True), "train", "en", path)
    assert [example.id for example in found.examples] == ["x1", "x3"] and found.lines == [1, 3]
    assert found.skipped == [
        f"{path}:2: label 9 is out of range for 2 choices",
        f"{path}:4: field 'choices' is empty",
        f"{path}:5: the line is not JSON (Expecting property name enclosed in double quotes at column 2)",
        f"{path}:6: id 'x1' is also on line 1",
    ]
    with pytest.raises(UserError, match=r"1 rows were left out, first .*:1: no field 'id'"):
        read_examples(make_spec(skip_bad=True), "train", "en", jsonl(path, {}))


def test_label_files_stay_in_step_when_rows_are_left_out(tmp_path, make_spec):
    path, labels = tmp_path / "d.jsonl", tmp_path / "d.lst"
    rows = [{**GOOD, "id": 1}, {**GOOD, "id": 2, "a": 5}, {**GOOD, "id": 3}, {**GOOD, "id": 4}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:2]) + "{\n")
    path.write_text(path.read_text() + "".join(json.dumps(row) + "\n" for row in rows[2:]))
    labels.write_text("0\n0\n0\n1\n7\n")
    found = read_examples(make_spec(skip_bad=True), "train", "en", path, labels)
    assert [(example.id, example.label) for example in found.examples] == [("1", 0), ("3", 1)]
    assert [reason.split(": ")[0] for reason in found.skipped] == [f"{path}:2", f"{path}:3", f"{labels}:5"]


@pytest.mark.parametrize(
    ("choices", "found"),
    [(["a", "b", "", None], ("a", "b")), (["a", "b", " "], ("a", "b")), (["a", "b"], ("a", "b"))],
)
def test_choices_may_be_left_blank_at_the_end(tmp_path, make_spec, choices, found):
    spec = make_spec(fields={"choices": "list", "label": "label", "blank_choices": True})
    path = jsonl(tmp_path / "d.jsonl", {"list": choices, "label": 1})
    assert examples_of(spec, "train", "en", path)[0].choices == found
    with pytest.raises(UserError, match="field 'choices' is empty"):
        read_examples(spec, "train", "en", jsonl(path, {"list": ["a", "", "c"], "label": 0}))
    with pytest.raises(UserError, match="label 2 is out of range for 2 choices"):
        read_examples(spec, "train", "en", jsonl(path, {"list": ["a", "b", ""], "label": 2}))
    with pytest.raises(UserError, match="1 choices where two or more"):
        read_examples(spec, "train", "en", jsonl(path, {"list": ["a", ""], "label": 0}))


def test_a_cell_may_hold_all_choices(tmp_path, make_spec):
    spec = make_spec(fields={"choices": "cell", "label": "label", "choice_cell": "json"})
    path = jsonl(tmp_path / "d.jsonl", {"cell": '["a", "b"]', "label": 1})
    assert examples_of(spec, "train", "en", path)[0].choices == ("a", "b")
    for cell, what in (
        ("a, b", "is no list"),
        ("[" * 10**4, "nested too deeply"),
        ("[1" + ",1" * 10**6 + "]", "has 2,000,003 characters"),
        ('["\\ud83d", "b"]', "half a surrogate pair"),
    ):
        with pytest.raises(UserError, match=what):
            read_examples(spec, "train", "en", jsonl(path, {"cell": cell, "label": 1}))


def test_files_spell_cause_and_effect_in_their_own_words(tmp_path, make_spec):
    words = {"cause": ["Neden", "why"], "effect": ["Sonuç"]}
    fields = {**make_spec().fields_.model_dump(), "question": "q", "question_words": words}
    spec = make_spec(relation="question", fields=fields)
    rows = [{**GOOD, "id": n, "q": q} for n, q in enumerate(("NEDEN", "Sonuç", "why", "cause"))]
    found = examples_of(spec, "train", "en", jsonl(tmp_path / "d.jsonl", *rows))
    assert [example.question for example in found] == ["cause", "effect", "cause", "cause"]
    with pytest.raises(UserError, match=r"'q' is 'what\\n\?' .*: write neden, why, sonuç"):
        read_examples(spec, "train", "en", jsonl(tmp_path / "d.jsonl", {**GOOD, "q": "what\n?"}))


def test_one_file_may_hold_several_languages(tmp_path, make_spec):
    fields = {**make_spec().fields_.model_dump(), "where": {"lang": "{language}", "n": "1"}}
    spec = make_spec(fields=fields, languages=["en", "ja"], codes={"ja": "jp"})
    tags = [("jp", 1), ("en", 1), ("jp", 2), ("jp", 1)]
    rows = [{**GOOD, "id": f"x{k}", "lang": lang, "n": n} for k, (lang, n) in enumerate(tags)]
    path = jsonl(tmp_path / "d.jsonl", *rows)
    found = read_examples(spec, "train", "ja", path)
    assert [(e.id, e.language) for e in found.examples] == [("x0", "ja"), ("x3", "ja")]
    assert found.lines == [1, 4]
    with pytest.raises(UserError, match=r"holds no examples.*: none of its 2 rows has"):
        read_examples(spec, "train", "ja", jsonl(path, *rows[1:3]))
    with pytest.raises(UserError, match="no field 'lang'"):
        read_examples(spec, "train", "ja", jsonl(path, GOOD))


def test_a_split_may_be_laid_out_differently(tmp_path, make_spec):
    split = {
        "files": {"data": "d.csv"},
        "format": "csv",
        "columns": ["text", "x", "y", "right"],
        "fields": {"context": "text", "choices": ["x", "y"], "label": "right", "label_kind": "letter"},
    }
    spec = make_spec(splits={"train": {"files": {"data": "d.jsonl"}}, "test": split})
    path = tmp_path / "d.csv"
    path.write_text("p,a,b,B\n")
    (example,) = examples_of(spec, "test", "en", path)
    assert (example.id, example.context, example.choices, example.label) == ("test-1", "p", ("a", "b"), 1)


def test_rows_of_one_line_are_told_apart_by_their_number(tmp_path, make_spec):
    path = tmp_path / "d.json"
    path.write_text(json.dumps([GOOD, {**GOOD, "id": "x2"}, {**GOOD, "id": "x3", "label": 5}]))
    with pytest.raises(UserError) as caught:
        read_examples(make_spec(format="json"), "train", "en", path)
    assert caught.value.where == f"{path}:1, row 3"


def test_ids_may_be_made_of_positions(tmp_path, make_spec):
    path = tmp_path / "d.json"
    path.write_text(json.dumps([GOOD, GOOD]))
    spec = make_spec(format="json", fields={**make_spec().fields_.model_dump(), "id": "{split}-{position}"})
    assert [example.id for example in examples_of(spec, "train", "en", path)] == ["train-0", "train-1"]
    with pytest.raises(UserError, match="none of its 2 rows belongs to the split 'train'"):
        spec = make_spec(splits={"train": {"files": {"data": "d"}, "ids": {"first": 9}}})
        read_examples(spec, "train", "en", jsonl(path, {**GOOD, "id": 1}, {**GOOD, "id": 2}))


def test_equal_choices_may_be_refused(tmp_path, make_spec):
    path = jsonl(tmp_path / "d.jsonl", {**GOOD, "a": "Same.", "b": " Same."})
    assert len(examples_of(make_spec(), "train", "en", path)) == 1
    with pytest.raises(UserError, match=r"two choices are 'Same.'"):
        read_examples(make_spec(equal_choices="refuse"), "train", "en", path)
