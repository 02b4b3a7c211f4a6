"""How an example is put into words for the encoder."""

import re
from functools import lru_cache

from metaxcr.data.example import Example, Phrased, Relation
from metaxcr.data.spec import TaskSpec

_compiled = lru_cache(maxsize=256)(re.compile)


def phrase(example: Example, spec: TaskSpec) -> Phrased:
    """Put an example into the words that its task declares.

    The context and the choices stay apart, because dual scoring encodes them apart; cross scoring joins them
    in the order that the relation asks for. A choice is a text that makes sense by itself wherever the
    format allows: a blank in a sentence is filled, and the rest of the sentence goes with the choice.
    """
    before, after = example.context, ""
    if spec.phrasing.blank:
        before, _, after = example.context.partition(spec.phrasing.blank)
        before = before.strip() or example.context  # a sentence that begins with its blank keeps it
    relation = relation_of(example, spec)
    words = {"context": example.context, "question": example.question, "before": before}
    context = "" if relation == "none" else " ".join(spec.phrasing.context.format_map(words).split())
    template, after = spec.phrasing.choice, after.rstrip()
    choices = [template.format_map({"choice": choice, "after": after}) for choice in example.choices]
    return Phrased(context, tuple(choices), relation)


def relation_of(example: Example, spec: TaskSpec) -> Relation:
    """Return how context and choices relate: by the example's question, or by the rules of its task.

    An example without a question, as in ``rank(..., question=None)``, has no direction.
    """
    if spec.relation == "question":
        return example.question if example.question in ("cause", "effect") else "answer"  # type: ignore[return-value]
    for rule in spec.relation_rules:
        if _compiled(rule.pattern).search(example.question):
            return rule.relation
    return spec.relation
