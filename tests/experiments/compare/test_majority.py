"""The majority baseline: the shots' most frequent label, or that of the English target data."""

from collections.abc import Callable

from metaxcr.experiments.compare.grid import Grid
from metaxcr.experiments.compare.majority import majority
from metaxcr.experiments.compare.plan import expand
from metaxcr.experiments.prepare import read_data

Build = Callable[..., Grid]


def test_the_most_frequent_label_of_what_may_be_seen(grid: Build) -> None:
    cells = expand(grid(methods={"majority": {"kind": "majority"}}, baseline=None, languages=["sw"]))
    for cell in cells:
        loaded = read_data(cell.config, None)
        found = majority(cell, loaded)
        seen = [e.label for e in loaded.english.examples]
        if cell.k:
            shots = loaded.shots[3]
            seen = [e.label for e in loaded.shot_pool["sw"].examples if e.id in shots]
            assert len(seen) == cell.k == found.k == found.total_labels
        best = max(sorted(set(seen)), key=seen.count)
        assert set(found.choices) == {best} and len(found.ids) == 84
