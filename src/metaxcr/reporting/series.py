"""Series over steps, taken from the events: per seed, smoothed, and averaged over seeds."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaxcr.reporting.read import Record

Array = NDArray[np.float64]
_MOST_POINTS = 240  # per drawn line: more cannot be told apart, and every point is text in the page


@dataclass(frozen=True, slots=True)
class Curve:
    """One quantity over the steps, one line a seed.

    Args:
        name: What the legend says.
        seeds: Per seed the steps and the values, both of shape (steps,).
    """

    name: str
    seeds: dict[int, tuple[Array, Array]]

    def mean(self) -> tuple[Array, Array]:
        """Return the mean over seeds, at the steps that every seed has."""
        common = sorted(set.intersection(*(set(steps.tolist()) for steps, _ in self.seeds.values())))
        rows = [
            values[np.isin(steps, common)] for steps, values in self.seeds.values()
        ]  # steps are sorted and unique, so the columns fit
        return np.array(common, dtype=np.float64), np.mean(rows, axis=0) if common else np.array([])

    def smoothed(self, window: int) -> "Curve":
        """Return the curve as centred moving averages over ``window`` steps, thinned to what can be seen."""
        thin = max(1, -(-max(len(steps) for steps, _ in self.seeds.values()) // _MOST_POINTS))
        lines = {
            seed: (steps[::thin], smooth(values, window)[::thin])
            for seed, (steps, values) in self.seeds.items()
        }
        return Curve(self.name, lines)


def curve(name: str, events: Iterable[Record], value: Callable[[Record], Any]) -> Curve | None:
    """Collect one quantity from the events.

    Several events of one seed and step (languages, kinds of episode) are averaged. Values that are absent or
    not finite are left out.

    Args:
        name: Name for the legend.
        events: The events.
        value: Takes the quantity from an event; None where it has none.

    Returns:
        The curve, or None where no event has the quantity.
    """
    found: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for event in events:
        number = value(event)
        if isinstance(number, int | float) and np.isfinite(number):
            found[event.get("seed") or 0][int(event.get("step") or 0)].append(float(number))
    seeds = {}
    for seed, steps in sorted(found.items()):
        order = sorted(steps)
        seeds[seed] = np.array(order, dtype=np.float64), np.array([np.mean(steps[step]) for step in order])
    return Curve(name, seeds) if seeds else None


def smooth(values: Array, window: int) -> Array:
    """Return centred moving averages; at the ends the window is cut to the steps there are."""
    if window <= 1:
        return values
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    first = np.maximum(index - window // 2, 0)
    end = np.minimum(index + window // 2 + 1, len(values))
    result: Array = (sums[end] - sums[first]) / (end - first)
    return result


def window_for(curves: Iterable[Curve]) -> int:
    """Return a smoothing window, odd: a twentieth of the series, at most 51 steps, 1 if it is short."""
    longest = max((len(steps) for item in curves for steps, _ in item.seeds.values()), default=0)
    return 1 if longest < 40 else min(51, longest // 20 | 1)


def probabilities(events: Iterable[Record]) -> tuple[Array, dict[str, Array]]:
    """Return the sampler's probabilities over time, mean over seeds.

    Returns:
        Steps of shape (steps,), and per source an array of the same shape; the sources with the largest share
        over the whole run come first. Both empty where no event has probabilities.
    """
    kept = [event for event in events if isinstance(event.get("probabilities"), dict)]
    names = sorted({name for event in kept for name in event["probabilities"]})
    curves = {}
    for name in names:
        # default 0: a source that an event does not list had no share in it
        shares = [{**event, "share": event["probabilities"].get(name, 0.0)} for event in kept]
        found = curve(name, shares, itemgetter("share"))
        if found is not None:
            curves[name] = found.mean()
    if not curves:
        return np.array([]), {}
    steps = next(iter(curves.values()))[0]
    thin = max(1, -(-len(steps) // _MOST_POINTS))
    order = sorted(curves, key=lambda name: (-float(np.sum(curves[name][1])), name))
    return steps[::thin], {name: curves[name][1][::thin] for name in order}


def draws(events: Iterable[Record]) -> dict[str, dict[int, float]]:
    """Return per source and seed the share of episodes in which the source was drawn."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for event in events:
        if isinstance(event.get("source"), str):
            counts[event.get("seed") or 0][event["source"]] += 1
    names = sorted({name for counter in counts.values() for name in counter})
    return {
        name: {seed: counter[name] / counter.total() for seed, counter in sorted(counts.items())}
        for name in names
    }
