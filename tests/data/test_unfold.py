"""Rows inside rows."""

import pytest

from metaxcr.data.rows import Defect
from metaxcr.data.unfold import unfold_rows, value_at


def unfolded(row, steps, **more):
    return [found for _, found in unfold_rows([(7, row)], steps, **more)]


@pytest.mark.parametrize(
    ("row", "steps", "rows"),
    [
        ({"p": 1, "q": [{"a": 1}, {"a": 2}]}, [["q"]], [{"p": 1, "q": {"a": 1}}, {"p": 1, "q": {"a": 2}}]),
        ({"a": [1, 2], "b": [3, 4]}, [["a", "b"]], [{"a": 1, "b": 3}, {"a": 2, "b": 4}]),
        ({"a": {"0": 1, "1": 2}}, [["a"]], [{"a": 1}, {"a": 2}]),
        ({"x": {"a": 1}, "y": {"a": 2}}, [["*"]], [{"key": "x", "a": 1}, {"key": "y", "a": 2}]),
        ({"head": ["a", "b"], "body": [[1, 2]]}, [["head=body"]], [{"a": 1, "b": 2}]),
        ({"d": {"q": [1]}}, [["d.q"]], [{"d": {"q": 1}}]),
    ],
)
def test_steps(row, steps, rows):
    assert unfolded(row, steps) == rows


def test_a_part_may_hold_objects_or_lists_under_a_header():
    assert unfolded({"train": [{"a": 1}]}, [], part="train") == [{"a": 1}]
    assert unfolded({"train": [["a"], [1]]}, [], part="train") == [{"a": 1}]
    assert unfolded({"train": [[1]]}, [], part="train", columns=["a"]) == [{"a": 1}]


@pytest.mark.parametrize(
    ("row", "steps", "what"),
    [
        ({"a": [1], "b": [1, 2]}, [["a", "b"]], "lists of different lengths: a 1, b 2"),
        ({"a": 1}, [["a"]], "'a' is no list"),
        ({"a": 1}, [["*"]], "'a' is no object"),
    ],
)
def test_what_cannot_be_unfolded_is_a_defect_of_the_row(row, steps, what):
    (defect,) = unfolded(row, steps)
    assert isinstance(defect, Defect) and defect.what == what


def test_a_value_may_be_nested():
    assert value_at({"a": {"b": 1}}, "a.b") == 1
    assert value_at({"a": 1}, "b") is None
