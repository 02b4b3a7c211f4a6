"""How an example is put into words for the encoder."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from metaxcr.data.example import Example, Phrased, Relation
from metaxcr.data.repairs import Repairs
from metaxcr.data.spec import TaskSpec

_compiled = lru_cache(maxsize=256)(re.compile)


def phrase(example: Example, spec: TaskSpec) -> Phrased:
    """Put an example into the words that its task declares.

    The context and the choices stay apart, because dual scoring encodes them apart; cross scoring joins them
    in the order that the relation asks for. A choice is thus a text that makes sense by itself wherever the
    format allows: a blank in a sentence is filled and the rest of the sentence goes with the choice.

    Args:
        example: What is asked.
        spec: The task that it comes from.

    Returns:
        Context, choices and relation; the context is empty exactly when the relation is ``none``.
    """
    before, after = example.context, ""
    if spec.phrasing.blank:
        before, _, after = example.context.partition(spec.phrasing.blank)
        before = before.strip() or example.context  # a blank that comes first stays, as all there is
    relation = relation_of(example, spec)
    words = {"context": example.context, "question": example.question, "before": before}
    context = "" if relation == "none" else " ".join(spec.phrasing.context.format_map(words).split())
    template, after = spec.phrasing.choice, after.rstrip()
    choices = [template.format_map({"choice": choice, "after": after}) for choice in example.choices]
    return Phrased(context, tuple(choices), relation)


def relation_of(example: Example, spec: TaskSpec) -> Relation:
    """Tell in which direction the context and the choices of an example stand to each other.

    Args:
        example: What is asked; without a question (as in ``rank(..., question=None)``) there is no direction.
        spec: The task: its relation, and its rules on the wording of the question.

    Returns:
        ``effect``, ``cause``, ``answer`` or ``none``.
    """
    if spec.relation == "question":
        return example.question if example.question in ("cause", "effect") else "answer"  # type: ignore[return-value]
    for rule in spec.relation_rules:
        if _compiled(rule.pattern).search(example.question):
            return rule.relation
    return spec.relation


def repair_questions(
    examples: Sequence[Example], spec: "TaskSpec", split: str, language: str, repairs: Repairs
) -> list[Example]:
    """Correct the ``question`` of the rows that the task lists as wrong.

    XCOPA v1 says "effect" in 250 of 500 Thai test items that ask for the cause, and in fewer items of four
    other languages (the labels are right). The ids ship with the task, so that one language alone can be
    repaired; :func:`metaxcr.data.validation.verify_repair` holds them against the files of all languages.

    Args:
        examples: One split in one language, as read.
        spec: The task.
        split: Name of the split.
        language: ISO 639-1 code.
        repairs: Counts the rows that were changed. A file that is already right is left alone and counts 0.

    Returns:
        The examples, repaired where the step is on.
    """
    mended = list(examples)
    for step in spec.repairs:
        if step.step != "question":
            continue
        wrong = set(step.ids.get(split, {}).get(language, []))
        for n, example in enumerate(mended):
            if example.id in wrong and example.question != step.to and repairs.take("question"):
                mended[n] = replace(example, question=step.to)
    return mended
