"""The leak guard: nothing that is evaluated, in any language, may have been trained on."""

import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache

from metaxcr.errors import UserError
from metaxcr.tasks.example import Example
from metaxcr.tasks.registry import task_ids, task_spec

Key = tuple[str, ...]


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
    origin = _origin(example.task)
    if origin is None:
        return None
    return origin, _superglue_id(example.id) if example.task == "balanced_copa" else example.id


@cache
def _origin(task_id: str) -> str | None:
    """Return the name under which the ids of a task are known to others, if there is one."""
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


def overlap(train: Iterable[Example], evaluated: Iterable[Example]) -> list[tuple[Example, Example]]:
    """Find what is both trained on and evaluated, by identity (translations, mirrors) or by wording.

    Args:
        train: Everything that labels are learned from: sources, target data, shots.
        evaluated: Development or test examples.

    Returns:
        Every pair (training example, evaluated example) that is one item, in the order of ``train``.
    """
    known: dict[Key, Example] = {}
    for example in evaluated:
        for key in _keys(example):
            known.setdefault(key, example)
    pairs = []
    for example in train:
        match = next((known[key] for key in _keys(example) if key in known), None)
        if match is not None:
            pairs.append((example, match))
    return pairs


def check_leaks(train: Iterable[Example], evaluated: Iterable[Example], *, where: str) -> None:
    """Stop when something that is evaluated is, in this or another language, also trained on.

    Args:
        train: Everything that labels are learned from: sources, target data, shots.
        evaluated: Development or test examples.
        where: What the two are, for the message, such as ``"sources / xcopa th test"``.

    Raises:
        UserError: :func:`overlap` found something.
    """
    pairs = overlap(train, evaluated)
    if pairs:
        source, example = pairs[0]
        raise UserError(
            f"{len(pairs)} training examples are also evaluated, first {_name(source)} = {_name(example)}",
            where,
            f"take '{source.task}' or these examples out of training",
        )


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


def _keys(example: Example) -> list[Key]:
    """List the keys of which one is enough for a match."""
    item = identity(example)
    spoken = ("wording", *wording(example))
    return [spoken] if item is None else [spoken, ("item", *item)]


def _name(example: Example) -> str:
    """Name an example in a message."""
    return f"{example.task}/{example.language}/{example.id}"
