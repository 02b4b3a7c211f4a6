"""Where choices stand."""

import pytest

from metaxcr.data.infer.guess_choices import columns_of_choices, find_choices
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
