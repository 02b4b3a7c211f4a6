"""Cost-equivalent shots: how many labelled examples a baseline needs for a method's accuracy."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from metaxcr.evaluation.statistics import Scores
from metaxcr.seeding import rng


class EquivalentShots(NamedTuple):
    """Shots with the ends of a 95 % interval; None: more than the most shots that were tried."""

    shots: float | None
    low: float | None
    high: float | None


def equivalent_shots(
    accuracy: float | NDArray[np.floating[Any]], shots: NDArray[np.floating[Any]], curve: Scores
) -> NDArray[np.float64]:
    """Where a baseline's curve reaches an accuracy.

    The curve is made non-decreasing by isotonic regression (where more labels hurt, that is noise) and
    interpolated linearly over log2(1 + shots).

    Args:
        accuracy: Of the method: one value, or one for each curve.
        shots: Shape (points,), ascending.
        curve: Shape (points,) or (curves, points): the baseline's accuracies.

    Returns:
        Shape (curves,): infinite if the curve stays below, the first number of shots if it starts above.
    """
    curves = np.atleast_2d(np.asarray(curve, dtype=np.float64))
    wanted = np.broadcast_to(np.asarray(accuracy, dtype=np.float64), (len(curves),))
    scale, found = np.log2(1 + np.asarray(shots, dtype=np.float64)), np.empty(len(curves))
    for place, (row, value) in enumerate(zip(curves, wanted, strict=True)):
        level = isotonic_regression(row).x
        above = int(np.searchsorted(level, value - 1e-12))
        if above == 0:
            found[place] = shots[0]
        elif above == len(level):
            found[place] = np.inf
        else:
            low, high = level[above - 1], level[above]
            share = (value - low) / (high - low)
            found[place] = 2 ** (scale[above - 1] + share * (scale[above] - scale[above - 1])) - 1
    return found


def cost_equivalent(
    method: Scores, baseline: Mapping[int, Scores], draws: int = 1000, seed: int = 0
) -> EquivalentShots:
    """How many shots the baseline needs for the method's accuracy, with a 95 % interval.

    The interval is a percentile bootstrap over items and seeds, with the same draws for method and baseline,
    so that the difficulty of a draw cancels. With few seeds such an interval is too narrow. Tables have shape
    (items, seeds), on the same items; ``baseline`` has two numbers of shots or more.
    """
    shots = np.array(sorted(baseline), dtype=np.float64)
    tables = [np.asarray(baseline[int(k)], dtype=np.float64) for k in shots]
    items = len(method)
    point = equivalent_shots(float(method.mean()), shots, np.array([t.mean() for t in tables]))[0]
    generator = rng(seed, "equivalent", 0)
    rows = generator.multinomial(items, np.full(items, 1 / items), size=draws) / items  # (draws, items)
    columns = {t.shape[1]: _columns(generator, t.shape[1], draws) for t in (method, *tables)}

    def means(table: Scores) -> NDArray[np.float64]:
        return np.asarray(np.sum((rows @ table) * columns[table.shape[1]], axis=1))

    curves = np.stack([means(table) for table in tables], axis=1)
    drawn = equivalent_shots(means(np.asarray(method, dtype=np.float64)), shots, curves)
    low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
    return EquivalentShots(*(float(x) if np.isfinite(x) else None for x in (point, low, high)))


def _columns(generator: np.random.Generator, seeds: int, draws: int) -> NDArray[np.float64]:
    return generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
