import pytest

from metaxcr.errors import UserError
from metaxcr.tasks.labels import check_length, decode_label, label_source
from metaxcr.tasks.rows import Defect
from metaxcr.tasks.spec import Fields


def fields(kind="zero", **changes):
    return Fields.model_validate({"choices": ["a", "b"], "label": "label", "label_kind": kind, **changes})


@pytest.mark.parametrize(
    ("kind", "raw", "index"),
    [
        ("zero", 0, 0),
        ("zero", "1", 1),
        ("one", 1, 0),
        ("one", "2", 1),
        ("letter", "A", 0),
        ("letter", "B", 1),
    ],
)
def test_spellings(kind, raw, index):
    assert decode_label(raw, fields(kind), 2) == index


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("zero", 2),
        ("zero", -1),
        ("zero", True),
        ("zero", 1.0),
        ("zero", None),
        ("zero", "x"),
        ("zero", ""),
        ("one", 0),
        ("one", "3"),
        ("letter", "C"),
        ("letter", "a"),
        ("letter", "AB"),
        ("letter", 0),
        ("key", "Z"),
    ],
)
def test_labels_of_the_wrong_kind_or_range_are_refused(kind, raw):
    with pytest.raises(Defect, match="label"):
        decode_label(raw, fields(kind), 2, keys=["A", "B"])


def test_keys_decide_and_not_the_order():
    declared = fields("key", choices="choices", choice_text="text", choice_key="key")
    row = {"choices": [{"key": "B", "text": "x"}, {"key": "A", "text": "y"}], "label": "A"}
    example = type("Two", (), {"choices": ("x", "y")})()
    assert label_source(declared, None, True)(row, 0, example) == 1


def test_hidden_labels_stay_none(make_example):
    assert label_source(fields(), None, labelled=False)({"label": 1}, 0, make_example()) is None


def test_labels_in_step(tmp_path, make_example):
    path = tmp_path / "labels.lst"
    path.write_text("1\n2\n9\n")
    label_of = label_source(fields("one"), path, True)
    assert [label_of({}, index, make_example()) for index in (0, 1)] == [0, 1]
    with pytest.raises(UserError) as caught:
        label_of({}, 2, make_example())
    assert caught.value.where == f"{path}:3"
    with pytest.raises(Defect, match="3 labels"):
        label_of({}, 3, make_example())
    with pytest.raises(UserError, match="3 labels for 2 rows"):
        check_length(tmp_path / "data.jsonl", path, 2)


def test_labels_by_id(tmp_path, make_example):
    path = tmp_path / "labels.csv"
    path.write_text("8,1\n1,0\n2,5\n")
    label_of = label_source(fields(), path, True)
    assert [label_of({}, 0, make_example(id=identity)) for identity in ("1", "8")] == [0, 1]
    with pytest.raises(UserError) as caught:
        label_of({}, 0, make_example(id="2"))
    assert caught.value.where == f"{path}:3"
    with pytest.raises(Defect, match="no label for id '3'"):
        label_of({}, 0, make_example(id="3"))


def test_a_task_without_a_label_field_says_so(make_example):
    with pytest.raises(Defect, match="declares no label field"):
        label_source(fields(label=None), None, True)({}, 0, make_example())
