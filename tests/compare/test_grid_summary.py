"""What a comparison says: averages, paired differences and ensembles, by hand."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from tests.compare.test_cell_record import record

from metaxcr.compare.cell_store import CellStore
from metaxcr.compare.comparison import Comparison, find_finished
from metaxcr.compare.external import outside_results
from metaxcr.compare.grid import Grid, Method
from metaxcr.compare.grid_summary import cost_equivalent, equivalent_shots, summarise
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import Predictions
from metaxcr.evaluation.statistics import crossed_interval, paired_difference

Build = Callable[..., Grid]
ITEMS = 60


def answers(cell, rate: float) -> Predictions:
    """Answers that are right at a rate, from a generator of the cell's own."""
    generator = np.random.default_rng(int(cell.key, 16) % 2**32)
    ids = [f"test-{n}" for n in range(ITEMS)]
    labels = [n % 2 for n in range(ITEMS)]
    sure = generator.uniform(0.55, 0.95, ITEMS)
    sure = np.where(generator.random(ITEMS) < rate, sure, 1 - sure)
    rows = [[p, 1 - p] if label == 0 else [1 - p, p] for p, label in zip(sure, labels, strict=True)]
    about = ("starter_target", cell.language, "test", "repaired", "few-shot", "m", 0, cell.k, cell.k)
    return Predictions(*about, ids, rows, labels)


@pytest.fixture
def finished(grid: Build, tmp_path: Path) -> tuple[Comparison, CellStore, dict[str, Predictions]]:
    """A grid whose cells were made up: the better method is right 30 points more often."""
    methods = {"plain": {}, "better": {}, "together": {"kind": "ensemble", "of": "better"}}
    methods["better"] = {"settings": {"sampler": {"kind": "uniform"}}}
    store = CellStore(tmp_path / "cells")
    made = grid("seeds=[0,1,2]", methods=methods)
    given = {}
    for cell in find_finished(made, store, None).cells:
        found = answers(cell, (0.9 if cell.method == "better" else 0.5) + (0.05 if cell.k else 0))
        store.put(record(found, key=cell.key, kind=cell.kind, regime=cell.regime, k=cell.k, seed=cell.seed,
                         checksums={}), found.ids)  # fmt: skip
        given[cell.label] = found
    return find_finished(made, store, None), store, given


def table(given: dict[str, Predictions], method: str, end: str = "") -> np.ndarray:
    """Shape (items, seeds): mean over the two languages."""
    return np.mean(
        [[given[f"{method}: {lang}{end}, seed {s}"].correct for s in range(3)] for lang in ("es", "sw")],
        axis=0,
    ).T


def test_averages_and_differences(finished) -> None:
    found, store, given = finished
    summary = summarise(found, store)
    rows = {(row["method"], row["k"]): row for row in summary["averages"]}
    ours, base = table(given, "better"), table(given, "plain")
    row, interval = rows["better", 0], crossed_interval(ours)
    assert row["mean"] == pytest.approx(ours.mean(), abs=1e-6) and row["complete"]
    assert row["ci95"] == pytest.approx([interval.low, min(1, interval.high)], abs=1e-6)
    assert (row["languages"], row["seeds"], row["ci_kind"]) == (["es", "sw"], [0, 1, 2], "items x seeds")
    difference = next(d for d in summary["differences"] if (d["method"], d["k"]) == ("better", 0))
    expected = paired_difference(ours, base)
    assert difference["mean"] == pytest.approx(expected.mean, abs=1e-6)
    assert difference["p"] == pytest.approx(expected.p, abs=1e-6)
    assert difference["p"] <= difference["p_bh"] <= difference["p_holm"]
    assert difference["p_permutation"] < 0.01 and difference["verdict"] == "better"
    assert {d["method"] for d in summary["differences"]} == {"better", "together"}


def test_the_ensemble_is_the_mean_of_probabilities_and_pays_for_all(finished) -> None:
    found, store, given = finished
    summary = summarise(found, store)
    rows = {(row["method"], row["k"]): row for row in summary["averages"]}
    right = []
    for language in ("es", "sw"):
        members = [given[f"better: {language}, seed {s}"] for s in range(3)]
        mean = np.mean([m.probabilities for m in members], axis=0)
        right.append(np.mean(mean.argmax(1) == members[0].labels))
    assert rows["together", 0]["mean"] == pytest.approx(np.mean(right), abs=1e-6)
    assert rows["together", 0]["token_passes"] == 3 * rows["better", 0]["token_passes"]
    assert rows["together", 0]["seeds"] == []


def test_an_ensemble_of_methods_joins_them_seed_by_seed(finished) -> None:
    found, store, given = finished
    joined = Method(kind="ensemble", of=["plain", "better"])
    grid = found.grid.model_copy(update={"methods": {**found.grid.methods, "joined": joined}})
    summary = summarise(replace(found, grid=grid), store)
    rows = {(row["method"], row["k"]): row for row in summary["averages"]}
    right = []
    for language, seed in product(("es", "sw"), range(3)):
        members = [given[f"{name}: {language}, seed {seed}"] for name in ("plain", "better")]
        mean = np.mean([m.probabilities for m in members], axis=0)
        right.append(np.mean(mean.argmax(1) == members[0].labels))
    assert rows["joined", 0]["mean"] == pytest.approx(np.mean(right), abs=1e-6)
    assert rows["joined", 0]["seeds"] == [0, 1, 2]
    for cost in ("token_passes", "trained"):
        assert rows["joined", 0][cost] == rows["plain", 0][cost] + rows["better", 0][cost]


def test_curve_and_groups_and_licences(finished) -> None:
    found, store, _ = finished
    summary = summarise(found, store)
    beyond = next(row for row in summary["curve"] if (row["method"], row["k"]) == ("better", 8))
    assert beyond["shots"] is None and beyond["most"] == 8
    assert {row["group"] for row in summary["groups"] if row["by"] == "script"} == {"Latin"}
    assert {row["task"] for row in summary["data"]} >= {"starter_target", "starter_social"}
    assert all(row["licence"] and row["citation"] for row in summary["data"])
    json.dumps(summary)


def test_an_incomplete_grid_says_so(finished) -> None:
    found, store, _ = finished
    gone = next(cell for cell in found.cells if cell.label == "better: sw, k=8, seed 1")
    found.records.pop(gone.key)
    found.failed[gone.label] = "why"
    rows = {(row["method"], row["k"]): row for row in summarise(found, store)["averages"]}
    assert not rows["better", 8]["complete"] and rows["better", 0]["complete"]
    assert rows["better", 8]["seeds"] == [0, 2]


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
        for row in outside_results(found, store, [write(tmp_path / "theirs.jsonl", both)], None)
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
        outside_results(found, store, [path], None, check_only=True)


def test_before_anything_is_run_the_data_say_what_has_to_be_answered(finished, tmp_path: Path) -> None:
    found, store, given = finished
    nothing = replace(found, records={})
    path = write(tmp_path / "theirs.jsonl", lines(given, "plain: es, seed 0"))
    with pytest.raises(UserError, match="84 items are not answered"):
        outside_results(nothing, store, [path], None, check_only=True)


SHOTS = np.array([0.0, 3.0, 15.0])


def test_the_inverse_of_a_known_curve() -> None:
    curve = np.array([0.5, 0.6, 0.7])  # log2(1 + shots) = 0, 2, 4: 0.05 a doubling
    found = [float(equivalent_shots(a, SHOTS, curve)[0]) for a in (0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.71)]
    assert found == pytest.approx([0, 0, 1, 3, 7, 15, np.inf])


def test_a_dip_is_levelled() -> None:
    # 0.6 and 0.5 become 0.55 each: what lies above begins behind them
    assert equivalent_shots(0.575, SHOTS, np.array([0.6, 0.5, 0.6]))[0] == pytest.approx(7)


def table_equivalent(rate: float, seed: int, items: int = 400, seeds: int = 5) -> np.ndarray:
    return (np.random.default_rng(seed).random((items, seeds)) < rate).astype(float)


def test_interval_holds_the_truth_and_names_what_is_out_of_reach() -> None:
    baseline = {0: table_equivalent(0.5, 1), 3: table_equivalent(0.6, 2), 15: table_equivalent(0.7, 3)}
    found = cost_equivalent(table_equivalent(0.65, 4), baseline)
    assert found.shots is not None and found.low is not None and found.low < 7 < (found.high or np.inf)
    beyond = cost_equivalent(table_equivalent(0.9, 5), baseline)
    assert (beyond.shots, beyond.high) == (None, None)
    assert cost_equivalent(table_equivalent(0.65, 4), baseline) == found  # the draws are seeded


def test_a_deterministic_baseline_stands_beside_seeds() -> None:
    baseline = {0: table_equivalent(0.5, 1, seeds=1), 4: table_equivalent(0.7, 2, seeds=1)}
    assert cost_equivalent(table_equivalent(0.6, 3), baseline).shots is not None
