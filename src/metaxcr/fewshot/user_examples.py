"""A user's own examples, from a file or from Python, in the one shape that adapting needs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from metaxcr.data.example import Example, Phrased
from metaxcr.data.infer.table import ColumnHints
from metaxcr.data.infer.user_task import read_user_file
from metaxcr.data.inline_questions import as_example, in_words
from metaxcr.data.languages import language_tag
from metaxcr.data.phrasing import phrase
from metaxcr.data.registry import LoadedSplit
from metaxcr.errors import UserError

Asked = Literal["cause-effect", "cause", "effect", "plain"]


@dataclass(frozen=True)
class UserExamples:
    """Labelled examples of one language.

    Attributes:
        examples: In the order given.
        words: Puts one into the words that the encoder sees.
        language: ISO 639-1 code.
        implausible: The labels name the implausible choice.
        file: Where they come from; None: from Python.
        lines: The line of each example in the file.
        repaired: Number of rows that were repaired on reading.
        notes: What the user should look at in the file.
    """

    examples: list[Example]
    words: Callable[[Example], Phrased]
    language: str
    implausible: bool = False
    file: Path | None = None
    lines: tuple[int, ...] = ()
    repaired: int = 0
    notes: tuple[str, ...] = ()

    def place(self, row: int) -> str:
        """Where an example stands, for messages."""
        return f"{self.file}:{self.lines[row]}" if self.file and self.lines else f"example {row}"


def read_user_examples(
    file: Path,
    language: str,
    asked: Asked | None = None,
    hints: ColumnHints | None = None,
    split: str | None = None,
) -> UserExamples:
    """Read a file as ``tasks add`` does: format, fields and labels are told from the content.

    Args:
        file: CSV, TSV, JSON, JSON lines or Parquet.
        language: Tag of its language.
        asked: What the questions ask for, where the file does not say or says otherwise; None: as it says.
        hints: What the user said about its columns.
        split: Of a file that holds several, the one that is wanted.

    Raises:
        UserError: It cannot be understood, or does not ask what ``asked`` says.
    """
    loaded, notes = read_user_file(file, language, "shots", hints, split)
    return _asking(replace(of_split(loaded), notes=tuple(notes)), asked)


def examples_from_mappings(examples: Sequence[Mapping[str, Any]], language: str) -> UserExamples:
    """Take examples from Python.

    Args:
        examples: Mappings with ``context``, ``choices``, ``label`` (0-based), and perhaps ``question``
            (``"cause"``, ``"effect"``, or a question in words).
        language: ISO 639-1 code.

    Raises:
        UserError: One of them lacks something; it is named by its position from 0.
    """
    code = language_tag(language).code
    found = []
    for row, given in enumerate(examples):
        asked = {key: value for key, value in given.items() if key != "label"} | {"language": code}
        example, label = as_example(row, asked), given.get("label")
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(example.choices):
            raise UserError(
                f"label {label!r} names none of {len(example.choices)} choices",
                f"example {row}",
                "count choices from 0",
            )
        found.append(replace(example, label=label))
    return UserExamples(found, in_words, code)


def of_split(loaded: LoadedSplit) -> UserExamples:
    """Take a split of a task as own examples."""
    spec = loaded.spec
    return UserExamples(
        loaded.examples,
        lambda example: phrase(example, spec),
        loaded.language,
        spec.polarity == "implausible",
        loaded.files[0],
        tuple(loaded.lines),
        loaded.repaired,
    )


def _asking(own: UserExamples, asked: Asked | None) -> UserExamples:
    if asked is None:
        return own
    if asked == "cause-effect":
        for row, example in enumerate(own.examples):
            if example.question not in ("cause", "effect"):
                raise UserError(
                    f"the question {example.question!r} is neither cause nor effect",
                    own.place(row),
                    "leave out --task, or say --task plain, cause or effect for all rows",
                )
        return own
    return replace(
        own, examples=[replace(e, question=_question(e, asked)) for e in own.examples], words=in_words
    )


def _question(example: Example, asked: Asked) -> str:
    """What is asked of every example; a plain question keeps its own words."""
    if asked != "plain":
        return asked
    return "" if example.question in ("cause", "effect") else example.question
