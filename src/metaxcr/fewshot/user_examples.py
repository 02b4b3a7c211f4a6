"""A user's own labelled examples, from a file or from Python, and which of them to check by hand."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import stats

from metaxcr.data.contamination import near_duplicates, wording
from metaxcr.data.example import Example, Phrased, inline_example, phrase_inline
from metaxcr.data.infer.table import ColumnHints
from metaxcr.data.infer.user_task import read_user_file
from metaxcr.data.languages import language_tag
from metaxcr.data.phrasing import phrase
from metaxcr.data.registry import LoadedSplit
from metaxcr.errors import MetaXCRWarning, UserError
from metaxcr.fewshot.calibration import Probabilities

CERTAIN = 0.9  # a label is doubted if another choice is at least this probable
INVERTED_P = 0.01  # an accuracy below chance with a smaller p value suggests inverted labels

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
                what = f"the question {example.question!r} is neither cause nor effect"
                fix = "leave out --task, or say --task plain, cause or effect for all rows"
                raise UserError(what, read.place(row), fix)
    if kind in (None, "cause-effect"):
        return read

    def asked(example: Example) -> str:
        """What an example asks; a plain question keeps its own words."""
        if kind == "plain":
            return "" if example.question in ("cause", "effect") else example.question
        return str(kind)

    examples = [replace(e, question=asked(e)) for e in read.examples]
    return replace(read, examples=examples, phrase=phrase_inline)


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
            what = f"label {label!r} names none of {len(example.choices)} choices"
            raise UserError(what, f"example {row}", "count choices from 0")
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


@dataclass(frozen=True)
class DataIssue:
    """An example that may be wrong; issues with more weight come first."""

    row: int
    reason: str
    weight: float


def duplicate_groups(examples: Sequence[Example]) -> list[int]:
    """For each example the row of the first one with the same or nearly the same wording."""
    wordings = [wording(example) for example in examples]
    first: dict[tuple[str, ...], int] = {}
    group = [first.setdefault(words, row) for row, words in enumerate(wordings)]
    rows = sorted(set(group))
    for position, row in enumerate(rows[1:], start=1):
        near = near_duplicates([wordings[row]], [wordings[other] for other in rows[:position]])
        if near:
            head = group[rows[near[0].other]]
            group = [head if member == group[row] else member for member in group]
    return group


def duplicate_issues(examples: Sequence[Example], group: Sequence[int]) -> list[DataIssue]:
    """List examples that repeat an earlier one, from :func:`duplicate_groups`; contradictions weigh more."""
    found = []
    for row, head in enumerate(group):
        if row == head:
            continue
        mine, other = examples[row], examples[head]
        equal = wording(mine) == wording(other)
        reason, weight = f"says {'the same' if equal else 'nearly the same'} as {other.id}", 0.5
        if equal and mine.question == other.question and _answer(mine) != _answer(other):
            reason, weight = f"{reason}, with another answer", 3.0
        found.append(DataIssue(row, reason, weight))
    return found


def label_issues(probabilities: Probabilities, labels: Sequence[int]) -> list[DataIssue]:
    """List examples whose label a model contradicts with certainty.

    The probabilities are calibrated, and of examples that the model was not trained on.

    Source:
        Northcutt et al. 2021 (JAIR), confident learning, simplified to one fixed threshold.
    """
    found = []
    for row, (p, label) in enumerate(zip(probabilities, labels, strict=True)):
        best = int(np.argmax(p))
        if best != label and p[best] >= CERTAIN:
            reason = f"labelled {label}, but choice {best} has {p[best]:.0%}"
            found.append(DataIssue(row, reason, 1.0 + p[best]))
    return found


def inverted_labels_p(right: int, counts: Sequence[int]) -> float | None:
    """One-sided p value that a model that saw no label is right less often than chance.

    ``right`` is its number of right answers, ``counts`` the number of choices of each example. None unless
    the p value is below :data:`INVERTED_P`.
    """
    chance = float(np.mean([1 / count for count in counts]))
    p = float(stats.binom.cdf(right, len(counts), chance))
    return p if p < INVERTED_P else None


def _answer(example: Example) -> str | None:
    return None if example.label is None else example.choices[example.label]
