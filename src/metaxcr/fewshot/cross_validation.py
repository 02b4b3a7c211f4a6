"""Cross-validation of few-shot adaptation: folds, held-out answers, learning curve, and its forecast."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metaxcr.evaluation.statistics import Interval, crossed_interval
from metaxcr.fewshot.calibration import Probabilities
from metaxcr.seeding import rng

Folds = NDArray[np.int64]  # (examples,) the fold that each example is held out in
Scores = NDArray[np.float64]
# rows to adapt on, rows to answer, purpose of the random draws -> probabilities of the rows to answer
AdaptAndAnswer = Callable[[Sequence[int], Sequence[int], str], Probabilities]


def draw_folds(groups: Sequence[Hashable], strata: Sequence[Hashable], folds: int, seed: int) -> Folds:
    """Deal examples into stratified folds; those of one group (duplicates) share a fold.

    Groups are dealt stratum by stratum in random order, each to the fold that has the fewest examples of that
    stratum, then the fewest at all. There are no more folds than groups.

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
    fold_of = np.full(len(groups), -1)
    sizes = np.zeros(folds, dtype=np.int64)
    by_stratum: dict[Hashable, NDArray[np.int64]] = {}
    for rows in dealt:
        in_stratum = by_stratum.setdefault(strata[rows[0]], np.zeros(folds, dtype=np.int64))
        fold = min(range(folds), key=lambda f: (in_stratum[f], sizes[f]))
        fold_of[rows] = fold
        in_stratum[fold] += len(rows)
        sizes[fold] += len(rows)
    return fold_of


@dataclass
class CrossValidated:
    """Held-out answers: a table a repeat, and tables of the first repeat by number of training examples."""

    full: list[list[Sequence[float]]] = field(default_factory=list)
    partial: dict[int, list[Sequence[float]]] = field(default_factory=dict)


def cross_validate(
    adapt: AdaptAndAnswer,
    repeats: Sequence[Folds],
    sizes: Sequence[int],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CrossValidated:
    """Adapt without each fold in turn and answer it; in the first repeat also on fewer examples.

    ``repeats`` are the folds of each repeat; more of them average over the draw of the folds. ``sizes`` are
    the numbers of training examples of the learning curve; smaller sets are part of larger ones.
    """
    total = sum(int(folds.max()) + 1 for folds in repeats) + len(sizes) * (int(repeats[0].max()) + 1)
    found, done = CrossValidated(), 0
    for repeat, folds in enumerate(repeats):
        for size in [None, *(sizes if repeat == 0 else ())]:
            table: list[Sequence[float]] = [()] * len(folds)
            for fold in range(int(folds.max()) + 1):
                train, held_out = split_rows(folds, fold, size, repeat)
                answers = adapt(train, held_out, f"repeat {repeat} fold {fold}")
                for row, answer in zip(held_out, answers, strict=True):
                    table[row] = answer
                done += 1
                progress(done, total)
            if size is None:
                found.full.append(table)
            else:
                found.partial[size] = table
    return found


def split_rows(folds: Folds, fold: int, size: int | None, repeat: int) -> tuple[list[int], list[int]]:
    """Rows to adapt on, at most ``size`` of them, and rows that are held out."""
    train: NDArray[np.int64] = np.flatnonzero(folds != fold)
    order = rng(repeat, "nested", fold).permutation(train) if size is not None else train
    return [int(row) for row in order[:size]], [int(row) for row in np.flatnonzero(folds == fold)]


@dataclass(frozen=True)
class CurvePoint:
    """Held-out accuracy after adapting to ``n`` examples; 0 is the unadapted model."""

    n: int
    accuracy: Interval


@dataclass(frozen=True)
class Forecast:
    """Expected change of accuracy with ``more`` further examples."""

    more: int
    gain: Interval


def curve_sizes(most: int) -> list[int]:
    """Numbers of examples on the learning curve: a quarter, a half and all of ``most``."""
    return sorted({n for n in (most // 4, most // 2, most) if n >= 2})


def curve_points(correct: dict[int, Scores]) -> list[CurvePoint]:
    """Accuracy with interval by number of examples, from (examples, repeats) held-out scores."""
    return [CurvePoint(n, crossed_interval(scores)) for n, scores in sorted(correct.items())]


def forecast(correct: dict[int, Scores], now: int, more: int) -> Forecast | None:
    """Extrapolate held-out accuracy along log2(1 + n), from ``now`` to ``now + more`` examples.

    ``correct`` has (examples, repeats) scores by number of examples, 0 included. Learning curves of
    pretrained models flatten about logarithmically in this range. Each item gives a least-squares slope;
    their mean and spread give the gain and its interval, which assumes that the line goes on. None with fewer
    than three sizes: any line would fit two.
    """
    if len(correct) < 3:
        return None
    sizes = sorted(correct)
    x = np.log2(1 + np.array(sizes, dtype=np.float64))
    x -= x.mean()
    scores = np.stack([correct[n] for n in sizes])  # (sizes, examples, repeats)
    slopes = np.tensordot(x, scores, axes=1) / float(x @ x)
    doublings = float(np.log2((1 + now + more) / (1 + now)))
    return Forecast(more, crossed_interval(doublings * slopes))
