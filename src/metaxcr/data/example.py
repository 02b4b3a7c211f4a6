"""The one shape that every data set is brought into, and the texts that the encoder reads."""

from dataclasses import dataclass
from typing import Literal

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
