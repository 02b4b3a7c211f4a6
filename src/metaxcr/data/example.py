"""The one shape that every data set is brought into, and questions given in Python in that shape."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from metaxcr.errors import UserError

# effect: the context leads to the choice; cause: the choice leads to the context; answer: no direction;
# none: there is no context, so only cross scoring applies.
Relation = Literal["effect", "cause", "answer", "none"]


@dataclass(frozen=True, slots=True)
class Example:
    """One question with its choices, as the data set states it.

    For a task of polarity ``implausible`` the label names the choice that is *least* plausible.
    """

    id: str  # unique within a split; the same in all languages of a parallel set
    context: str  # premise, situation, story so far, or sentence with a blank; may be empty
    question: str  # "cause", "effect", a question in words, or empty
    choices: tuple[str, ...]  # two or more
    label: int | None  # 0-based index of the right choice, whatever the file says; None: not given
    language: str  # ISO 639-1
    task: str


@dataclass(frozen=True, slots=True)
class Phrased:
    """An example in the words that are put before the encoder; the context is empty for relation ``none``."""

    context: str
    choices: tuple[str, ...]
    relation: Relation


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
