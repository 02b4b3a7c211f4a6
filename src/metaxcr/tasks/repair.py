"""Repair of official files whose ``question`` field is wrong."""

from collections.abc import Sequence
from dataclasses import replace

from metaxcr.tasks.example import Example
from metaxcr.tasks.spec import TaskSpec


def repair(
    examples: Sequence[Example], spec: TaskSpec, split: str, language: str
) -> tuple[list[Example], int]:
    """Correct the ``question`` of the rows that the task lists as wrong.

    XCOPA v1 says "effect" in 250 of 500 Thai test items that ask for the cause, and in fewer items of four
    other languages (the labels are right). The ids ship with the task, so that one language alone can be
    repaired; :func:`metaxcr.tasks.check.verify_repair` holds them against the files of all languages.

    Args:
        examples: One split in one language, as read.
        spec: The task.
        split: Name of the split.
        language: ISO 639-1 code.

    Returns:
        The examples, and how many of them were changed. A file that is already right is left alone and counts
        0.
    """
    if spec.repair is None:
        return list(examples), 0
    right = spec.repair.question
    wrong = set(spec.repair.ids.get(split, {}).get(language, []))
    mended = [
        replace(example, question=right) if example.id in wrong and example.question != right else example
        for example in examples
    ]
    return mended, sum(new is not old for new, old in zip(mended, examples, strict=True))
