"""What a comparison says: averages, paired differences and ensembles, by hand."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from metaxcr.compare.grid import Method
from metaxcr.compare.grid_summary import summarise
from metaxcr.evaluation.predictions import Predictions
from metaxcr.evaluation.statistics import crossed_interval, paired_difference


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


def test_seeds_that_no_language_shares_give_no_average(finished) -> None:
    found, store, _ = finished
    for cell in found.cells:
        if cell.method == "better" and (cell.seed == 0) != (cell.language == "es"):
            found.records.pop(cell.key)
    summary = summarise(found, store)
    assert {row["method"] for row in summary["averages"]} == {"plain", "together"}
    assert {row["method"] for row in summary["languages"]} == {"plain", "better", "together"}


def test_an_incomplete_grid_says_so(finished) -> None:
    found, store, _ = finished
    gone = next(cell for cell in found.cells if cell.label == "better: sw, k=8, seed 1")
    found.records.pop(gone.key)
    found.failed[gone.label] = "why"
    rows = {(row["method"], row["k"]): row for row in summarise(found, store)["averages"]}
    assert not rows["better", 8]["complete"] and rows["better", 0]["complete"]
    assert rows["better", 8]["seeds"] == [0, 2]
