"""A user's own labelled examples, from a file or from Python, in the one shape that adapting needs."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from metaxcr.data.example import Example, Phrased, inline_example, phrase_inline
from metaxcr.data.infer.table import ColumnHints
from metaxcr.data.infer.user_task import read_user_file
from metaxcr.data.languages import language_tag
from metaxcr.data.phrasing import phrase
from metaxcr.data.registry import LoadedSplit
from metaxcr.errors import MetaXCRWarning, UserError

QuestionKind = Literal["cause-effect", "cause", "effect", "plain"]


@dataclass(frozen=True)
class UserExamples:
    """Labelled examples of one language.

    Attributes:
        phrase: Puts one into the words that the encoder reads.
        implausible: The labels name the implausible choice.
        file: Where they come from; None: from Python.
        lines: The line of each example in the file.
        repaired: Number of rows that were repaired on reading.
        notes: What the user should look at in the file.
    """

    examples: list[Example]
    phrase: Callable[[Example], Phrased]
    language: str
    implausible: bool = False
    file: Path | None = None
    lines: tuple[int, ...] = ()
    repaired: int = 0
    notes: tuple[str, ...] = ()

    def place(self, row: int) -> str:
        """Name the place of an example, for messages."""
        return f"{self.file}:{self.lines[row]}" if self.file and self.lines else f"example {row}"


def as_user_examples(
    examples: UserExamples | Sequence[Mapping[str, Any]] | str | Path, language: str | None
) -> UserExamples:
    """Take examples in any of the shapes that :meth:`metaxcr.MetaXCR.adapt` takes; notes become warnings."""
    if isinstance(examples, UserExamples):
        return examples
    if language is None:
        raise UserError("the language of the examples is missing", None, 'give it, for example language="sw"')
    if not isinstance(examples, str | Path):
        return examples_from_mappings(examples, language)
    read = read_user_examples(Path(examples), language)
    for line in read.notes:
        warnings.warn(line, MetaXCRWarning, stacklevel=3)
    return read


def read_user_examples(
    file: Path,
    language: str,
    kind: QuestionKind | None = None,
    hints: ColumnHints | None = None,
    part: str | None = None,
) -> UserExamples:
    """Read a file as ``tasks add`` does.

    Args:
        file: CSV, TSV, JSON, JSON lines or Parquet.
        language: Tag of its language.
        kind: What all questions ask for; None: as the file says.
        hints: What the user said about its columns.
        part: The split to read, of a file that holds several.
    """
    loaded, notes = read_user_file(file, language, "shots", hints, part)
    read = examples_of_split(loaded, notes)
    if kind == "cause-effect":
        for row, example in enumerate(read.examples):
            if example.question not in ("cause", "effect"):
                raise UserError(
                    f"the question {example.question!r} is neither cause nor effect",
                    read.place(row),
                    "leave out --task, or say --task plain, cause or effect for all rows",
                )
    if kind in (None, "cause-effect"):
        return read
    examples = [replace(e, question=_question(e, kind)) for e in read.examples]
    return replace(read, examples=examples, phrase=phrase_inline)


def _question(example: Example, kind: str) -> str:
    """Return what an example asks; a plain question keeps its own words."""
    if kind != "plain":
        return kind
    return "" if example.question in ("cause", "effect") else example.question


def examples_from_mappings(given: Sequence[Mapping[str, Any]], language: str) -> UserExamples:
    """Take examples from Python: mappings with ``context``, ``choices``, ``label`` and perhaps ``question``.

    Labels count from 0; a question is ``"cause"``, ``"effect"``, or in words.
    """
    code = language_tag(language).code
    examples = []
    for row, one in enumerate(given):
        label = one.get("label")
        unlabelled = {key: value for key, value in one.items() if key != "label"}
        example = inline_example(row, unlabelled | {"language": code})
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(example.choices):
            raise UserError(
                f"label {label!r} names none of {len(example.choices)} choices",
                f"example {row}",
                "count choices from 0",
            )
        examples.append(replace(example, label=label))
    return UserExamples(examples, phrase_inline, code)


def examples_of_split(loaded: LoadedSplit, notes: Sequence[str] = ()) -> UserExamples:
    """Take a split of a task as a user's examples."""
    return UserExamples(
        loaded.examples,
        lambda example: phrase(example, loaded.spec),
        loaded.language,
        loaded.spec.polarity == "implausible",
        loaded.files[0],
        tuple(loaded.lines),
        loaded.repaired,
        tuple(notes),
    )
