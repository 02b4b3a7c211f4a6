"""Whether probabilities mean what they say, and from which one on an answer can be relied on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq, minimize_scalar

Probabilities = Sequence[Sequence[float]]  # one row an example, one number a choice
FLOOR = 1e-6  # probabilities are rounded to six digits; a zero would cost infinitely much
RANGE = (0.05, 100.0)  # of temperatures that are searched; whether one can be told is decided by likelihood
LEVEL = 0.95  # of the interval of a temperature
CONFIDENCE = 0.9  # that a threshold keeps what it promises, over all thresholds that are tried
TRIED = 10  # thresholds: those that let a tenth, two tenths, ... of the examples through

State = Literal["fitted", "cautious", "unknown"]
FITTED: State = "fitted"
CAUTIOUS: State = "cautious"
UNKNOWN: State = "unknown"


@dataclass(frozen=True)
class Calibration:
    """What held-out answers say about the temperature of a model's probabilities.

    Attributes:
        state: ``"fitted"``: the likelihood bounds the temperature on both sides; ``"cautious"``: it sets no
            lower limit, as where every answer is right; ``"unknown"``: it does not rule out that the
            probabilities have nothing to do with the labels, so that nothing can be told from them.
        temperature: To divide the scores by: the most likely one where it is fitted, the highest one that is
            not ruled out where there is no lower limit, None where nothing is known.
        low: Lower end of its 95 % interval; None: no limit.
        high: Upper end; None: no limit, and guessing is in the interval.
        p: Of the likelihood-ratio test against guessing, the temperature without limit.
    """

    state: State
    temperature: float | None
    low: float | None
    high: float | None
    p: float


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
        probability: Answers at least as certain are given, the others withheld; None: too few examples
            for a reliable threshold.
        answered: Share of the examples that are answered then.
        right: Share of right ones among those.
        low: Lower end of the one-sided 90 % interval of ``right`` (Clopper and Pearson).
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


def calibrate(tables: Sequence[Probabilities], labels: Sequence[int]) -> Calibration:
    """Fit a temperature to held-out answers, where they suffice to tell one.

    With s the logarithms of the probabilities, p = softmax(s / T) is a conditional logit with one parameter,
    1 / T, and its log-likelihood is concave in it. 1 / T = 0 is guessing, whatever the scores. The 95 %
    likelihood interval holds every T whose deviance, 2 (l(best) - l(T)), is at most the quantile of
    chi-squared with one degree of freedom. If guessing is in it, the log loss is no better than that of equal
    probabilities by more than noise: any fitted T, at the end of the searched range or not, would be an
    accident. If it has no lower end, as for n answers that are all right, the best fit would state certainty;
    then its upper end is used, under which n such answers, all equally certain, are each right with
    probability exp(-1.92 / n).

    Args:
        tables: One table of probabilities a repeat of the cross-validation. The repeats answer the same
            examples, so their log-likelihoods are averaged: n examples count as n, however often answered.
        labels: 0-based.

    Source:
        Guo et al. 2017 (ICML), section 4.2, for the temperature; Wilks 1938 (Annals of Mathematical
        Statistics 9) for the interval; McFadden 1974 for the conditional logit.
    """

    def nats(temperature: float) -> float:
        rows = [tempered(table, temperature) for table in tables]
        losses = [-log(max(row[y], FLOOR)) for table in rows for row, y in zip(table, labels, strict=True)]
        return sum(losses) / len(tables)

    bounds = (log(RANGE[0]), log(RANGE[1]))
    found = minimize_scalar(lambda x: nats(exp(x)), bounds=bounds, method="bounded", options={"xatol": 1e-5})
    best = min((exp(found.x), *RANGE), key=nats)
    least, limit = nats(best), float(stats.chi2.ppf(LEVEL, 1))
    guessing = 2 * (sum(log(len(row)) for row in tables[0]) - least)
    p = float(stats.chi2.sf(max(guessing, 0.0), 1))

    def beyond(x: float) -> float:
        return 2 * (nats(exp(x)) - least) - limit

    low = _crossing(beyond, bounds[0], log(best))
    if guessing <= limit:
        return Calibration(UNKNOWN, None, low, None, p)
    high = _crossing(beyond, bounds[1], log(best)) or RANGE[1]
    if low is None:
        return Calibration(CAUTIOUS, round(high, 4), None, round(high, 4), p)
    return Calibration(FITTED, round(best, 4), round(low, 4), round(high, 4), p)


def _crossing(beyond: Callable[[float], float], end: float, best: float) -> float | None:
    """Temperature between an end of the range and the best one where the deviance passes the limit."""
    return exp(brentq(beyond, end, best, xtol=1e-6)) if beyond(end) > 0 else None


def wilson(right: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a share (Wilson 1927): sensible for few examples and for shares near 0 and 1.

    Args:
        right: Successes; not a whole number where each trial is a mean of several answers.
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

    A share of right answers that merely happens to be high among a handful is no promise, and neither is the
    best of many thresholds. Thresholds are tried in an order fixed in advance, from the strictest one that
    could pass, each letting a tenth more of the examples through, and the search ends with the first whose
    exact one-sided interval does not reach the wished accuracy. So the probability that the threshold found
    promises too much is at most 10 %, over all that are tried.

    Args:
        certainties: (examples,) calibrated probability of the chosen choice, of examples not trained on.
        right: (examples,) whether it was the labelled one.
        wished: Accuracy among the answers that are given, between 0 and 1.

    Source:
        Angelopoulos et al. 2021 (arXiv:2110.01052), Learn then Test, fixed-sequence testing; Clopper and
        Pearson 1934 (Biometrika 26).
    """
    order = np.argsort(-certainties, kind="stable")
    hits, sorted_ = np.cumsum(right[order]), certainties[order]
    best = Threshold(wished, None)
    for step in range(1, TRIED + 1):
        last = sorted_[max(1, round(len(order) * step / TRIED)) - 1]
        n = int((sorted_ >= last).sum())  # equally certain answers are given or withheld together
        if at_least(n, n) < wished:
            continue  # so few could not pass if all were right
        low = at_least(int(hits[n - 1]), n)
        if low < wished:
            break
        best = Threshold(wished, round(float(last), 6), n / len(order), float(hits[n - 1]) / n, low)
    return best


def at_least(right: int, n: int) -> float:
    """Lower end of the exact one-sided interval of a share, at :data:`CONFIDENCE` (Clopper and Pearson)."""
    return float(stats.beta.ppf(1 - CONFIDENCE, right, n - right + 1)) if right else 0.0
