"""Contamination of training data: development or test items, in any language, that are also trained on.

An item is recognised by its id (translations and mirrors of one item share it), by its wording, or as a
near-duplicate: a text that differs in a word or two, found by MinHash of character n-grams.

Measured recall of near-duplicates, for real items with a word replaced, a typo, a clause added, other case
and punctuation or swapped choices: 0.94 to 1.00 in English, Swahili, Chinese and Tamil, 0.89 to 1.00 in
Thai. With two words replaced: 1.00 of XStoryCloze, but of the far shorter XCOPA 0.93 in English, 0.89 in
Swahili, 0.57 in Chinese and 0.47 in Thai. False alarms: none of 110,000 English source examples is taken
for an item of XCOPA or XStoryCloze in any language, six are for one of XWinograd, rightly. 300,000 source
examples against 6,000 held-out ones take 17 to 30 s on two busy cores, normalisation included.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metaxcr.data.example import Example
from metaxcr.data.registry import LoadedSplit, available_splits, load, task_ids, task_spec, user_specs
from metaxcr.errors import UserError

Key = tuple[str, ...]  # a wording: normalised context, then the choices; or an item: origin and id
MAX_NAMED = 5  # pairs in an error message
MAX_LISTED = 20  # pairs in results.json

# Near-duplicates.
THRESHOLD = 0.65  # Jaccard similarity; by chance, items of the target sets reach 0.595
BANDS, ROWS = 32, 5  # a pair at the threshold becomes a candidate with probability 0.98, one at 0.3 with 0.07
MIN_NGRAMS = 10  # in a shorter text one other character makes another item: only equal wording counts
SYLLABIC = 0x2E80  # Han, kana and hangul lie above: there two characters say as much as three elsewhere
SAME_CHOICES = 0.2  # similarity that the contexts of equal choices need: some sets always offer yes and no
MARGIN = 0.15  # four standard errors of the similarity that BANDS * ROWS hash values estimate
CHUNK = 512  # wordings: their n-grams fit into a processor's cache
Numbers = NDArray[np.uint64]


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
    wordings = [wording(example) for example in train]
    # reversed: the first of equal ones counts, and of equally similar ones the last
    by_item = {identity(example): example for example in reversed(held_out)}
    by_wording = {wording(example): example for example in reversed(held_out)}
    found: dict[int, Leak] = {}
    for n, (example, text) in enumerate(zip(train, wordings, strict=True)):
        item = identity(example)
        if item is not None and item in by_item:
            found[n] = Leak(example, by_item[item], "same item id")
        elif text in by_wording:
            found[n] = Leak(example, by_wording[text], "same wording")
    rest = [n for n in range(len(train)) if n not in found]
    known = list(by_wording)
    for near in near_duplicates([wordings[n] for n in rest], known):
        n, other = rest[near.position], by_wording[known[near.other]]
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
    fix = "remove them from training, or go on with --allow-leaks: the results then say so"
    return UserError(f"contamination: {count} also held out: {named}{more}", where, fix)


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


class NearDuplicate(NamedTuple):
    """A wording and the most similar one that is held out, by their positions."""

    position: int
    other: int
    similarity: float  # of the two sets of n-grams: shared / all


def near_duplicates(wordings: Sequence[Key], held_out: Sequence[Key]) -> list[NearDuplicate]:
    """Find the wordings that are similar to a held-out one (at least :data:`THRESHOLD`), in their order.

    Each comes with the most similar held-out wording. Candidates come from locality-sensitive hashing (Broder
    1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3) and are then compared
    exactly. Threads, not processes, share the work: numpy releases the interpreter lock, and a process with
    PyTorch in it must not be forked.
    """
    chunks = range(0, len(held_out), CHUNK)
    known = [one for start in chunks for one in _sketches(held_out, start)] if wordings else []
    if not known:
        return []
    index = _Index(known)
    starts = range(0, len(wordings), CHUNK)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, len(starts))) as pool:
        parts = pool.map(lambda start: index.search(_sketches(wordings, start)), starts)
        return [near for found in parts for near in found]


class _Sketch(NamedTuple):
    """The n-grams of a wording, and the least value that each hash function takes on them."""

    position: int
    wording: Key
    ngrams: Numbers
    minima: NDArray[np.uint32]

    def similarity(self, other: "_Sketch") -> float:
        """Compute the Jaccard similarity of two sets; 0 where nothing but the choices is alike."""
        (context, *choices), (other_context, *other_choices) = self.wording, other.wording
        if choices == other_choices:
            ngrams, (_, end, _) = _ngrams([(context,), (other_context,)])
            if _jaccard(ngrams[:end], ngrams[end:]) < SAME_CHOICES:
                return 0.0
        return _jaccard(self.ngrams, other.ngrams)


class _Index:
    """The held-out wordings, so that similar ones are found without looking at all of them."""

    def __init__(self, held_out: Sequence[_Sketch]) -> None:
        self.held_out, self.minima = held_out, np.stack([one.minima for one in held_out])
        bands = _bands(self.minima).ravel()
        order = np.argsort(bands)
        self.bands, self.rows = bands[order], order // BANDS

    def search(self, sketches: Sequence[_Sketch]) -> list[NearDuplicate]:
        """Find the near-duplicates among a few wordings."""
        if not sketches:
            return []
        bands = _bands(np.stack([one.minima for one in sketches]))
        begin = np.searchsorted(self.bands, bands)
        shared = self.bands[np.minimum(begin, len(self.bands) - 1)] == bands
        found = []
        for n in np.flatnonzero(shared.any(axis=1)).tolist():
            ends = np.searchsorted(self.bands, bands[n], side="right")
            rows = np.concatenate([self.rows[a:b] for a, b in zip(begin[n], ends, strict=True)])
            similarity, other = self._most_similar(sketches[n], np.unique(rows))
            if similarity >= THRESHOLD:
                found.append(NearDuplicate(sketches[n].position, other, similarity))
        return found

    def _most_similar(self, one: _Sketch, rows: NDArray[np.intp]) -> tuple[float, int]:
        """Return similarity and position of the first of the most similar held-out wordings in these rows."""
        estimates = (self.minima[rows] == one.minima).mean(axis=1)
        near = [self.held_out[row] for row in rows[estimates >= THRESHOLD - MARGIN]]
        best, position = max(((one.similarity(other), -other.position) for other in near), default=(0.0, 0))
        return best, -position


def _jaccard(one: Numbers, other: Numbers) -> float:
    one, other = np.unique(one), np.unique(other)
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)


def _sketches(wordings: Sequence[Key], start: int) -> list[_Sketch]:
    """Return the sketches of the wordings of a chunk that are long enough."""
    chunk = wordings[start : start + CHUNK]
    ngrams, borders = _ngrams(chunk)
    long = [n for n, (begin, end) in enumerate(pairwise(borders)) if end - begin >= MIN_NGRAMS]
    if not long:
        return []
    parts = [ngrams[borders[n] : borders[n + 1]] for n in long]
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    hashed = (_mixed(np.concatenate(parts)) >> np.uint64(32)).astype(np.uint32)
    minima = np.empty((len(parts), BANDS * ROWS), np.uint32)
    for n, (factor, summand) in enumerate(_HASH_FUNCTIONS):
        minima[:, n] = np.minimum.reduceat(hashed * factor + summand, starts)
    return [_Sketch(start + n, chunk[n], part, row) for n, part, row in zip(long, parts, minima, strict=True)]


def _ngrams(wordings: Sequence[Key]) -> tuple[Numbers, list[int]]:
    """Return the n-grams of all wordings, as numbers made of their characters, and the wordings' borders.

    An n-gram lies within one text, blanks at both ends included: the order of the choices does not matter.
    """
    texts = [" " + " \0 ".join(wording) + " \0" for wording in wordings]
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    points = np.append(points, np.zeros(2, np.uint64))
    first, second, third = points[:-2], points[1:-1], points[2:]
    third = np.where(first >= SYLLABIC, np.uint64(1), third)
    whole = (first != 0) & (second != 0) & (third != 0)
    ngrams = (first << np.uint64(42)) | (second << np.uint64(21)) | third
    ends = np.cumsum(whole)[np.cumsum([len(text) for text in texts]) - 1]
    return ngrams[whole], [0, *ends.tolist()]


def _bands(minima: NDArray[np.uint32]) -> Numbers:
    """Hash the bands of the minima, shape (sketches, BANDS): equal numbers mean equal values."""
    values = minima.reshape(len(minima), BANDS, ROWS)
    numbers: Numbers = np.arange(BANDS, dtype=np.uint64)
    for row in range(ROWS):
        numbers = _mixed(numbers ^ values[:, :, row])
    return numbers


def _mixed(numbers: Numbers) -> Numbers:
    """Scatter numbers over all 64 bits (the finaliser of MurmurHash3)."""
    numbers = (numbers ^ (numbers >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    numbers = (numbers ^ (numbers >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return numbers ^ (numbers >> np.uint64(33))


# Factor and summand of each hash function; an odd factor makes it a permutation of 32 bits.
_HASH_FUNCTIONS = np.random.default_rng(0).integers(0, 2**32, (BANDS * ROWS, 2), np.uint32)
_HASH_FUNCTIONS[:, 0] |= np.uint32(1)
