"""Answers arranged for statistics: seeds in common, items in common, English apart."""

import numpy as np
from tests.compare.test_cell_record import predictions, record

from metaxcr.compare.grid_scores import Marks, seeds_of, tables, targets

RECORD = record(predictions(5))


def marks(*right: str) -> Marks:
    """Right answers to the items that are named in capitals."""
    return Marks({name.lower(): float(name.isupper()) for name in right}, {}, RECORD)


def test_seeds_and_items_that_all_have() -> None:
    a = {
        "sw": {0: marks("A", "b", "C"), 1: marks("A", "B", "C")},
        "es": {0: marks("a", "B", "c"), 1: marks("A")},
    }
    b = {"sw": {None: marks("a", "B", "C")}, "es": {None: marks("A", "b", "c")}}
    assert seeds_of([a, b], ["sw"]) == [0, 1] and seeds_of([b], ["sw"]) == [None]
    assert seeds_of([a, {"sw": {1: marks("A")}}], ["sw"]) == [1]
    one, two = tables([a, b], ["sw"], [0, 1])
    assert one.tolist() == [[1, 1], [0, 1], [1, 1]] and two.tolist() == [[0, 0], [1, 1], [1, 1]]
    (mean,) = tables([a], ["sw", "es"], [0])
    assert np.allclose(mean.mean(), (2 / 3 + 1 / 3) / 2)


def test_english_is_apart_unless_it_is_all_there_is() -> None:
    assert targets({"en": {}, "sw": {}}) == ["sw"] and targets({"en": {}}) == ["en"]
