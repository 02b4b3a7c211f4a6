"""Questions as users ask them in Python: checked, and put into words for the encoder."""

from collections.abc import Mapping
from typing import Any

from metaxcr.data.example import Example, Phrased
from metaxcr.errors import UserError

_REQUIRED = {"context", "choices", "language"}


def inline_example(position: int, given: Mapping[str, Any]) -> Example:
    """Check one element of :meth:`MetaXCR.rank_many` and turn it into an example.

    Its position, from 0, is the example's id and its name in messages.
    """
    where = f"example {position}"
    unknown, missing = given.keys() - _REQUIRED - {"question"}, _REQUIRED - given.keys()
    if unknown or missing:
        what = f"{'unknown' if unknown else 'missing'} {', '.join(sorted(unknown or missing))}"
        raise UserError(what, where, "give context, choices, language and perhaps question")
    choices = given["choices"]
    if isinstance(choices, str) or len(choices) < 2:
        raise UserError("two or more choices are needed", where, 'write choices=["one", "another"]')
    texts = [given["context"], *choices]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise UserError("context and choices must be texts that are not empty", where)
    context, *rest = (text.strip() for text in texts)
    question = (given.get("question") or "").strip()
    return Example(str(position), context, question, tuple(rest), None, given["language"], "rank")


def phrase_inline(example: Example) -> Phrased:
    """Put an inline question into words, as the causal and the question-answering tasks do."""
    if example.question in ("cause", "effect"):
        return Phrased(example.context, example.choices, example.question)  # type: ignore[arg-type]
    return Phrased(f"{example.context} {example.question}".strip(), example.choices, "answer")
