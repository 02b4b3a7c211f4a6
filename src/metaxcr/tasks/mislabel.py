"""Sources whose labels are made wrong on purpose: experiments on who notices, never on accuracy."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from metaxcr.tasks.example import Example
from metaxcr.tasks.seeding import rng

Labels = Literal["true", "shuffled", "flipped"]


def mislabel(examples: Sequence[Example], labels: Labels) -> list[Example]:
    """Replace the labels of a source.

    Args:
        examples: In any order; examples without a label keep having none.
        labels: ``true``: as they are. ``shuffled``: permuted among the questions with the same number of
            choices, so that how often each position is right stays what it was; by chance one in n stays
            right. ``flipped``: every label names the next choice, the last one the first: with two choices
            the other one, always wrong.

    Returns:
        The examples in the same order. The same for every seed of a run, as a fault in a data set would be.
    """
    if labels == "flipped":
        return [_labelled(e, None if e.label is None else (e.label + 1) % len(e.choices)) for e in examples]
    if labels == "true":
        return list(examples)
    groups: dict[int, list[int]] = defaultdict(list)
    for row, example in enumerate(examples):
        if example.label is not None:
            groups[len(example.choices)].append(row)
    shuffled = list(examples)
    for choices, rows in sorted(groups.items()):
        order = rng(0, f"shuffled labels/{choices}").permutation(len(rows))
        for row, other in zip(rows, order.tolist(), strict=True):
            shuffled[row] = _labelled(examples[row], examples[rows[other]].label)
    return shuffled


def _labelled(example: Example, label: int | None) -> Example:
    return replace(example, label=label)
