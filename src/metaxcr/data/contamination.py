"""Contamination of training data: development or test items, in any language, that are also trained on.

An item is recognised by its id (translations and mirrors of one item share it), by its wording, or as a
near-duplicate.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from metaxcr.data.example import Example
from metaxcr.data.near_duplicates import near_duplicates
from metaxcr.data.registry import LoadedSplit, available_splits, load, task_ids, task_spec, user_specs
from metaxcr.errors import UserError

Key = tuple[str, ...]
MAX_NAMED = 5  # pairs in an error message
MAX_LISTED = 20  # pairs in results.json


@dataclass(frozen=True, slots=True)
class Leak:
    """A training example that is also held out."""

    train: Example
    held_out: Example  # the development or test item
    kind: Literal["same item id", "same wording", "near-duplicate"]  # how it was recognised
    similarity: float = 1.0  # of the two wordings; 1 for the exact kinds

    def __str__(self) -> str:
        degree = f" {self.similarity:.2f}" if self.kind == "near-duplicate" else ""
        one, other = (f"{e.task}/{e.language}/{e.id}" for e in (self.train, self.held_out))
        return f"{one} = {other} ({self.kind}{degree})"


def find_leaks(train: Sequence[Example], held_out: Sequence[Example]) -> list[Leak]:
    """Find the training examples that are also development or test items, in the order of ``train``.

    Each comes with its first match, ids before wordings before near-duplicates. Official splits overlap, too:
    48 items of e-CARE's dev set are in its train set word for word, and a few of ComVE, OpenBookQA and CODAH.
    """
    wordings, held_out_wordings = [wording(e) for e in train], [wording(e) for e in held_out]
    by_item: dict[Key | None, Example] = {}
    by_wording: dict[Key, Example] = {}
    for example, text in zip(held_out, held_out_wordings, strict=True):
        by_item.setdefault(identity(example), example)
        by_wording.setdefault(text, example)
    by_item.pop(None, None)
    found: dict[int, Leak] = {}
    for n, (example, text) in enumerate(zip(train, wordings, strict=True)):
        item = identity(example)
        if item in by_item:
            found[n] = Leak(example, by_item[item], "same item id")
        elif text in by_wording:
            found[n] = Leak(example, by_wording[text], "same wording")
    rest = [n for n in range(len(train)) if n not in found]
    # each wording once ('raw' and 'repaired' rows agree); of equally similar ones the last counts
    distinct = list(dict.fromkeys(reversed(held_out_wordings)))
    for near in near_duplicates([wordings[n] for n in rest], distinct):
        n, other = rest[near.position], by_wording[distinct[near.other]]
        found[n] = Leak(train[n], other, "near-duplicate", near.similarity)
    return [found[n] for n in sorted(found)]


def identity(example: Example) -> Key | None:
    """Return the item that an example is a version of, as (origin, id), where its task says so.

    Translations of one item share it: all languages of a parallel set, and all tasks of one ``origin`` (COPA
    val and test are the English side of XCOPA's). A shot's translations are therefore shots, too. Tasks whose
    ids mean nothing outside their own split, and unregistered tasks, give None.
    """
    origin = _origin(example.task, user_specs())
    if origin is None:
        return None
    return origin, _superglue_id(example.id) if example.task == "balanced_copa" else example.id


@cache  # because the task is looked up on disk; the folder of the user's tasks is part of the key
def _origin(task_id: str, user_folder: Path) -> str | None:
    if task_id not in task_ids():
        return None
    spec = task_spec(task_id)
    return spec.origin or (spec.id if spec.parallel else None)


def _superglue_id(original: str) -> str:
    """Translate an id of the original COPA (mirrors: + 1000) into SuperGLUE's and XCOPA's split and idx."""
    number = int(original) % 1000
    return f"train-{number - 1}" if number <= 400 else f"val-{number - 401}"


def wording(example: Example) -> Key:
    """Return what an example says, normalised: context and question in words, then the sorted choices.

    They count together: COPA train shares one premise and one choice with XCOPA's English test by chance.
    """
    question = "" if example.question in ("cause", "effect") else example.question
    return normalise(f"{example.context} {question}"), *sorted(normalise(c) for c in example.choices)


class _Letters(dict[int, int]):
    """Translation table, filled as it is used: letters, marks (Thai and Hindi vowels) and digits stay."""

    def __missing__(self, code: int) -> int:
        self[code] = code if unicodedata.category(chr(code))[0] in "LMN" else ord(" ")
        return self[code]


_LETTERS = _Letters()


def normalise(text: str) -> str:
    """Return a text for comparison: NFKC, case-folded, letters, marks and digits only, single blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS).split())


def leak_error(leaks: Sequence[Leak], where: str) -> UserError:
    """Return an error that names the first few leaks; ``where`` says what was compared."""
    named = "; ".join(map(str, leaks[:MAX_NAMED]))
    more = f"; and {len(leaks) - MAX_NAMED} more" if len(leaks) > MAX_NAMED else ""
    count = "1 training example is" if len(leaks) == 1 else f"{len(leaks)} training examples are"
    return UserError(
        f"contamination: {count} also held out: {named}{more}",
        where,
        "remove them from training, or go on with --allow-leaks: the results then say so",
    )


def leak_summary(leaks: Sequence[Leak]) -> dict[str, Any]:
    """Summarise leaks for ``results.json``: ``count``, ``kinds`` (kind -> number) and the first ``pairs``."""
    return {
        "count": len(leaks),
        "kinds": dict(sorted(Counter(leak.kind for leak in leaks).items())),
        "pairs": [str(leak) for leak in leaks[:MAX_LISTED]],
    }


def other_versions(
    items: Sequence[Example],
    languages: Collection[str],
    root: Path | None = None,
    read: Callable[..., LoadedSplit] = load,
) -> list[Example]:
    """Find held-out items in the languages of the training data, so that wordings can be compared there.

    A source that holds the English original of a Swahili test item, under another name and id, shares no word
    with the Swahili text. It is found because COPA's own files say which item is the original. All declared
    tasks are searched for the :func:`identity` of the items, as far as their files are there.
    """
    wanted = {key for item in items if (key := identity(item)) is not None}
    given = {(item.task, item.language) for item in items}
    origins = {origin for origin, _ in wanted}
    found = []
    for spec in map(task_spec, task_ids()):
        if (spec.origin or spec.id) not in origins:
            continue
        for split, language in available_splits(spec, languages, root):
            if (spec.id, language) not in given:
                examples = read(spec.id, split, language=language, root=root).examples
                found += [example for example in examples if identity(example) in wanted]
    return found
