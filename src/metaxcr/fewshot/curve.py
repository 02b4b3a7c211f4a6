"""The learning curve over the number of examples, and what some more would buy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metaxcr.evaluation.intervals import Interval, crossed_interval

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """Accuracy after adapting to so many examples.

    Attributes:
        n: Number of examples; 0 is the model as it came.
        accuracy: On held-out ones, with its interval.
    """

    n: int
    accuracy: Interval


@dataclass(frozen=True)
class Forecast:
    """What more examples are likely to buy.

    Attributes:
        more: Number of further examples.
        gain: Change of accuracy, with its interval.
    """

    more: int
    gain: Interval


def sizes(most: int) -> list[int]:
    """Numbers of examples on the curve: a quarter, a half and all of those that a fold leaves for training.

    Args:
        most: So many are left.
    """
    return sorted({n for n in (most // 4, most // 2, most) if n >= 2})


def points(correct: dict[int, Scores]) -> list[Point]:
    """Accuracy with interval for each size.

    Args:
        correct: Number of examples -> (examples, repeats) share of right answers, held out.
    """
    return [Point(n, crossed_interval(scores)) for n, scores in sorted(correct.items())]


def forecast(correct: dict[int, Scores], now: int, more: int) -> Forecast | None:
    """Extrapolate accuracy along log2(1 + n), item by item.

    Learning curves of pretrained models flatten about logarithmically in this range. Each item gives a
    least-squares slope of its own; the slopes' mean and spread give the gain and its interval, which holds
    as far as the line does.

    Args:
        correct: Number of examples -> (examples, repeats) share of right answers, held out; 0 included.
        now: Number of examples at hand.
        more: Number of further ones.

    Returns:
        The forecast; None with fewer than three sizes, through which any line would fit too well.
    """
    if len(correct) < 3:
        return None
    ns: Sequence[int] = sorted(correct)
    x = np.log2(1 + np.array(ns, dtype=np.float64))
    x -= x.mean()
    scores = np.stack([correct[n] for n in ns])  # (sizes, examples, repeats)
    slopes = np.tensordot(x, scores, axes=1) / float(x @ x)
    doublings = float(np.log2((1 + now + more) / (1 + now)))
    return Forecast(more, crossed_interval(doublings * slopes))
