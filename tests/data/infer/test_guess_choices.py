"""Where choices and labels stand, and how labels are spelt."""

import pytest

from metaxcr.data.infer.guess_choices import (
    AmbiguousLabels,
    RowLabel,
    columns_of_choices,
    find_choices,
    label_kind,
)
from metaxcr.data.infer.table import columns_of


def found(row, given=()):
    rows = [row, row]
    return find_choices(columns_of([row]), rows, given)


@pytest.mark.parametrize(
    ("row", "declared"),
    [
        ({"choices": ["a", "b"]}, {"choices": "choices"}),
        ({"candidates": ["a", "b", ""]}, {"choices": "candidates", "blank_choices": True}),
        ({"options": [{"text": "a", "label": "A"}] * 2},
         {"choices": "options", "choice_text": "text", "choice_key": "label"}),
        ({"choices": {"text": ["a", "b"], "label": ["A", "B"]}},
         {"choices": "choices.text", "choice_keys": "choices.label"}),
        ({"choices": "1. a\n2. b\n"}, {"choices": "choices", "choice_cell": "lines"}),
        ({"choices": '["a", "b"]'}, {"choices": "choices", "choice_cell": "json"}),
        ({"choices": "['a', 'b']"}, {"choices": "choices", "choice_cell": "json"}),
        ({"ending_1": "a", "ending_2": "b", "x1": "c", "x2": "d"}, {"choices": ["ending_1", "ending_2"]}),
        ({"wug1": "a", "wug2": "b", "n": "c"}, {"choices": ["wug1", "wug2"]}),
        ({"wugs": ["a", "b"], "n": "c"}, {"choices": "wugs"}),
        ({"wug1": "a", "wug2": "b", "x1": "c", "x2": "d"}, None),
        ({"choice1": 1, "choice2": 2}, None),
        ({"premise": "a", "label": "b"}, None),
    ],
)  # fmt: skip
def test_layouts(row, declared):
    assert found(row) == declared


def test_what_the_user_names():
    row = {"left": "a", "right": "b", "third": "", "all": ["a", "b"]}
    assert found(row, ["left", "right", "third"]) == {
        "choices": ["left", "right", "third"],
        "blank_choices": True,
    }
    assert found(row, ["all"]) == {"choices": "all"}
    assert found(row, ["left"]) is None


def test_the_columns_that_choices_take():
    names = ["id", "choices.text", "choices.label", "label"]
    assert columns_of_choices({"choices": "choices.text", "choice_keys": "choices.label"}, names) == set(
        names[1:3]
    )
    assert columns_of_choices({"choices": ["a", "b"]}, ["a", "b", "c"]) == {"a", "b"}


def rows(*raw, texts=("x", "y"), keys=()):
    return [RowLabel(n, value, texts, keys) for n, value in enumerate(raw, start=1)]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (rows(0, 1), "zero"),
        (rows(1, 2), "one"),
        (rows("1", "2"), "one"),
        (rows("۱", "۲"), "one"),
        (rows("A", "b"), "letter"),
        (rows("x", " y"), "text"),
        (rows("A", "B", keys=("A", "B")), "key"),
        (rows("3", "4", keys=("3", "4")), "key"),
        # digits within range are indices even where they are texts of choices, too
        (rows("1", "3", texts=("3", "1", "2")), "one"),
        (rows("0", "1", texts=("1", "0")), "zero"),
        # years are no indices
        (rows("2003", "2001", texts=("2001", "2003")), "text"),
        (rows(2003, 2001, texts=("2001", "2003")), None),
        (rows(0, 2), None),
        (rows("yes", "no"), None),
        (rows(True, False), "zero"),
        (rows(True, False, texts=("x", "y", "z")), None),
        (rows("x", "z"), None),
    ],
)
def test_all_labels_tell_the_kind(labels, kind):
    found = label_kind(labels, "file")
    assert (found and found.kind) == kind


def test_a_last_label_decides_by_the_rows_own_choices():
    both = [*rows(1, texts=("x", "y", "z")), *rows(2)]
    assert label_kind(both, "file").kind == "one"


@pytest.mark.parametrize("labels", [rows(1, 1), rows("1", "2", texts=("x", "y", "z"))])
def test_from_0_or_from_1_must_be_told_where_neither_end_occurs(labels):
    with pytest.raises(AmbiguousLabels, match="--labels zero or --labels one"):
        label_kind(labels, "file")


def test_a_few_texts_that_are_no_choice_are_for_the_reader_to_name():
    many = [*rows(*["x"] * 99), *rows("z")]
    assert label_kind(many, "file").kind == "text"
