"""Calibration: temperature scaling, reliability bins, and the threshold for withholding answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq, minimize_scalar

Probabilities = Sequence[Sequence[float]]  # one row an example, one number a choice
FLOOR = 1e-6  # probabilities are rounded to six digits; the log of a zero would be infinite
TEMPERATURES = (0.05, 100.0)  # range of the search
LEVEL = 0.95  # of the interval of a temperature
CONFIDENCE = 0.9  # of a threshold, over all thresholds that are tried
STEPS = 10  # thresholds tried: they answer a tenth, two tenths, ... of the examples

State = Literal["fitted", "cautious", "unknown"]
FITTED: State = "fitted"  # the likelihood bounds the temperature on both sides
CAUTIOUS: State = "cautious"  # no lower bound, for example because every answer is right
UNKNOWN: State = "unknown"  # the probabilities are not shown to be better than guessing


@dataclass(frozen=True)
class Calibration:
    """The temperature that held-out answers support, and p of the likelihood-ratio test against guessing.

    The temperature is the most likely one if fitted, the highest one not ruled out if cautious, and None if
    unknown. ``low`` and ``high`` are the ends of its 95 % interval; None means no limit.
    """

    state: State
    temperature: float | None
    low: float | None
    high: float | None
    p: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers of about equal certainty."""

    stated: float  # mean probability of the chosen choices
    right: float  # share of right answers, with its 95 % Wilson interval
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Threshold:
    """The probability from which answers reach a target accuracy; None: too few examples to find one."""

    target_accuracy: float
    probability: float | None
    answered: float = 0.0  # share of examples above it
    right: float = 0.0  # share of right answers among those
    low: float = 0.0  # lower end of its one-sided 90 % interval (Clopper and Pearson)


def tempered(probabilities: Probabilities, temperature: float) -> list[NDArray[np.float64]]:
    """Softmax of the same scores at temperature T: p_j^(1/T), normalised. The order of choices stays."""
    rows = []
    for row in probabilities:
        logs = np.log(np.maximum(np.asarray(row, dtype=np.float64), FLOOR)) / temperature
        weights = np.exp(logs - logs.max())
        rows.append(weights / weights.sum())
    return rows


def calibrate(tables: Sequence[Probabilities], labels: Sequence[int]) -> Calibration:
    """Fit a temperature to held-out answers, if they are enough to determine one.

    With s the logarithms of the probabilities, p = softmax(s / T) is a conditional logit in 1 / T, and its
    log-likelihood is concave. 1 / T = 0 is guessing. The 95 % likelihood interval holds every T with deviance
    2 (l(best) - l(T)) up to the chi-squared quantile with one degree of freedom. If guessing is in it, the
    temperature is unknown. If it has no lower end (n answers, all right), the best fit would be certainty, so
    its upper end is used: there, n equally certain right answers are each right with probability
    exp(-1.92 / n).

    Args:
        tables: One table of probabilities a repeat of the cross-validation. Their log-likelihoods are
            averaged, so n examples count as n however often they were answered.
        labels: 0-based.

    Source:
        Guo et al. 2017 (ICML), section 4.2, for the temperature; Wilks 1938 (Annals of Mathematical
        Statistics 9) for the interval; McFadden 1974 for the conditional logit.
    """

    def loss(temperature: float) -> float:
        rows = [tempered(table, temperature) for table in tables]
        losses = [-log(max(row[y], FLOOR)) for table in rows for row, y in zip(table, labels, strict=True)]
        return sum(losses) / len(tables)

    bounds = (log(TEMPERATURES[0]), log(TEMPERATURES[1]))
    found = minimize_scalar(lambda x: loss(exp(x)), bounds=bounds, method="bounded", options={"xatol": 1e-5})
    best = min((exp(found.x), *TEMPERATURES), key=loss)
    least, limit = loss(best), float(stats.chi2.ppf(LEVEL, 1))
    guessing = 2 * (sum(log(len(row)) for row in tables[0]) - least)
    p = float(stats.chi2.sf(max(guessing, 0.0), 1))

    def excess_deviance(x: float) -> float:
        return 2 * (loss(exp(x)) - least) - limit

    def limit_between(end: float) -> float | None:
        """The temperature between an end of the range and the best one at which the deviance is the limit."""
        return exp(brentq(excess_deviance, end, log(best), xtol=1e-6)) if excess_deviance(end) > 0 else None

    low = limit_between(bounds[0])
    if guessing <= limit:
        return Calibration(UNKNOWN, None, low, None, p)
    high = round(limit_between(bounds[1]) or TEMPERATURES[1], 4)
    if low is None:
        return Calibration(CAUTIOUS, high, None, high, p)
    return Calibration(FITTED, round(best, 4), round(low, 4), high, p)


def wilson(right: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a share (Wilson 1927), which is sound for few examples and shares near 0 and 1.

    ``right`` need not be a whole number: a trial may be the mean of several answers. (SciPy's insists.)
    """
    z = float(stats.norm.ppf(0.5 + level / 2))
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def reliability(
    certainties: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 5
) -> list[ReliabilityBin]:
    """Compare stated probabilities with shares of right answers, in at most ``bins`` bins of equal size.

    ``certainties`` (examples,) are the probabilities of the chosen choices, ``right`` says whether the choice
    was the labelled one. A bin has five answers or more, if there are five.
    """
    order = np.argsort(certainties, kind="stable")
    parts = np.array_split(order, max(1, min(bins, len(order) // 5)))
    found = []
    for part in parts:
        hits, n = int(right[part].sum()), len(part)
        low, high = wilson(hits, n)
        found.append(ReliabilityBin(float(certainties[part].mean()), hits / n, low, high, n))
    return found


def calibration_error(certainties: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error: mean gap between stated and actual shares, bins weighted by their size.

    Source:
        Naeini et al. 2015 (AAAI).
    """
    parts = reliability(certainties, right)
    return sum(part.n * abs(part.stated - part.right) for part in parts) / sum(part.n for part in parts)


def abstention(
    certainties: NDArray[np.float64], right: NDArray[np.bool_], target_accuracy: float
) -> Threshold:
    """Find the lowest probability from which answers reach the target accuracy.

    Thresholds are tried in an order fixed in advance, from the strictest that could pass, each answering a
    tenth more of the examples. The search ends with the first whose exact one-sided interval includes less
    than the target accuracy. So the threshold found misses its accuracy with a probability of at most 10 %,
    although several are tried. For the arguments see :func:`reliability`; the probabilities are calibrated.

    Source:
        Angelopoulos et al. 2021 (arXiv:2110.01052), Learn then Test, fixed-sequence testing; Clopper and
        Pearson 1934 (Biometrika 26).
    """
    order = np.argsort(-certainties, kind="stable")
    hits, sorted_ = np.cumsum(right[order]), certainties[order]
    best = Threshold(target_accuracy, None)
    for step in range(1, STEPS + 1):
        last = sorted_[max(1, round(len(order) * step / STEPS)) - 1]
        n = int((sorted_ >= last).sum())  # ties are answered or withheld together
        if accuracy_bound(n, n) < target_accuracy:
            continue  # could not pass even if all were right
        low = accuracy_bound(int(hits[n - 1]), n)
        if low < target_accuracy:
            break
        best = Threshold(target_accuracy, round(float(last), 6), n / len(order), float(hits[n - 1]) / n, low)
    return best


def accuracy_bound(right: int, n: int) -> float:
    """Lower end of the exact one-sided interval of a share, at :data:`CONFIDENCE` (Clopper and Pearson)."""
    return float(stats.beta.ppf(1 - CONFIDENCE, right, n - right + 1)) if right else 0.0
