"""The leak guard: nothing that is held out, in any language, may have been trained on.

The versions of an item in other languages and tasks: a test item's English original is that test item.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from metaxcr.data.data_dirs import missing_files
from metaxcr.data.example import Example
from metaxcr.data.near_duplicates import near_duplicates
from metaxcr.data.registry import LoadedSplit, load, own_specs, task_ids, task_spec
from metaxcr.errors import UserError

Key = tuple[str, ...]
Kind = Literal["same item id", "same wording", "near-duplicate"]
NAMED = 5  # pairs in an error message
LISTED = 20  # pairs in results.json


@dataclass(frozen=True, slots=True)
class Leak:
    """A training example that is also held out.

    Attributes:
        source: The training example.
        held_out: The development or test item.
        kind: How the two were recognised.
        similarity: Of the two wordings (:mod:`metaxcr.data.near_duplicates`); 1 for the exact kinds.
    """

    source: Example
    held_out: Example
    kind: Kind
    similarity: float = 1.0

    def __str__(self) -> str:
        """Say it in one line."""
        degree = f" {self.similarity:.2f}" if self.kind == "near-duplicate" else ""
        return f"{_name(self.source)} = {_name(self.held_out)} ({self.kind}{degree})"


class _Letters(dict[int, int]):
    """Translation table, filled as it is used: letters, marks (Thai and Hindi vowels) and digits stay."""

    def __missing__(self, code: int) -> int:
        self[code] = code if unicodedata.category(chr(code))[0] in "LMN" else ord(" ")
        return self[code]


_LETTERS = _Letters()


def normalise(text: str) -> str:
    """Bring a text into the form in which two texts are compared.

    Args:
        text: Any text.

    Returns:
        NFKC, case-folded, with letters, marks and digits only, and single blanks in between.
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS).split())


def identity(example: Example) -> Key | None:
    """Name the item that an example is a version of, where its task says so.

    Translations of one item share it: all languages of a parallel set, and all tasks of one ``origin`` (COPA
    val and test are the English side of XCOPA's). A shot's translations are therefore shots, too.

    Args:
        example: Any example; its task need not be registered.

    Returns:
        (origin, id), or None for tasks whose ids mean nothing outside their own split.
    """
    origin = _origin(example.task, own_specs())
    if origin is None:
        return None
    return origin, _superglue_id(example.id) if example.task == "balanced_copa" else example.id


@cache
def _origin(task_id: str, own: Path) -> str | None:
    """Return the name under which the ids of a task are known to others, if there is one.

    Asked once a task, because it is looked up on disk; ``own``, where the user's tasks are, may change.
    """
    if task_id not in task_ids():
        return None
    spec = task_spec(task_id)
    return spec.origin or (spec.id if spec.parallel else None)


def _superglue_id(original: str) -> str:
    """Translate an id of the original COPA (mirrors: + 1000) into SuperGLUE's and XCOPA's split and idx."""
    number = int(original) % 1000
    return f"train-{number - 1}" if number <= 400 else f"val-{number - 401}"


def wording(example: Example) -> Key:
    """Name an example by what it says: question or premise, and the choices in any order.

    Both count together: COPA train shares one premise and one choice with XCOPA's English test by chance.

    Args:
        example: Any example.

    Returns:
        Normalised context and question in words, then the sorted choices.
    """
    asked = "" if example.question in ("cause", "effect") else example.question
    return normalise(f"{example.context} {asked}"), *sorted(normalise(choice) for choice in example.choices)


def find_leaks(train: Sequence[Example], held_out: Sequence[Example]) -> list[Leak]:
    """Find what is both trained on and held out: by item id, by wording, and nearly.

    Args:
        train: Everything that is learned from: sources, target data, auxiliary labels, shots.
        held_out: Development and test items.

    Returns:
        For each leaking training example its first match, ids before wordings before near-duplicates, in the
        order of ``train``.
    """
    wordings, others = [wording(example) for example in train], [wording(example) for example in held_out]
    found = _exact(train, wordings, held_out, others)
    # the rows of 'raw' and 'repaired' data say the same: each wording is compared once
    distinct = {other: n for n, other in reversed(list(enumerate(others)))}
    rest = [n for n in range(len(train)) if n not in found]
    for near in near_duplicates([wordings[n] for n in rest], list(distinct)):
        n, other = rest[near.position], held_out[list(distinct.values())[near.other]]
        found[n] = Leak(train[n], other, "near-duplicate", near.similarity)
    return [found[n] for n in sorted(found)]


def _exact(
    train: Sequence[Example], wordings: Sequence[Key], held_out: Iterable[Example], others: Iterable[Key]
) -> dict[int, Leak]:
    """Find the leaks by item id and by wording, by their position in ``train``."""
    items: dict[Key, Example] = {}
    texts: dict[Key, Example] = {}
    for example, spoken in zip(held_out, others, strict=True):
        item = identity(example)
        if item is not None:
            items.setdefault(item, example)
        texts.setdefault(spoken, example)
    found: dict[int, Leak] = {}
    for n, (example, spoken) in enumerate(zip(train, wordings, strict=True)):
        item = identity(example)
        if item is not None and item in items:
            found[n] = Leak(example, items[item], "same item id")
        elif spoken in texts:
            found[n] = Leak(example, texts[spoken], "same wording")
    return found


def overlap(train: Iterable[Example], evaluated: Iterable[Example]) -> list[tuple[Example, Example]]:
    """Find what is both trained on and evaluated, by identity (translations, mirrors) or by wording.

    Args:
        train: Everything that labels are learned from: sources, target data, shots.
        evaluated: Development or test examples.

    Returns:
        Every pair (training example, evaluated example) that is one item, in the order of ``train``.
    """
    learned, others = list(train), list(evaluated)
    found = _exact(learned, [wording(e) for e in learned], others, [wording(e) for e in others])
    return [(leak.source, leak.held_out) for leak in found.values()]


def check_leaks(train: Iterable[Example], held_out: Iterable[Example], *, where: str) -> None:
    """Stop when something that is held out is, in this or another language, also trained on.

    Args:
        train: Everything that is learned from: sources, target data, shots.
        held_out: Development or test examples.
        where: What the two are, for the message, such as ``"sources / xcopa th test"``.

    Raises:
        UserError: :func:`find_leaks` found something.
    """
    leaks = find_leaks(list(train), list(held_out))
    if leaks:
        raise leak_error(leaks, where)


def leak_error(leaks: Sequence[Leak], where: str) -> UserError:
    """Put leaks into an error that names the first few of them.

    Args:
        leaks: At least one.
        where: What was compared.

    Returns:
        The error, to be raised.
    """
    named = "; ".join(map(str, leaks[:NAMED]))
    more = f"; and {len(leaks) - NAMED} more" if len(leaks) > NAMED else ""
    count = "1 training example is" if len(leaks) == 1 else f"{len(leaks)} training examples are"
    return UserError(
        f"leak: {count} also held out: {named}{more}",
        where,
        "take them out of training; --allow-leaks goes on with them, and the results say so",
    )


def leak_summary(leaks: Sequence[Leak]) -> dict[str, Any]:
    """Summarise leaks for ``results.json``.

    Args:
        leaks: From :func:`find_leaks`.

    Returns:
        ``count``, ``kinds`` (kind -> number) and ``pairs``, the first :data:`LISTED` in words.
    """
    kinds = Counter(leak.kind for leak in leaks)
    return {
        "count": len(leaks),
        "kinds": dict(sorted(kinds.items())),
        "pairs": [str(leak) for leak in leaks[:LISTED]],
    }


def without_overlap(train: Sequence[Example], evaluated: Iterable[Example]) -> list[Example]:
    """Take out of training what is also evaluated, where official splits overlap by accident.

    48 items of e-CARE's dev set are in its train set, word for word; so it is with a few of ComVE, OpenBookQA
    and CODAH. Whoever develops on such a split trains on the rest.

    Args:
        train: Training examples.
        evaluated: Development or test examples.

    Returns:
        The training examples that :func:`overlap` does not name, in their order.
    """
    leaking = {id(source) for source, _ in overlap(train, evaluated)}
    return [example for example in train if id(example) not in leaking]


def _name(example: Example) -> str:
    """Name an example in a message."""
    return f"{example.task}/{example.language}/{example.id}"


def other_versions(
    items: Sequence[Example],
    languages: Collection[str],
    root: Path | None = None,
    read: Callable[..., LoadedSplit] = load,
) -> list[Example]:
    """Find what items say in other languages, so that the leak guard can compare wordings there.

    A source that holds the English original of a Swahili test item, under whatever name and id, shares no
    word with the Swahili text; it is found because COPA's own files say which item is the original.

    Args:
        items: Held-out items.
        languages: Those that training data are in.
        root: Data root, see :func:`metaxcr.data.data_dirs.candidate_roots`.
        read: Reads a split: :func:`metaxcr.data.registry.load`, or what remembers what it read.

    Returns:
        The examples of all declared tasks, in these languages and as far as their files are there, that are
        versions of the items (:func:`metaxcr.data.contamination.identity`); without the items themselves.
    """
    wanted = {key for item in items if (key := identity(item)) is not None}
    given = {(item.task, item.language) for item in items}
    origins = {origin for origin, _ in wanted}
    found = []
    for spec in map(task_spec, task_ids()):
        if (spec.origin or spec.id) not in origins:
            continue
        absent = set(missing_files(spec, root))
        for split in spec.splits:
            for language in set(spec.split_languages(split)).intersection(languages):
                if (spec.id, language) in given or absent.intersection(spec.files_of(split, language)):
                    continue
                examples = read(spec.id, split, language=language, root=root).examples
                found += [example for example in examples if identity(example) in wanted]
    return found
