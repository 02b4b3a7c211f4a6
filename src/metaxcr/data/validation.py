"""What ``metaxcr tasks check`` looks at: one split after another, and the shipped repairs."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaxcr.data.contamination import Leak, find_leaks, normalise, wording
from metaxcr.data.example import Example
from metaxcr.data.registry import LoadedSplit, available_splits, load, missing_files, task_ids, task_spec

HELD_OUT_NAME = re.compile(r"(^|_)(dev|val|valid|validation|test|eval)")  # of splits


@dataclass(frozen=True, slots=True)
class Lengths:
    """What a limit on the length of a text means for a split."""

    limit: int  # tokens a text, special ones included
    cut: int  # examples whose context is cut
    too_long: list[int]  # positions of the examples with a choice that does not fit; a run would stop there


def check_split(
    loaded: LoadedSplit, lengths: Lengths | None = None, leaks: Sequence[Leak] = ()
) -> dict[str, Any]:
    """Describe a split as a record of ``tasks check --json``; its numbers are of examples.

    The reader refuses malformed rows; this is about rows that are well-formed and still wrong. ``problems``
    say that the files are not what they should be, ``notes`` are imperfections that official files have, too.
    """
    examples = loaded.examples
    first = {key: n for n, key in reversed(list(enumerate(map(wording, examples))))}
    repeated = sorted({*range(len(examples))} - {*first.values()})
    equal = [n for n, e in enumerate(examples) if len(set(e.choices)) < len(e.choices)]
    blank = [n for n, e in enumerate(examples) if "" in map(normalise, e.choices)]
    kinds = (e.question if e.question in ("cause", "effect") else "other" for e in examples)
    record: dict[str, Any] = {
        "task": loaded.spec.id,
        "split": loaded.split,
        "language": loaded.language,
        "n": len(examples),
        "expected": loaded.spec.splits[loaded.split].expected(loaded.language),  # None: not known
        "labelled": sum(example.label is not None for example in examples),
        "choices": dict(sorted(Counter(len(e.choices) for e in examples).items())),  # number of choices -> n
        "label_balance": dict(sorted(Counter(e.label for e in examples if e.label is not None).items())),
        "questions": dict(sorted(Counter(kinds).items())),
        "duplicates": len(repeated),
        "equal_choices": len(equal),
        "empty_choices": len(blank),
        "repairs": loaded.repairs,
        "skipped": len(loaded.skipped),
        "cut": None if lengths is None else lengths.cut / max(1, len(examples)),  # share
        "leaks": len(leaks),
    }
    odd = {
        "examples repeat another one": repeated,
        "examples offer the same choice twice": equal,
        "examples have a choice without a letter or digit": blank,
    }
    notes = [f"{len(rows)} {what} ({_lines(loaded, rows)})" for what, rows in odd.items() if rows]
    problems = []
    if record["expected"] not in (None, len(examples)):
        problems.append(f"{len(examples)} rows where the official file has {record['expected']}")
    if lengths is not None and lengths.too_long:
        rows = _lines(loaded, lengths.too_long)
        problems.append(f"{len(lengths.too_long)} choices do not fit into {lengths.limit} tokens ({rows})")
    return {**record, "problems": problems, "notes": notes + _notes(loaded, lengths, leaks)}


def _notes(loaded: LoadedSplit, lengths: Lengths | None, leaks: Sequence[Leak]) -> list[str]:
    """Say what was repaired, left out or cut, and what is held out elsewhere."""
    notes = [f"{count} x repaired: {step}" for step, count in sorted(loaded.repairs.items())]
    if loaded.skipped:
        notes.append(f"{len(loaded.skipped)} rows left out, first {loaded.skipped[0]}")
    if lengths is not None and lengths.cut:
        share = lengths.cut / len(loaded.examples)
        notes.append(f"{lengths.cut} contexts ({share:.1%}) are cut at {lengths.limit} tokens")
    if leaks:
        other = leaks[0].held_out
        where = f"{other.task}/{other.language}/{other.id} ({leaks[0].kind})"
        notes.append(f"{len(leaks)} examples are also held out, first {leaks[0].train.id} = {where}")
    return notes


def _lines(loaded: LoadedSplit, positions: Sequence[int]) -> str:
    """Name the lines of a few examples."""
    if not loaded.lines:
        return f"first {loaded.examples[positions[0]].id}"
    named = ", ".join(str(loaded.lines[position]) for position in positions[:3])
    return f"line {named}" + (", ..." if len(positions) > 3 else "")


def held_out_elsewhere(loaded: LoadedSplit, root: Path | None = None) -> list[Leak]:
    """Find examples of a training split in held-out splits of its task and of the target tasks.

    Only splits in its language are compared, as far as their files are there. A split that is itself held
    out (dev, val, test) has no leaks.
    """
    if HELD_OUT_NAME.search(loaded.split):
        return []
    held_out: list[Example] = []
    for spec in map(task_spec, task_ids()):
        if spec.id == loaded.spec.id or spec.group == "target":
            for split, language in available_splits(spec, {loaded.language}, root):
                if HELD_OUT_NAME.search(split):
                    held_out += load(spec.id, split, language=language, root=root).examples
    return find_leaks(loaded.examples, held_out)


def verify_repair(root: Path | None = None, task: str | None = None) -> list[str]:
    """Compare the repaired questions with the majority over the languages of the official files.

    Returns the rows that differ, in words. A task with a missing file is passed over: a majority over some
    of the languages proves nothing.
    """
    wrong = []
    for spec in map(task_spec, [task] if task else task_ids()):
        if not any(step.step == "question" for step in spec.repairs) or missing_files(spec, root):
            continue
        for split in spec.splits:
            languages = spec.split_languages(split)
            votes: dict[str, Counter[str]] = {}
            for language in languages:
                for example in load(spec.id, split, language=language, root=root, raw=True).examples:
                    votes.setdefault(example.id, Counter())[example.question] += 1
            for language in languages:
                for e in load(spec.id, split, language=language, root=root).examples:
                    majority = votes[e.id].most_common(1)[0][0]
                    if e.question != majority:
                        place = f"{spec.id} {split} {language} {e.id}"
                        why = f"'{e.question}' after the repair, '{majority}' by majority over the languages"
                        wrong.append(f"{place}: {why}")
    return wrong
