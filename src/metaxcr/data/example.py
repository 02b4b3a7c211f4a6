"""The one shape that every data set is brought into, and the shape that the encoder sees."""

from dataclasses import dataclass
from typing import Literal

Relation = Literal["effect", "cause", "answer", "none"]


@dataclass(frozen=True, slots=True)
class Example:
    """One question with its choices, as the data set states it.

    Labels are 0-based whatever the file says. For a task of polarity ``implausible`` the label names the
    choice that is *least* plausible (see :class:`metaxcr.data.spec.TaskSpec`).

    Attributes:
        id: Unique within a split; the same in all languages of a parallel set.
        context: Premise, situation, story so far, or sentence with a blank; may be empty.
        question: ``"cause"``, ``"effect"``, a question in words, or empty.
        choices: Two or more texts, in the order of the file.
        label: Index of the right choice, or None where the file gives none.
        language: ISO 639-1 code.
        task: Id of the task it comes from.
    """

    id: str
    context: str
    question: str
    choices: tuple[str, ...]
    label: int | None
    language: str
    task: str


@dataclass(frozen=True, slots=True)
class Phrased:
    """An example in the words that are put before the encoder.

    Attributes:
        context: The text that the choices are held against; empty for relation ``none``.
        choices: One text a choice.
        relation: ``effect``: the context leads to the choice; ``cause``: the choice leads to the context;
            ``answer``: no direction; ``none``: there is no context, so only cross scoring applies.
    """

    context: str
    choices: tuple[str, ...]
    relation: Relation
