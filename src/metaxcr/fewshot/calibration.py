"""Whether probabilities mean what they say, and from which one on an answer can be relied on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import minimize_scalar

Probabilities = Sequence[Sequence[float]]  # one row an example, one number a choice
FLOOR = 1e-6  # probabilities are rounded to six digits; a zero would cost infinitely much
RANGE = (0.05, 100.0)  # of temperatures: below, everything is certain; above, nothing is said


@dataclass(frozen=True)
class Reliability:
    """A bin of answers that were about equally certain.

    Attributes:
        stated: Mean probability of the chosen choices.
        right: Share of right answers.
        low: Lower end of the 95 % interval of ``right`` (Wilson).
        high: Upper end.
        n: Number of answers.
    """

    stated: float
    right: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Threshold:
    """From which probability on answers reach a wished accuracy.

    Attributes:
        wished: The accuracy.
        probability: Answers at least as certain are given, the others withheld; None: no threshold can be
            vouched for with so few examples.
        answered: Share of the examples that are answered then.
        right: Share of right ones among those.
        low: Lower end of the one-sided 90 % interval of ``right`` (Wilson).
    """

    wished: float
    probability: float | None
    answered: float = 0.0
    right: float = 0.0
    low: float = 0.0


def tempered(probabilities: Probabilities, temperature: float) -> list[NDArray[np.float64]]:
    """p_j^(1/T), normalised: the softmax of the same scores at another temperature.

    Args:
        probabilities: Of each example's choices.
        temperature: T; 1 changes nothing, more is less certain. The order of choices stays.
    """
    rows = []
    for row in probabilities:
        logs = np.log(np.maximum(np.asarray(row, dtype=np.float64), FLOOR)) / temperature
        weights = np.exp(logs - logs.max())
        rows.append(weights / weights.sum())
    return rows


def log_losses(probabilities: Probabilities, labels: Sequence[int]) -> NDArray[np.float64]:
    """Cross-entropy of each example in units of log n, n its number of choices: 1.0 is chance.

    Args:
        probabilities: Of each example's choices.
        labels: 0-based.
    """
    pairs = zip(probabilities, labels, strict=True)
    return np.array([-np.log(max(row[label], FLOOR)) / np.log(len(row)) for row, label in pairs])


def fit_temperature(probabilities: Probabilities, labels: Sequence[int]) -> float:
    """Find the temperature under which held-out answers are least surprising.

    Args:
        probabilities: Of examples that were not trained on.
        labels: 0-based.

    Returns:
        T, at most :data:`RANGE`'s end: then the scores say nothing about the labels.

    Source:
        Guo et al. 2017 (ICML), section 4.2.
    """

    def loss(log_temperature: float) -> float:
        rows = tempered(probabilities, float(np.exp(log_temperature)))
        return float(log_losses([list(row) for row in rows], labels).mean())

    bounds = (float(np.log(RANGE[0])), float(np.log(RANGE[1])))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return round(float(np.exp(found.x)), 4)


def wilson(right: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a share (Wilson 1927): sensible for few examples and for shares near 0 and 1.

    Args:
        right: Successes.
        n: Trials; at least one.
        level: Two-sided coverage.
    """
    z = float(stats.norm.ppf(0.5 + level / 2))
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def reliability(
    certainties: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 5
) -> list[Reliability]:
    """Compare stated probabilities with shares of right answers, in bins of equal size.

    Args:
        certainties: (examples,) probability of the chosen choice.
        right: (examples,) whether it was the labelled one.
        bins: At most; none has fewer than five answers, if there are five.
    """
    order = np.argsort(certainties, kind="stable")
    parts = np.array_split(order, max(1, min(bins, len(order) // 5)))
    found = []
    for part in parts:
        hits, n = int(right[part].sum()), len(part)
        low, high = wilson(hits, n)
        found.append(Reliability(float(certainties[part].mean()), hits / n, low, high, n))
    return found


def calibration_error(certainties: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error: mean gap between stated and actual shares, bins weighted by their size.

    Source:
        Naeini et al. 2015 (AAAI).
    """
    parts = reliability(certainties, right)
    return sum(part.n * abs(part.stated - part.right) for part in parts) / sum(part.n for part in parts)


def abstention(certainties: NDArray[np.float64], right: NDArray[np.bool_], wished: float) -> Threshold:
    """Find the lowest probability from which on answers are right often enough.

    A share of right answers that merely happens to be high among a handful is no promise: the lower end of
    its interval has to reach the wished accuracy.

    Args:
        certainties: (examples,) calibrated probability of the chosen choice, of examples not trained on.
        right: (examples,) whether it was the labelled one.
        wished: Accuracy among the answers that are given, between 0 and 1.
    """
    order = np.argsort(-certainties, kind="stable")
    hits = np.cumsum(right[order])
    best = Threshold(wished, None)
    for n in range(1, len(order) + 1):
        last = certainties[order[n - 1]]
        if n < len(order) and certainties[order[n]] == last:
            continue  # equally certain answers are given or withheld together
        low = wilson(int(hits[n - 1]), n, level=0.8)[0]
        if low >= wished:
            share = float(hits[n - 1]) / n
            best = Threshold(wished, round(float(last), 6), n / len(order), share, low)
    return best
