"""The tables of a comparison: numbers in their columns, words for what is unknown."""

from tests.reports.conftest import METHODS, made

from metaxcr.reports.grid_tables import grid_tables


def test_rows_say_what_the_summary_says() -> None:
    tables = {table.key: table for table in grid_tables(made(METHODS, [0, 16], matrix=True))}
    assert list(tables) == [
        "averages", "differences", "outside", "costs", "parts", "languages", "groups", "equivalents", "matrix"
    ]  # fmt: skip
    for table in tables.values():
        assert all(len(row) == len(table.head) for row in table.rows)
        assert max(table.numeric) < len(table.head)
    first = dict(zip(tables["averages"].head, tables["averages"].rows[-1], strict=True))
    assert first["method"] == "reinforced, k=16" and first["accuracy, %"] == "59.6"
    assert (
        first["95 % interval"] == "57.6 to 61.6"
        and first["mdd, points"] == "2.1"
        and first[""] == "incomplete"
    )
    better = dict(zip(tables["differences"].head, tables["differences"].rows[-1], strict=True))
    assert better["method is"] == "better" and better["p, Holm"] == "0.030"
    assert tables["equivalents"].rows[0] == ("reinforced, k=16", "16", "more than 16", "3 to more than 16")
    assert tables["matrix"].rows[-1][0] == "none (plain)"
    assert "17%" in tables["parts"].rows[0][1]


def test_nothing_to_say_is_no_table() -> None:
    summary = made(METHODS, [0], matrix=False) | {"curve": [], "outside": [], "differences": []}
    assert {t.key for t in grid_tables(summary)} == {"averages", "costs", "parts", "languages", "groups"}
