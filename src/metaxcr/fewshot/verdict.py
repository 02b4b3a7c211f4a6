"""What cross-validation says about three systems, and which of two models is kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metaxcr.evaluation.intervals import Difference, Interval, crossed_interval, paired_difference
from metaxcr.fewshot.calibration import Probabilities, fit_temperature, log_losses, tempered

SYSTEMS = ("similarity", "unadapted", "adapted")
RULE = (
    "the adapted model is kept if its held-out answers are right at least as often as those of the unadapted "
    "one and less surprised by the labels (log loss, each at its own temperature); else the unadapted one"
)


@dataclass(frozen=True)
class HeldOut:
    """One system's answers to examples that it was not adapted to.

    Attributes:
        name: One of :data:`SYSTEMS`.
        probabilities: One table a repeat of the cross-validation; (examples, choices) each.
        labels: 0-based.
    """

    name: str
    probabilities: list[Probabilities]
    labels: Sequence[int]

    @property
    def correct(self) -> NDArray[np.float64]:
        """(examples, repeats) share of right answers; equally probable best choices share the point."""
        return np.array([[_right(p, y) for p in table] for table, y in _by_row(self)])

    @property
    def accuracy(self) -> Interval:
        """Over examples and repeats."""
        return crossed_interval(self.correct)

    @property
    def mean(self) -> Probabilities:
        """Probabilities averaged over the repeats."""
        rows = zip(*self.probabilities, strict=True)
        return [[float(x) for x in np.mean(np.array(row), axis=0)] for row in rows]

    @property
    def temperature(self) -> float:
        """Fitted on all repeats together."""
        flat = [row for table in self.probabilities for row in table]
        return fit_temperature(flat, list(self.labels) * len(self.probabilities))

    @property
    def losses(self) -> NDArray[np.float64]:
        """(examples, repeats) log loss at the fitted temperature, in units of chance."""
        t = self.temperature
        columns = [
            log_losses([list(row) for row in tempered(table, t)], self.labels) for table in self.probabilities
        ]
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Verdict:
    """Which model is kept, and why.

    Attributes:
        kept: ``"adapted"`` or ``"unadapted"``.
        gain: Accuracy of the adapted minus the unadapted model, paired.
        over_similarity: Accuracy of the kept model minus the untrained similarity's, paired.
        loss_change: Log loss of the adapted minus the unadapted model, paired; below zero is better.
        sentence: In plain words.
    """

    kept: str
    gain: Difference
    over_similarity: Difference
    loss_change: Difference
    sentence: str


def judge(similarity: HeldOut, unadapted: HeldOut, adapted: HeldOut) -> Verdict:
    """Decide by :data:`RULE`, and say what the differences mean.

    Args:
        similarity: The untrained baseline.
        unadapted: The meta-adapter as it came.
        adapted: Adapted on the other folds.
    """
    gain = paired_difference(adapted.correct, unadapted.correct)
    loss_change = paired_difference(adapted.losses, unadapted.losses)
    kept = adapted if gain.mean >= 0 and loss_change.mean < 0 else unadapted
    over = paired_difference(kept.correct, similarity.correct)
    return Verdict(kept.name, gain, over, loss_change, _sentence(kept.name, gain, over))


def _sentence(kept: str, gain: Difference, over: Difference) -> str:
    change = f"{100 * gain.mean:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    if gain.low > 0:
        first = f"Adapting helped: {change}."
    elif gain.high < 0:
        first = f"Adapting harmed: {change}."
    else:
        first = f"So few examples do not show whether adapting helped: {change}."
    second = f"The {kept} model is kept."
    if over.low > 0:
        third = f"It is better than the untrained similarity, by {100 * over.mean:.1f} points."
    elif over.high < 0:
        third = f"It is worse than the untrained similarity, by {-100 * over.mean:.1f} points."
    else:
        third = (
            f"That it is better than the untrained similarity is not shown "
            f"({100 * over.mean:+.1f}, {100 * over.low:+.1f} to {100 * over.high:+.1f})."
        )
    return f"{first} {second} {third}"


def _right(p: Sequence[float], label: int) -> float:
    best = [i for i, x in enumerate(p) if x == max(p)]
    return (label in best) / len(best)


def _by_row(held_out: HeldOut) -> list[tuple[list[Sequence[float]], int]]:
    rows = zip(*held_out.probabilities, strict=True)
    return [(list(table), label) for table, label in zip(rows, held_out.labels, strict=True)]
