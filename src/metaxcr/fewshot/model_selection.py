"""Model selection: paired comparison of three systems, and whether the adapted model is kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metaxcr.evaluation.statistics import crossed_interval, minimum_detectable_difference, sign_flip_test
from metaxcr.fewshot.calibration import Calibration, Probabilities, calibrate, wilson
from metaxcr.fewshot.messages import p_value

SYSTEMS = ("similarity", "unadapted", "adapted")
LEVEL = 0.05  # of the sign-flip test
RULE = (
    "the adapted model is kept only if its held-out answers are shown to be right more often than those of "
    "the unadapted one (the 95 % interval of the paired difference lies above zero, and a sign-flip test "
    "over the examples gives p of at most 0.05); else the unadapted one, which was tested more"
)


@dataclass(frozen=True)
class HeldOut:
    """One system's answers to examples that it was not adapted to."""

    name: str  # one of SYSTEMS
    probabilities: list[Probabilities]  # one (examples, choices) table a repeat of the cross-validation
    labels: Sequence[int]

    @property
    def correct(self) -> NDArray[np.float64]:
        """(examples, repeats) scores; equally probable best choices share the point."""
        rows = zip(*self.probabilities, strict=True)
        return np.array(
            [[_score(p, label) for p in row] for row, label in zip(rows, self.labels, strict=True)]
        )

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


def _score(p: Sequence[float], label: int) -> float:
    best = [i for i, x in enumerate(p) if x == max(p)]
    return (label in best) / len(best)
