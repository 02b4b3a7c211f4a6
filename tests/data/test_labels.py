import pytest

from metaxcr.data.labels import (
    check_length,
    cut_cell,
    decode_label,
    is_missing,
    label_source,
    marked_index,
)
from metaxcr.data.rows import Defect, Repairs
from metaxcr.data.spec import Fields
from metaxcr.errors import UserError

TWO = ["x", "y"]


def fields(kind="zero", **changes):
    return Fields.model_validate({"choices": ["a", "b"], "label": "label", "label_kind": kind, **changes})


def labels_of(declared, labels=None, labelled=True, repairs=None):
    return label_source(declared, labels, labelled, repairs or Repairs())


@pytest.mark.parametrize(
    ("kind", "raw", "index"),
    [
        ("zero", 0, 0),
        ("zero", "1", 1),
        ("zero", " 1 ", 1),
        ("zero", "+1", 1),
        ("one", 1, 0),
        ("one", "2", 1),
        ("letter", "A", 0),
        ("letter", "B", 1),
        ("letter", " b ", 1),
        ("key", "B", 0),
        ("key", 7, 1),
        ("text", "x", 0),
        ("text", " y\n", 1),
    ],
)
def test_spellings(kind, raw, index):
    assert decode_label(raw, kind, TWO, Repairs(), keys=["B", 7]) == index


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        *(
            ("zero", raw)
            for raw in (2, -1, True, 1.0, None, "x", "", "1.0", "0_1", "٣", [0], {}, "-1", 10**4000)
        ),
        *(("zero", "9" * 5000), ("zero", float("nan"))),
        *(("one", raw) for raw in (0, "3", "0")),
        *(("letter", raw) for raw in ("C", "AB", "", 0, None, "Ａ", "ß")),
        *(("key", raw) for raw in ("Z", "b", None, True, 1.0, ["A"], "7")),
        *(("text", raw) for raw in ("X", 0, None, "")),
    ],
)
def test_labels_of_the_wrong_kind_or_range_are_refused(kind, raw):
    with pytest.raises(Defect, match="label") as caught:
        decode_label(raw, kind, TWO, Repairs(), keys=["B", 7, 1])
    assert len(caught.value.what) < 120


@pytest.mark.parametrize("raw", ["۱", "١", "๑", "\uff11", "१"])
def test_digits_of_other_scripts_are_a_repair(raw):
    repairs = Repairs()
    assert decode_label(raw, "one", TWO, repairs) == 0 and repairs.counts == {"digits": 1}
    with pytest.raises(Defect, match="not in the digits 0 to 9"):
        decode_label(raw, "one", TWO, Repairs(()))
    with pytest.raises(Defect, match="out of range"):
        decode_label(raw + raw, "one", TWO, Repairs())


def test_keys_decide_and_not_the_order():
    declared = fields("key", choices="choices", choice_text="text", choice_key="key")
    row = {"choices": [{"key": "B", "text": "x"}, {"key": "A", "text": "y"}], "label": "A"}
    assert labels_of(declared)(row, 0, "1", TWO) == 1


def test_keys_may_be_a_list_of_their_own():
    label_of = labels_of(fields("key", choices="c.text", choice_keys="c.label"))
    assert label_of({"c": {"label": ["1", "2"], "text": TWO}, "label": "2"}, 0, "1", TWO) == 1
    for keys, what in (
        (["1"], "1 keys for 2 choices"),
        (["1", "2", "3"], "3 keys"),
        (None, "no list"),
        (5, "no list"),
    ):
        with pytest.raises(Defect, match=what):
            label_of({"c": {"label": keys}, "label": "1"}, 0, "1", TWO)
    with pytest.raises(Defect, match="the key of two choices"):
        label_of({"c": {"label": ["1", "1"]}, "label": "1"}, 0, "1", TWO)


def test_keys_of_choices_that_are_left_blank_do_not_count():
    label_of = labels_of(fields("key", choices="text", choice_keys="keys", blank_choices=True))
    assert label_of({"keys": ["A", "B", "C"], "label": "B"}, 0, "1", TWO) == 1
    with pytest.raises(Defect, match="none of the choices' keys"):
        label_of({"keys": ["A", "B", "C"], "label": "C"}, 0, "1", TWO)


def test_keys_may_stand_in_a_cell():
    declared = fields("key", choices="text", choice_keys="keys", choice_cell="json")
    assert labels_of(declared)({"keys": "['A', 'B']", "label": "B"}, 0, "1", TWO) == 1
    declared = fields("key", choices="c", choice_text="t", choice_key="k", choice_cell="json")
    cell = '[{"k": "A", "t": "x"}, {"k": "B", "t": "y"}]'
    assert labels_of(declared)({"c": cell, "label": "B"}, 0, "1", TWO) == 1


def test_choices_without_keys_are_a_defect():
    declared = fields("key", choices="c", choice_key="k")
    with pytest.raises(Defect, match="none of the choices' keys"):
        labels_of(declared)({"c": TWO, "label": "A"}, 0, "1", TWO)


def test_hidden_labels_stay_none():
    assert labels_of(fields(), labelled=False)({"label": 1}, 0, "1", TWO) is None


def test_labels_in_step(tmp_path):
    path = tmp_path / "labels.lst"
    path.write_text("1\n2\r\n9\n")
    repairs = Repairs()
    label_of = labels_of(fields("one"), path, repairs=repairs)
    assert [label_of({}, index, "1", TWO) for index in (0, 1)] == [0, 1]
    assert repairs.counts == {"line-ends": 1}
    with pytest.raises(Defect, match="label '9' is out of range") as caught:
        label_of({}, 2, "1", TWO)
    assert caught.value.where == f"{path}:3"
    with pytest.raises(Defect, match="3 labels"):
        label_of({}, 3, "1", TWO)
    check_length(tmp_path / "data.jsonl", path, 3)
    with pytest.raises(UserError, match="3 labels for 2 rows"):
        check_length(tmp_path / "data.jsonl", path, 2)


def test_labels_by_id(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text('8,1\n1,0\n"2\n",5\n')
    label_of = labels_of(fields(), path)
    assert [label_of({}, 0, identity, TWO) for identity in ("1", "8")] == [0, 1]
    with pytest.raises(Defect) as caught:
        label_of({}, 0, "2\n", TWO)
    assert caught.value.where == f"{path}:3"
    with pytest.raises(Defect, match="no label for id '3'"):
        label_of({}, 0, "3", TWO)
    check_length(tmp_path / "data.csv", path, 3)  # records, not lines


@pytest.mark.parametrize(
    ("name", "content", "what", "line"),
    [
        ("l.csv", b"1,0\n2,0\n1,1\n", "id '1' is also on line 1", 3),
        ("l.csv", b"id,label\n1,0\n", "repeats the names", 1),
        ("l.csv", b"1,0\n2\n", "1 fields where 2", 2),
        ("l.lst", b"1\n\xff\n", "not UTF-8", 2),
    ],
)
def test_a_label_file_that_cannot_be_used_is_refused_before_a_row_is_read(
    tmp_path, name, content, what, line
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=what) as caught:
        labels_of(fields(), tmp_path / name)
    assert caught.value.where == f"{tmp_path / name}:{line}"


def test_a_task_without_a_label_field_says_so():
    with pytest.raises(Defect, match="declares no label field"):
        labels_of(fields(label=None))({}, 0, "1", TWO)


@pytest.mark.parametrize(
    ("kind", "raw", "index"),
    [
        *(("zero", raw, 1) for raw in (1.0, "1.0", True, "true", "choice1", [1], "(1)", "#1")),
        *(("one", raw, 1) for raw in (2.0, "option 2", "2)", "Answer: 2")),
        *(("letter", raw, 1) for raw in ("B.", "(b)", " b)", "option B", "Б", ["B"])),
        *(("text", raw, 1) for raw in ("Y", " Y ", ["y"])),
    ],
)
def test_free_spellings_are_a_repair_that_a_task_declares(kind, raw, index):
    repairs = Repairs(("label-spelling",))
    assert decode_label(raw, kind, TWO, repairs) == index and repairs.counts["label-spelling"] == 1
    with pytest.raises(Defect):
        decode_label(raw, kind, TWO, Repairs())


@pytest.mark.parametrize(
    ("kind", "raw"), [("zero", 1.5), ("zero", "B"), ("one", True), ("letter", "AB"), ("zero", 2.0)]
)
def test_free_spellings_have_their_limits(kind, raw):
    with pytest.raises(Defect):
        decode_label(raw, kind, TWO, Repairs(("label-spelling",)))


# ---- cells that hold a whole list of choices, missing labels, marks


@pytest.mark.parametrize(
    "cell",
    [
        "1. one\n2. two\n",
        "(1) one\n\n(2) two",
        "A) one\r\nB) two",
        "① one\n②two",
        "one\ntwo",
        "a. one\nb. two",
    ],
)
def test_lines_with_their_numbers(cell):
    assert cut_cell(cell, "lines") == ["one", "two"]


def test_a_number_that_belongs_to_a_choice_stays():
    assert cut_cell("2003년\n2004년", "lines") == ["2003년", "2004년"]
    assert cut_cell("1. 3.5 kg\n2. 10 kg", "lines") == ["3.5 kg", "10 kg"]


@pytest.mark.parametrize("cell", ['["one", "two"]', "['one', 'two']", " ['one', \"two\"]"])
def test_lists_as_json_and_python_write_them(cell):
    assert cut_cell(cell, "json") == ["one", "two"]


@pytest.mark.parametrize("cell", ["one, two", "__import__('os')", "", "[" * 5000])
def test_what_is_no_list(cell):
    with pytest.raises(Defect, match="is no list"):
        cut_cell(cell, "json")


def test_hidden_labels():
    assert all(map(is_missing, (None, "", " - ", -1, "-1", "null", float("nan"))))
    assert not any(map(is_missing, (0, "0", "A", False, "no")))


def test_marks_of_any_size():
    assert marked_index([10**400, 0, -(10**400)]) == 0
    assert marked_index([0, True]) == 1
    with pytest.raises(Defect, match="2 choices are marked"):
        marked_index([10**400, 10**400, 1])
