"""Questions as users ask them in Python: checked, and put into words for the encoder."""

from collections.abc import Mapping
from typing import Any

from metaxcr.data.example import Example, Phrased
from metaxcr.errors import UserError


def in_words(example: Example) -> Phrased:
    """Put a question of :meth:`MetaXCR.rank` into words, as the causal and the question-answer tasks do.

    Args:
        example: With question ``"cause"``, ``"effect"``, empty, or in words.
    """
    if example.question in ("cause", "effect"):
        return Phrased(example.context, example.choices, example.question)  # type: ignore[arg-type]
    return Phrased(f"{example.context} {example.question}".strip(), example.choices, "answer")


def as_example(position: int, asked: Mapping[str, Any]) -> Example:
    """Check one element of :meth:`MetaXCR.rank_many` and bring it into the shape of all examples.

    Args:
        position: From 0; the example's id, and how a message names it.
        asked: ``context``, ``choices``, ``language`` and perhaps ``question``.

    Raises:
        UserError: An argument is missing, unknown, empty or of the wrong kind.
    """
    where = f"example {position}"
    unknown = asked.keys() - {"context", "choices", "question", "language"}
    missing = {"context", "choices", "language"} - asked.keys()
    if unknown or missing:
        names = ", ".join(sorted(unknown or missing))
        what = f"{'unknown' if unknown else 'missing'} {names}"
        raise UserError(what, where, "give context, choices, language and perhaps question")
    choices = asked["choices"]
    if isinstance(choices, str) or len(choices) < 2:
        raise UserError("two or more choices are needed", where, 'write choices=["one", "another"]')
    texts = [asked["context"], *choices]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise UserError("context and choices must be texts that are not empty", where)
    context, *rest = (text.strip() for text in texts)
    question = (asked.get("question") or "").strip()
    return Example(str(position), context, question, tuple(rest), None, asked["language"], "rank")
