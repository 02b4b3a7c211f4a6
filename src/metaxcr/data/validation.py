"""What ``metaxcr tasks check`` looks at: one split after another, and the shipped repairs."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaxcr.data.contamination import Leak, find_leaks, normalise, wording
from metaxcr.data.data_dirs import missing_files
from metaxcr.data.example import Example
from metaxcr.data.registry import LoadedSplit, load, task_ids, task_spec

HELD_OUT = re.compile(r"(^|_)(dev|val|valid|validation|test|eval)")  # names of splits


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A row on which the repaired file and the majority over the languages differ.

    Attributes:
        task: Task id.
        split: Split name.
        language: ISO 639-1 code.
        id: Id of the row.
        question: What the row says after the shipped repair.
        majority: What most languages say in the official files.
    """

    task: str
    split: str
    language: str
    id: str
    question: str
    majority: str

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f"{self.task} {self.split} {self.language} {self.id}: "
            f"'{self.question}' after the repair, '{self.majority}' by majority over the languages"
        )


@dataclass(frozen=True, slots=True)
class Lengths:
    """What a limit on the length of a text means for a split.

    Attributes:
        limit: Tokens a text, special ones included.
        cut: Number of examples whose context is cut.
        too_long: Positions of the examples with a choice that does not fit; a run would stop there.
    """

    limit: int
    cut: int
    too_long: list[int]


def check_split(
    loaded: LoadedSplit, lengths: Lengths | None = None, leaks: Sequence[Leak] = ()
) -> dict[str, Any]:
    """Count what a user should know about a split before trusting a number from it.

    Malformed rows never come this far: the reader refuses them. This is about what is well-formed and still
    wrong.

    Args:
        loaded: A split in one language.
        lengths: How long its texts are, where they were counted.
        leaks: From :func:`held_out_elsewhere`.

    Returns:
        ``task``, ``split``, ``language``, ``n``, ``expected`` (examples of the official file or None),
        ``labelled``, ``choices`` (number of choices -> examples), ``label_balance`` (label -> examples),
        ``questions`` (cause, effect, other -> examples), ``duplicates`` (examples that repeat the wording of
        another), ``equal_choices``, ``empty_choices`` (without a letter or digit), ``repairs`` (step ->
        times), ``skipped`` (rows left out), ``cut`` (share of examples cut at the limit, None: not counted),
        ``leaks``; in words ``problems`` (the files are not what they should be) and ``notes`` (known
        imperfections, official files have them, too).
    """
    examples = loaded.examples
    normalised = [[normalise(choice) for choice in example.choices] for example in examples]
    repeated = _repeated(examples)
    equal = [n for n, example in enumerate(examples) if len(set(example.choices)) < len(example.choices)]
    blank = [n for n, choices in enumerate(normalised) if "" in choices]
    kinds = (example.question if example.question in ("cause", "effect") else "other" for example in examples)
    found: dict[str, Any] = {
        "task": loaded.spec.id,
        "split": loaded.split,
        "language": loaded.language,
        "n": len(examples),
        "expected": loaded.spec.splits[loaded.split].expected(loaded.language),
        "labelled": sum(example.label is not None for example in examples),
        "choices": dict(sorted(Counter(len(example.choices) for example in examples).items())),
        "label_balance": dict(sorted(Counter(e.label for e in examples if e.label is not None).items())),
        "questions": dict(sorted(Counter(kinds).items())),
        "duplicates": len(repeated),
        "equal_choices": len(equal),
        "empty_choices": len(blank),
        "repairs": loaded.repairs,
        "skipped": len(loaded.skipped),
        "cut": None if lengths is None else lengths.cut / max(1, len(examples)),
        "leaks": len(leaks),
    }
    found["problems"] = _problems(loaded, found, lengths)
    found["notes"] = [
        f"{len(rows)} {words} ({_lines(loaded, rows)})"
        for rows, words in (
            (repeated, "examples repeat another one"),
            (equal, "examples offer the same choice twice"),
            (blank, "examples have a choice without a letter or digit"),
        )
        if rows
    ] + _notes(loaded, lengths, leaks)
    return found


def _problems(loaded: LoadedSplit, found: dict[str, Any], lengths: Lengths | None) -> list[str]:
    """Say what is not as it should be."""
    problems = []
    if found["expected"] not in (None, found["n"]):
        problems.append(f"{found['n']} rows where the official file has {found['expected']}")
    if lengths is not None and lengths.too_long:
        rows = _lines(loaded, lengths.too_long)
        problems.append(f"{len(lengths.too_long)} choices do not fit into {lengths.limit} tokens ({rows})")
    return problems


def _notes(loaded: LoadedSplit, lengths: Lengths | None, leaks: Sequence[Leak]) -> list[str]:
    """Say what was repaired, left out, cut, or leaks."""
    notes = [f"{count} x repaired: {step}" for step, count in sorted(loaded.repairs.items())]
    if loaded.skipped:
        notes.append(f"{len(loaded.skipped)} rows left out, first {loaded.skipped[0]}")
    if lengths is not None and lengths.cut:
        share = lengths.cut / len(loaded.examples)
        notes.append(f"{lengths.cut} contexts ({share:.1%}) are cut at {lengths.limit} tokens")
    if leaks:
        other = leaks[0].held_out
        where = f"{other.task}/{other.language}/{other.id} ({leaks[0].kind})"
        notes.append(f"{len(leaks)} examples are also held out, first {leaks[0].source.id} = {where}")
    return notes


def _repeated(examples: Sequence[Example]) -> list[int]:
    """List the positions of examples that say what an earlier one said."""
    seen: set[tuple[str, ...]] = set()
    positions = []
    for position, example in enumerate(examples):
        key = wording(example)
        if key in seen:
            positions.append(position)
        seen.add(key)
    return positions


def _lines(loaded: LoadedSplit, positions: Sequence[int]) -> str:
    """Name the lines of a few examples."""
    if not loaded.lines:
        return f"first {loaded.examples[positions[0]].id}"
    named = ", ".join(str(loaded.lines[position]) for position in positions[:3])
    return f"line {named}" + (", ..." if len(positions) > 3 else "")


def held_out_elsewhere(loaded: LoadedSplit, root: Path | None = None) -> list[Leak]:
    """Find examples of a training split that are held out elsewhere.

    Args:
        loaded: A split; one that is itself held out (dev, val, test) has nothing to leak.
        root: Data root, see :func:`metaxcr.data.data_dirs.candidate_roots`.

    Returns:
        The leaks into the other splits of its task, and into the target tasks in its language, as far as
        their files are there.
    """
    if HELD_OUT.search(loaded.split):
        return []
    held_out: list[Example] = []
    for spec in map(task_spec, task_ids()):
        mine = spec.id == loaded.spec.id
        if not mine and spec.group != "target":
            continue
        absent = set(missing_files(spec, root))
        for split in spec.splits:
            there = loaded.language in spec.split_languages(split)
            if not HELD_OUT.search(split) or not there:
                continue
            if not absent.intersection(spec.files_of(split, loaded.language)):
                held_out += load(spec.id, split, language=loaded.language, root=root).examples
    return find_leaks(loaded.examples, held_out)


def verify_repair(root: Path | None = None) -> list[Disagreement]:
    """Hold the shipped repairs against the majority over the languages of the official files.

    Args:
        root: Data root, see :func:`metaxcr.data.data_dirs.candidate_roots`.

    Returns:
        The rows on which they differ; empty when all is well. Tasks of which a file is missing are passed
        over: a majority over some of the languages proves nothing.
    """
    disagreements = []
    for spec in map(task_spec, task_ids()):
        if not any(step.step == "question" for step in spec.repairs) or missing_files(spec, root):
            continue
        for split in spec.splits:
            disagreements += _verify_split(spec.id, split, spec.split_languages(split), root)
    return disagreements


def _verify_split(task: str, split: str, languages: list[str], root: Path | None) -> list[Disagreement]:
    """Compare one split of one task in all its languages."""
    votes: dict[str, Counter[str]] = {}
    for language in languages:
        for example in load(task, split, language=language, root=root, raw=True).examples:
            votes.setdefault(example.id, Counter())[example.question] += 1
    majority = {item: count.most_common(1)[0][0] for item, count in votes.items()}
    return [
        Disagreement(task, split, language, example.id, example.question, majority[example.id])
        for language in languages
        for example in load(task, split, language=language, root=root).examples
        if example.question != majority[example.id]
    ]
