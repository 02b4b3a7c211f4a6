"""Examples to check by hand: duplicates, contradictions, and labels that a held-out model contradicts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from metaxcr.data.contamination import near_duplicates, wording
from metaxcr.data.example import Example
from metaxcr.fewshot.calibration import Probabilities

CERTAIN = 0.9  # a label is doubted if another choice is at least this probable
INVERTED_P = 0.01  # an accuracy below chance with a smaller p value suggests inverted labels


@dataclass(frozen=True)
class DataIssue:
    """An example that may be wrong; issues with more weight come first."""

    row: int
    reason: str
    weight: float


def duplicate_groups(examples: Sequence[Example]) -> list[int]:
    """For each example the row of the first one with the same or nearly the same wording."""
    wordings = [wording(example) for example in examples]
    first: dict[tuple[str, ...], int] = {}
    group = [first.setdefault(words, row) for row, words in enumerate(wordings)]
    rows = sorted(set(group))
    for position, row in enumerate(rows[1:], start=1):
        near = near_duplicates([wordings[row]], [wordings[other] for other in rows[:position]])
        if near:
            head = group[rows[near[0].other]]
            group = [head if member == group[row] else member for member in group]
    return group


def duplicate_issues(examples: Sequence[Example], group: Sequence[int]) -> list[DataIssue]:
    """List examples that repeat an earlier one, from :func:`duplicate_groups`; contradictions weigh more."""
    found = []
    for row, head in enumerate(group):
        if row == head:
            continue
        mine, other = examples[row], examples[head]
        same_wording = wording(mine) == wording(other)
        reason = f"says {'the same' if same_wording else 'nearly the same'} as {other.id}"
        if same_wording and mine.question == other.question and _answer(mine) != _answer(other):
            found.append(DataIssue(row, f"{reason}, with another answer", 3.0))
        else:
            found.append(DataIssue(row, reason, 0.5))
    return found


def label_issues(probabilities: Probabilities, labels: Sequence[int]) -> list[DataIssue]:
    """List examples whose label a model contradicts with certainty.

    The probabilities are calibrated, and of examples that the model was not trained on.

    Source:
        Northcutt et al. 2021 (JAIR), confident learning, simplified to one fixed threshold.
    """
    found = []
    for row, (p, label) in enumerate(zip(probabilities, labels, strict=True)):
        best = int(np.argmax(p))
        if best != label and p[best] >= CERTAIN:
            reason = f"labelled {label}, but choice {best} has {p[best]:.0%}"
            found.append(DataIssue(row, reason, 1.0 + p[best]))
    return found


def inverted_labels_p(right: int, counts: Sequence[int]) -> float | None:
    """One-sided p value that a model that saw no label is right less often than chance.

    ``right`` is its number of right answers, ``counts`` the number of choices of each example. None unless
    the p value is below :data:`INVERTED_P`.
    """
    chance = float(np.mean([1 / count for count in counts]))
    p = float(stats.binom.cdf(right, len(counts), chance))
    return p if p < INVERTED_P else None


def _answer(example: Example) -> str | None:
    return None if example.label is None else example.choices[example.label]
