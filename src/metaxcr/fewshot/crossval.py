"""Cross-validation of few-shot adaptation: every example is answered by models that have not seen it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metaxcr.fewshot.calibration import Probabilities
from metaxcr.fewshot.folds import Folds
from metaxcr.tasks.seeding import rng

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
