"""The majority baseline: the most frequent place of the right choice among the labels that are allowed."""

from collections import Counter

from metaxcr.evaluation.predictions import Predictions
from metaxcr.experiments.compare.plan import Cell
from metaxcr.experiments.prepare import Loaded


def majority(cell: Cell, loaded: Loaded) -> Predictions:
    """Answer every item with the label that is most frequent in the shots, or in English without any.

    Args:
        cell: Its language and shots.
        loaded: The data of the run.
    """
    if cell.k and cell.seed is not None:
        shots = set(loaded.shots[cell.seed])
        known = [e.label for e in loaded.shot_pool[cell.language].examples if e.id in shots]
    else:
        known = [e.label for e in loaded.english.examples]
    counts = Counter(label for label in known if label is not None)
    best = min(counts, key=lambda label: (-counts[label], label))
    split = loaded.evaluation[cell.language, "repaired"]
    examples = [e for e in split.examples if e.label is not None]
    rows = [
        [float(c == (best if best < len(e.choices) else 0)) for c in range(len(e.choices))] for e in examples
    ]
    k = len(loaded.shots[cell.seed]) if cell.k and cell.seed is not None else 0
    return Predictions(
        task=split.spec.id, lang=cell.language, split=split.split, data="repaired", regime=cell.regime,
        method="majority", seed=cell.seed, k=k, total_labels=k, ids=[e.id for e in examples],
        probabilities=rows, labels=[e.label for e in examples if e.label is not None],
    )  # fmt: skip
