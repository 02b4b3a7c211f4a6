"""Examples that deserve a second look: duplicates, contradictions, and labels that nothing speaks for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from metaxcr.data.contamination import wording
from metaxcr.data.example import Example
from metaxcr.data.near_duplicates import near_duplicates
from metaxcr.fewshot.calibration import Probabilities

CERTAIN = 0.9  # probability of another choice from which on a label is doubted
INVERTED = 0.01  # p value below which an accuracy under chance is no accident


@dataclass(frozen=True)
class Suspect:
    """An example that may be wrong.

    Attributes:
        row: Position of the example, from 0.
        reason: In words.
        weight: The larger, the more suspicious.
    """

    row: int
    reason: str
    weight: float


def groups(examples: Sequence[Example]) -> list[int]:
    """Group duplicates: the row of the first example that says the same, or nearly so; else the own row.

    Args:
        examples: Any.
    """
    wordings = [wording(example) for example in examples]
    first: dict[tuple[str, ...], int] = {}
    own = [first.setdefault(words, row) for row, words in enumerate(wordings)]
    rows = sorted(set(own))
    for position, row in enumerate(rows[1:], start=1):
        near = near_duplicates([wordings[row]], [wordings[other] for other in rows[:position]])
        if near:
            head = own[rows[near[0].other]]
            own = [head if group == own[row] else group for group in own]
    return own


def duplicates(examples: Sequence[Example], group: Sequence[int]) -> list[Suspect]:
    """Name examples that repeat another one; those that contradict it first.

    Args:
        examples: Labelled.
        group: From :func:`groups`.
    """
    found = []
    for row, head in enumerate(group):
        if row == head:
            continue
        mine, other = _answer(examples[row]), _answer(examples[head])
        same = wording(examples[row]) == wording(examples[head])
        asked = examples[row].question == examples[head].question
        kind = "says the same as" if same else "says nearly the same as"
        if asked and same and mine != other:
            found.append(Suspect(row, f"{kind} {examples[head].id}, with another answer", 3.0))
        else:
            found.append(Suspect(row, f"{kind} {examples[head].id}", 0.5))
    return found


def doubtful(probabilities: Probabilities, labels: Sequence[int]) -> list[Suspect]:
    """Name examples whose label a model, that has not seen them, contradicts with certainty.

    Args:
        probabilities: Calibrated, of examples that were not trained on.
        labels: 0-based.

    Source:
        Northcutt et al. 2021 (JAIR), confident learning, simplified to one fixed threshold.
    """
    found = []
    for row, (p, label) in enumerate(zip(probabilities, labels, strict=True)):
        best = int(np.argmax(p))
        if best != label and p[best] >= CERTAIN:
            found.append(
                Suspect(row, f"labelled {label}, but choice {best} has {p[best]:.0%}", 1.0 + p[best])
            )
    return found


def inverted(right: int, counts: Sequence[int]) -> float | None:
    """Test whether answers are right more rarely than by chance, as when labels are misread.

    Args:
        right: Number of right answers of a model that has seen no label.
        counts: Number of choices of each example.

    Returns:
        The one-sided p value where it is below :data:`INVERTED`, else None.
    """
    n = len(counts)
    chance = float(np.mean([1 / count for count in counts]))
    p = float(stats.binom.cdf(right, n, chance))
    return p if p < INVERTED else None


def _answer(example: Example) -> str | None:
    return None if example.label is None else example.choices[example.label]
