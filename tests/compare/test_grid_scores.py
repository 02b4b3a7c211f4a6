"""Statistics of a grid: ensembles, corrected p values, and cost-equivalent shots."""

import numpy as np
import pytest

from metaxcr.compare.grid_scores import (
    Line,
    collect,
    correct_p_values,
    cost_equivalent,
    equivalent_shots,
    tables_of,
)

SHOTS = np.array([0.0, 3.0, 15.0])


def test_the_inverse_of_a_known_curve() -> None:
    curve = np.array([0.5, 0.6, 0.7])  # log2(1 + shots) = 0, 2, 4: 0.05 a doubling
    accuracies = np.array([0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.71])
    found = equivalent_shots(accuracies, SHOTS, np.tile(curve, (7, 1))).tolist()
    assert found == pytest.approx([0, 0, 1, 3, 7, 15, np.inf])


def test_a_dip_is_levelled() -> None:
    # 0.6 and 0.5 become 0.55 each: what lies above begins behind them
    assert equivalent_shots(np.array([0.575]), SHOTS, np.array([[0.6, 0.5, 0.6]])) == pytest.approx([7])
    # the first number of shots that reaches a level counts
    level = equivalent_shots(np.array([0.55, 0.6]), SHOTS, np.array([[0.6, 0.5, 0.6], [0.5, 0.6, 0.6]]))
    assert level == pytest.approx([0, 3])


def table(rate: float, seed: int, items: int = 400, seeds: int = 5) -> np.ndarray:
    return (np.random.default_rng(seed).random((items, seeds)) < rate).astype(float)


def test_interval_holds_the_truth_and_names_what_is_out_of_reach() -> None:
    baseline = {0: table(0.5, 1), 3: table(0.6, 2), 15: table(0.7, 3)}
    found = cost_equivalent(table(0.65, 4), baseline)
    assert found["shots"] is not None and found["low"] is not None
    assert found["low"] < 7 < (found["high"] or np.inf)
    beyond = cost_equivalent(table(0.9, 5), baseline)
    assert (beyond["shots"], beyond["high"]) == (None, None)
    assert cost_equivalent(table(0.65, 4), baseline) == found  # the draws are seeded


def test_a_deterministic_baseline_stands_beside_seeds() -> None:
    baseline = {0: table(0.5, 1, seeds=1), 4: table(0.7, 2, seeds=1)}
    assert cost_equivalent(table(0.6, 3), baseline)["shots"] is not None


def test_scores_are_collected_by_line_and_ensembles_have_no_seed(finished) -> None:
    found, store, given = finished
    lines = collect(found, store)
    methods, shots = ("plain", "better", "together"), (0, 8)
    assert set(lines) == {Line("", method, k) for method in methods for k in shots}
    cell = lines[Line("", "better", 8)]["sw"][1]
    answers = given["better: sw, k=8, seed 1"]
    assert list(cell.scores) == answers.ids and [*cell.scores.values()] == answers.correct.tolist()
    assert list(lines[Line("", "together", 0)]["es"]) == [None]
    assert len(lines[Line("", "together", 0)]["es"][None].records) == 3
    languages, seeds, (ours, theirs) = tables_of(lines[Line("", "better", 0)], lines[Line("", "together", 0)])
    assert (languages, seeds) == (["es", "sw"], [0, 1, 2]) and ours.shape == theirs.shape == (60, 3)


def test_p_values_are_corrected_for_the_rows_that_were_tested() -> None:
    rows = [{"mean": 0.1, "p": 0.01}, {"mean": None}, {"mean": 0.2, "p": 0.04}]
    correct_p_values(rows)
    assert [row.get("p_holm") for row in rows] == pytest.approx([0.02, None, 0.04])
    assert [row.get("p_bh") for row in rows] == pytest.approx([0.02, None, 0.04])
