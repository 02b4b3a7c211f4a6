"""Proposals for columns with unknown names."""

from pathlib import Path

import pytest

from metaxcr.data.infer.roles_by_value import candidate_roles, missing_header, propose_names
from metaxcr.data.infer.table import ColumnHints, Table


def table(*records, names="wxyz"):
    rows = [(n, dict(zip(names, record, strict=True))) for n, record in enumerate(records, start=1)]
    return Table(rows, ColumnHints(), Path("file.x"))


def test_the_first_candidate_is_the_most_likely():
    found = table(("It rained all day.", "He slept.", "She ran.", 0), ("They ate it.", "No.", "Yes, so.", 1))
    roles, relation = next(candidate_roles(found))
    assert roles == {"premise": ["w"], "choices": ["x", "y"], "label": ["z"]}
    assert relation is None


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ([["p q", "r s"], ["a", "b"], ["c", "d"], ["0", "1"]], ["premise", "choice1", "choice2", "label"]),
        ([["q1", "q2"], ["Who is?", "Why so?"], ["over there", "out here"], ["in the box", "on it all"]],
         ["id", "question", "choice1", "choice2"]),
    ],
)  # fmt: skip
def test_names_by_what_columns_hold(columns, names):
    assert propose_names(columns) == names


def test_a_first_line_like_the_others_is_no_header():
    first = ("It rained today.", "He slept in.", "She ran far.", "0")
    found = table(("They ate a lot.", "We went on.", "Nobody came.", "1"), names=first)
    assert missing_header(found) == "premise,choice1,choice2,label"
    assert (
        missing_header(table(("a b", "c", "d", "0"), names=("premise", "choice1", "choice2", "label")))
        is None
    )
