"""Columns of a file, and the rows that are read of it."""

from pathlib import Path

import pytest

from metaxcr.data.infer.table import ColumnHints, Table, columns_of, select_rows
from metaxcr.data.languages import language_tag
from metaxcr.errors import UserError


def test_columns_of_all_rows_with_nested_ones_dotted():
    rows = [
        {"id": 1, "question": {"stem": "s", "choices": [1]}},
        {"choices": {"text": ["a"], "label": ["A"]}, "id": 2},
    ]
    assert columns_of(rows) == ["id", "question.stem", "question.choices", "choices.text", "choices.label"]


def test_only_the_rows_that_are_wanted_are_read():
    rows = [(n, {"lang": ("hr", "en")[n % 2], "part": "ab"[n // 2]}) for n in range(4)]
    table = Table(rows, ColumnHints(where={"part": "b"}), Path("file.x"))
    assert select_rows(table, language_tag("hr")) == {}
    assert [line for line, _ in table.rows] == [2]
    assert table.fields == {"where": {"part": "b", "lang": "{language}"}}
    with pytest.raises(UserError, match=r"no row has part=c .*'part' has a, b"):
        select_rows(Table(rows, ColumnHints(where={"part": "c"}), Path("file.x")), language_tag("hr"))
