"""Another system beside a grid: paired on the same items, every item answered once."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.compare.test_grid_summary import table

from metaxcr.compare.external import compare_external, read_external
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import Predictions
from metaxcr.evaluation.statistics import paired_difference


def lines(given: dict[str, Predictions], label: str, flip: bool = False) -> list[dict]:
    one = given[label]
    rows = zip(one.ids, one.probabilities, one.choices, strict=True)
    pick = [{"id": i, "language": one.lang, "probabilities": p} if n % 2 else
            {"id": i, "language": one.lang, "choice": 1 - c if flip else c}
            for n, (i, p, c) in enumerate(rows)]  # fmt: skip
    return [{**row, "probabilities": row["probabilities"][::-1]} if flip and "probabilities" in row else row
            for row in pick]  # fmt: skip


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_another_system_is_paired_on_the_same_items(finished, tmp_path: Path) -> None:
    found, store, given = finished
    both = [row for lang in ("es", "sw") for row in lines(given, f"plain: {lang}, seed 0")]
    (row,) = [
        row
        for row in compare_external(
            [read_external(write(tmp_path / "theirs.jsonl", both), found, store, None)], found, store
        )
        if (row["method"], row["k"]) == ("better", 0)
    ]
    theirs = table(given, "plain")[:, :1]
    expected = paired_difference(table(given, "better"), theirs)
    assert (row["against"], row["accuracy"]) == ("theirs", pytest.approx(theirs.mean()))
    assert (row["mean"], row["p"]) == (pytest.approx(expected.mean), pytest.approx(expected.p))
    assert row["p_holm"] >= row["p"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1:], r"es: 'test-0' is not answered .*theirs.jsonl.*all 60 items"),
        (lambda rows: rows[10:], r"10 items are not answered: 'test-0', 'test-1', 'test-2' and 7 more"),
        (lambda rows: [*rows, rows[0]], r"'test-0' is answered twice in es .*theirs.jsonl:61"),
        (lambda rows: [*rows, {**rows[0], "id": "x"}], "'x' is no item"),
        (lambda rows: [{"id": "test-0", "language": "es"}, *rows], r"neither 'choice'.*theirs.jsonl:1"),
        (lambda rows: [{"id": "test-0", "choice": 0}, *rows], "no language is named"),
        (lambda rows: [{**rows[0], "language": "xx"}], "'xx' is not in the grid.*es, sw"),
        (
            lambda rows: [{**rows[1], "choice": 1 - np.argmax(rows[1]["probabilities"]).item()}],
            "not the most",
        ),
        (lambda rows: [{"language": "es", "choice": 1}], "without 'id'"),
        (lambda rows: [], "there are no predictions"),
    ],
)
def test_what_cannot_be_compared_is_one_line(finished, tmp_path: Path, change, message: str) -> None:
    found, store, given = finished
    path = write(tmp_path / "theirs.jsonl", change(lines(given, "plain: es, seed 0")))
    with pytest.raises(UserError, match=message):
        read_external(path, found, store, None)


def test_before_anything_is_run_the_data_say_what_has_to_be_answered(finished, tmp_path: Path) -> None:
    found, store, given = finished
    nothing = replace(found, records={})
    path = write(tmp_path / "theirs.jsonl", lines(given, "plain: es, seed 0"))
    with pytest.raises(UserError, match="84 items are not answered"):
        read_external(path, nothing, store, None)
