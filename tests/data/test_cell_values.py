"""Cells that hold a whole list of choices."""

import pytest

from metaxcr.data.cell_values import cut_cell, is_missing, marked_index
from metaxcr.data.rows import Defect


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
