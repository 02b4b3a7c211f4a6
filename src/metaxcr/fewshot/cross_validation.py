"""Folds for cross-validation: stratified, and with duplicates kept together.

Cross-validation of few-shot adaptation: every example is answered by models that have not seen it.

The learning curve over the number of examples, and what some more would buy.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metaxcr.evaluation.statistics import Interval, crossed_interval
from metaxcr.fewshot.calibration import Probabilities
from metaxcr.seeding import rng

Folds = NDArray[np.int64]  # (examples,) the fold that each example is held out in


def draw_folds(groups: Sequence[Hashable], strata: Sequence[Hashable], folds: int, seed: int) -> Folds:
    """Deal examples into folds.

    Examples of one group (duplicates) share a fold: an example whose twin was trained on is no test. Groups
    are dealt out stratum by stratum in random order, each to the fold that has least of that stratum, then
    least of all, so that folds are alike in size and composition.

    Args:
        groups: What each example must not be parted from.
        strata: What every fold should have its share of: cause and effect, the label's position.
        folds: Their number; there are no more than groups.
        seed: Of the draw.

    Returns:
        The fold of each example, counted from 0.

    Raises:
        ValueError: Fewer than two groups or folds.
    """
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    folds = min(folds, len(members))
    if folds < 2:
        raise ValueError("cross-validation needs two folds and two different examples or more")
    shuffled = rng(seed, "folds").permutation(len(members))
    dealt = [list(members.values())[n] for n in shuffled]
    dealt.sort(key=lambda rows: str(strata[rows[0]]))  # stable: still random within a stratum
    held_in = np.full(len(groups), -1)
    sizes = np.zeros(folds, dtype=np.int64)
    by_stratum: dict[Hashable, NDArray[np.int64]] = {}
    for rows in dealt:
        own = by_stratum.setdefault(strata[rows[0]], np.zeros(folds, dtype=np.int64))
        fold = min(range(folds), key=lambda f: (own[f], sizes[f]))
        held_in[rows] = fold
        own[fold] += len(rows)
        sizes[fold] += len(rows)
    return held_in


# rows to adapt on, rows to answer, what the draws are for -> probabilities of the rows to answer
AdaptAndAnswer = Callable[[Sequence[int], Sequence[int], str], Probabilities]


@dataclass
class CrossValidated:
    """Held-out answers.

    Attributes:
        full: One table a repeat, after adapting on all that a fold leaves.
        partial: Number of examples adapted on -> the table of the first repeat.
    """

    full: list[list[Sequence[float]]] = field(default_factory=list)
    partial: dict[int, list[Sequence[float]]] = field(default_factory=dict)


def cross_validate(
    adapt: AdaptAndAnswer,
    repeats: Sequence[Folds],
    sizes: Sequence[int],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CrossValidated:
    """Adapt without each fold in turn and answer it; for the learning curve, on fewer examples as well.

    Args:
        adapt: Adapts and answers.
        repeats: The folds of each repeat; more repeats average out how the folds happened to fall.
        sizes: Numbers of examples of the learning curve, fewer than a fold leaves. They are drawn nested, a
            smaller set being part of the larger.
        progress: Called with (adaptations done, adaptations in all).

    Returns:
        Answers in the order of the examples.
    """
    total = sum(int(folds.max()) + 1 for folds in repeats) + len(sizes) * (int(repeats[0].max()) + 1)
    found, done = CrossValidated(), 0
    for repeat, folds in enumerate(repeats):
        for size in [None, *(sizes if repeat == 0 else ())]:
            table: list[Sequence[float]] = [()] * len(folds)
            for fold in range(int(folds.max()) + 1):
                purpose = f"repeat {repeat} fold {fold}"
                train, held_out = parted(folds, fold, size, repeat)
                for row, answer in zip(held_out, adapt(train, held_out, purpose), strict=True):
                    table[row] = answer
                done += 1
                progress(done, total)
            if size is None:
                found.full.append(table)
            else:
                found.partial[size] = table
    return found


def parted(folds: Folds, fold: int, size: int | None, repeat: int) -> tuple[list[int], list[int]]:
    """Rows to adapt on, at most ``size`` of them, and rows that are held out."""
    train: NDArray[np.int64] = np.flatnonzero(folds != fold)
    order = rng(repeat, "nested", fold).permutation(train) if size is not None else train
    return [int(row) for row in order[:size]], [int(row) for row in np.flatnonzero(folds == fold)]


Scores = NDArray[np.float64]


@dataclass(frozen=True)
class CurvePoint:
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


def points(correct: dict[int, Scores]) -> list[CurvePoint]:
    """Accuracy with interval for each size.

    Args:
        correct: Number of examples -> (examples, repeats) share of right answers, held out.
    """
    return [CurvePoint(n, crossed_interval(scores)) for n, scores in sorted(correct.items())]


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
