"""Cross-validation of few-shot adaptation, and which model is kept: the adapted or the unadapted one."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metaxcr.evaluation.statistics import (
    Interval,
    crossed_interval,
    minimum_detectable_difference,
    sign_flip_test,
)
from metaxcr.fewshot.calibration import Calibration, Probabilities, calibrate, wilson
from metaxcr.seeding import rng

SYSTEMS = ("similarity", "unadapted", "adapted")
LEVEL = 0.05  # of the sign-flip test
RULE = (
    "the adapted model is kept only if its held-out answers are shown to be right more often than those of "
    "the unadapted one (the 95 % interval of the paired difference lies above zero, and a sign-flip test "
    "over the examples gives p of at most 0.05); else the unadapted one, which was tested more"
)

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


def cross_validate(
    adapt: AdaptAndAnswer,
    repeats: Sequence[Folds],
    sizes: Sequence[int],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Probabilities], dict[int, Probabilities]]:
    """Adapt without each fold in turn and answer it; in the first repeat also on fewer examples.

    ``repeats`` are the folds of each repeat; more of them average over the draw of the folds. ``sizes`` are
    the numbers of training examples of the learning curve; smaller sets are part of larger ones. Returns the
    held-out answers of each repeat, and those of the first repeat by number of training examples.
    """
    total = sum(map(_count, repeats)) + len(sizes) * _count(repeats[0])
    done = 0

    def answer_all(repeat: int, size: int | None = None) -> Probabilities:
        nonlocal done
        folds = repeats[repeat]
        table: list[Sequence[float]] = [()] * len(folds)
        for fold in range(_count(folds)):
            train, held_out = split_rows(folds, fold, size, repeat)
            answers = adapt(train, held_out, f"repeat {repeat} fold {fold}")
            for row, answer in zip(held_out, answers, strict=True):
                table[row] = answer
            done += 1
            progress(done, total)
        return table

    full = [answer_all(repeat) for repeat in range(len(repeats))]
    return full, {size: answer_all(0, size) for size in sizes}


def _count(folds: Folds) -> int:
    return int(folds.max()) + 1


def split_rows(folds: Folds, fold: int, size: int | None, repeat: int) -> tuple[list[int], list[int]]:
    """Rows to adapt on, at most ``size`` of them, and rows that are held out."""
    train: NDArray[np.int64] = np.flatnonzero(folds != fold)
    order = rng(repeat, "nested", fold).permutation(train) if size is not None else train
    return [int(row) for row in order[:size]], [int(row) for row in np.flatnonzero(folds == fold)]


def curve_sizes(repeats: Sequence[Folds]) -> list[int]:
    """Sizes of the learning curve: a quarter and a half of the smallest training set of all folds."""
    most = min(int((folds != n).sum()) for folds in repeats for n in range(_count(folds)))
    return sorted({n for n in (most // 4, most // 2) if n >= 2})


def forecast(correct: dict[int, Scores], now: int, more: int) -> Interval | None:
    """Expected change of held-out accuracy from ``now`` to ``now + more`` examples, along log2(1 + n).

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
    return crossed_interval(doublings * slopes)


@dataclass(frozen=True)
class HeldOut:
    """One system's answers to examples that it was not adapted to."""

    name: str  # one of SYSTEMS
    probabilities: list[Probabilities]  # one (examples, choices) table a repeat of the cross-validation
    labels: Sequence[int]

    @property
    def correct(self) -> Scores:
        """(examples, repeats) scores; equally probable best choices share the point."""
        tables = [map(_score, table, self.labels) for table in self.probabilities]
        return np.array([*zip(*tables, strict=True)])

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """Share of right answers and the ends of its 95 % Wilson interval; each example counts once."""
        mean, n = float(self.correct.mean()), len(self.correct)
        return mean, *wilson(mean * n, n)

    @property
    def mean(self) -> Probabilities:
        """Probabilities averaged over the repeats."""
        rows = zip(*self.probabilities, strict=True)
        return [[float(x) for x in np.mean(np.array(row), axis=0)] for row in rows]

    @property
    def calibration(self) -> Calibration:
        """Calibration on all repeats together."""
        return calibrate(self.probabilities, self.labels)

    def at(self, rows: Sequence[int]) -> "HeldOut":
        """The answers to some of the examples."""
        tables: list[Probabilities] = [[table[row] for row in rows] for table in self.probabilities]
        return HeldOut(self.name, tables, [self.labels[row] for row in rows])


@dataclass(frozen=True)
class Gain:
    """Paired difference of two systems' accuracies, with its 95 % interval.

    ``p`` is that of the two-sided sign-flip test over examples; ``detectable`` is the smallest true
    difference that as many examples would probably show.
    """

    mean: float
    low: float
    high: float
    p: float
    detectable: float

    @property
    def shown(self) -> int:
        """1: shown to be better; -1: shown to be worse; 0: neither."""
        if self.p > LEVEL:
            return 0
        return int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True)
class Selection:
    """The model that is kept (``"adapted"`` or ``"unadapted"``), and the reasons."""

    kept: str
    gain: Gain  # adapted minus unadapted
    over_similarity: Gain  # the kept model minus the untrained similarity
    sentence: str


def select_model(similarity: HeldOut, unadapted: HeldOut, adapted: HeldOut) -> Selection:
    """Decide by :data:`RULE`, and explain the differences."""
    gain = compare(adapted, unadapted)
    kept = adapted if gain.shown > 0 else unadapted
    over = compare(kept, similarity)
    return Selection(kept.name, gain, over, _sentence(kept, gain, over))


def compare(one: HeldOut, other: HeldOut) -> Gain:
    """Compare two systems on the same examples; each counts once, however often it was answered.

    A plain t interval is too narrow if few examples differ: it has no width if none does, and excludes zero
    if four favour one side and none the other, which happens by chance in one of eight cases. Adding two
    examples, one for each side, corrects that and makes it agree with the sign-flip test.

    Source:
        Bonett and Price 2012 (Journal of Educational and Behavioral Statistics 37), adjusted Wald interval
        for paired proportions.
    """
    differences = one.correct.mean(axis=1) - other.correct.mean(axis=1)
    padded = crossed_interval(np.append(differences, [1.0, -1.0]))
    detectable = minimum_detectable_difference(padded.se, padded.dof)
    mean, p = float(differences.mean()), sign_flip_test(differences)
    return Gain(mean, max(-1.0, padded.low), min(1.0, padded.high), p, detectable)


def _sentence(kept: HeldOut, gain: Gain, over: Gain) -> str:
    first = {
        1: f"Adapting helped: {_points(gain)}. The adapted model is kept.",
        -1: f"Adapting harmed: {_points(gain)}. The unadapted model is kept.",
        0: f"These {len(kept.labels)} examples do not show that adapting helped: {_points(gain)}; only a "
        f"gain of about {round(100 * gain.detectable)} points would be likely to show. The unadapted model "
        "is kept, which was tested more.",
    }[gain.shown]
    second = {
        1: f"It is better than the untrained similarity: {_points(over)}.",
        -1: f"It is worse than the untrained similarity: {_points(over)}.",
        0: f"It is not shown to be better than the untrained similarity: {_points(over)}.",
    }[over.shown]
    return f"{first} {second}"


def _points(gain: Gain) -> str:
    ends = f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
    return f"{100 * gain.mean:+.1f} points ({ends}, {p_value(gain.p)})"


def p_value(value: float) -> str:
    """A p value with the digits that matter."""
    if value < 0.001:
        return "p < 0.001"
    return f"p = {value:.2g}" if value < 0.1 else f"p = {value:.2f}"


def _score(p: Sequence[float], label: int) -> float:
    best = [i for i, x in enumerate(p) if x == max(p)]
    return (label in best) / len(best)
