"""Near-duplicates: items whose wording differs in a word or two, by MinHash of character n-grams.

Measured, of real items with a word replaced, a typo, a clause added, other case and punctuation or swapped
choices: 0.94 to 1.00 are found in English, Swahili, Chinese and Tamil, 0.89 to 1.00 in Thai. With two words
replaced 1.00 of XStoryCloze, but of the far shorter XCOPA 0.93 in English, 0.89 in Swahili, 0.57 in Chinese
and 0.47 in Thai. By chance: none of 110,000 English source examples is taken for an item of XCOPA or
XStoryCloze in any language, six are for one of XWinograd, rightly. 300,000 source examples against 6,000
held-out ones take 17 to 30 s on two busy cores, normalisation included.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.65  # Jaccard similarity: what is alike by chance on the target sets reaches 0.595
BANDS, ROWS = 32, 5  # a pair at the threshold is looked at with a probability of 0.98, one at 0.3 of 0.07
FEWEST = 10  # n-grams; in a shorter text one other character makes another item: only equal wording counts
SYLLABIC = 0x2E80  # Han, kana and hangul lie above: there two characters say as much as three elsewhere
SAME_CHOICES = 0.2  # similarity that the contexts of equal choices need: some sets always offer yes and no
MARGIN = 0.15  # four standard errors of the similarity that BANDS * ROWS hash values estimate
CHUNK = 512  # wordings: their n-grams fit into a processor's cache

Wording = tuple[str, ...]  # normalised context, then the choices, see metaxcr.data.contamination.wording
Codes = NDArray[np.uint64]


class NearDuplicate(NamedTuple):
    """A wording and the most similar one that is held out.

    Attributes:
        position: Of the wording.
        other: Position of the held-out wording.
        similarity: Of the two sets of n-grams: shared / all.
    """

    position: int
    other: int
    similarity: float


def near_duplicates(wordings: Sequence[Wording], held_out: Sequence[Wording]) -> list[NearDuplicate]:
    """Find what says nearly the same as something that is held out.

    Candidates come from locality-sensitive hashing (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of
    Massive Datasets, chapter 3) and are then compared exactly. Threads, not processes, share the work:
    numpy lets go of the interpreter lock, and a process with PyTorch in it must not be forked.

    Args:
        wordings: Of the training examples.
        held_out: Of the development and test items.

    Returns:
        For each wording with a similarity of at least :data:`THRESHOLD` to a held-out one, the most similar
        of those, in the order of ``wordings``.
    """
    index = _Index(held_out) if wordings else None
    if index is None or not index.sets:
        return []

    def search(start: int) -> list[NearDuplicate]:
        return index.search(start, wordings[start : start + CHUNK])

    starts = range(0, len(wordings), CHUNK)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, len(starts))) as pool:
        return [near for found in pool.map(search, starts) for near in found]


@dataclass
class _Set:
    """The n-grams of a wording, and the least value that each hash function takes on them."""

    wording: Wording
    codes: Codes
    hashvalues: NDArray[np.uint32]  # the name under which datasketch looks for them

    def __len__(self) -> int:
        return len(self.hashvalues)

    def similarity(self, other: "_Set") -> float:
        """Compute the Jaccard similarity of two sets; 0 where nothing but the choices is alike."""
        (context, *choices), (other_context, *other_choices) = self.wording, other.wording
        if choices == other_choices:
            codes, (_, end, _) = _grams([(context,), (other_context,)])
            if _jaccard(codes[:end], codes[end:]) < SAME_CHOICES:
                return 0.0
        return _jaccard(self.codes, other.codes)


def _jaccard(one: Codes, other: Codes) -> float:
    one, other = np.unique(one), np.unique(other)
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)


class _Index:
    """The held-out wordings, so that similar ones are found without looking at all of them."""

    def __init__(self, held_out: Sequence[Wording]) -> None:
        from datasketch import (
            MinHashLSH,
        )  # half a second, which commands that compare nothing should not take

        found: dict[int, _Set] = {}
        for start in range(0, len(held_out), CHUNK):
            found |= {start + n: one for n, one in _sets(held_out[start : start + CHUNK]).items()}
        self.positions, self.sets = list(found), list(found.values())
        self.least = _table(self.sets)
        self.bands = np.unique(_bands(self.least))
        self.lsh: Any = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
        for row, one in enumerate(self.sets):
            self.lsh.insert(row, one)

    def search(self, start: int, wordings: Sequence[Wording]) -> list[NearDuplicate]:
        """Find the near-duplicates of a few wordings, the first of which has the position ``start``."""
        sets = _sets(wordings)
        # one look at all bands together: most sets share none, and to ask the index for each is slow
        bands = _bands(_table(list(sets.values())))
        nearest = np.minimum(np.searchsorted(self.bands, bands), len(self.bands) - 1)
        shared = (self.bands[nearest] == bands).any(axis=1)
        found = []
        for (n, one), some in zip(sets.items(), shared, strict=True):
            best, other = self._most_similar(one) if some else (0.0, 0)
            if best >= THRESHOLD:
                found.append(NearDuplicate(start + n, other, best))
        return found

    def _most_similar(self, one: _Set) -> tuple[float, int]:
        """Return similarity and position of the first of the most similar held-out sets."""
        rows = sorted(self.lsh.query(one))
        estimates = (self.least[rows] == one.hashvalues).mean(axis=1)
        near = [row for row, estimate in zip(rows, estimates, strict=True) if estimate >= THRESHOLD - MARGIN]
        best, row = max(((one.similarity(self.sets[row]), -row) for row in near), default=(0.0, 0))
        return best, self.positions[-row]


def _sets(wordings: Sequence[Wording]) -> dict[int, _Set]:
    """Return the sets of the wordings that are long enough, by their positions."""
    codes, borders = _grams(wordings)
    long = [n for n, (start, end) in enumerate(pairwise(borders)) if end - start >= FEWEST]
    if not long:
        return {}
    parts = [codes[borders[n] : borders[n + 1]] for n in long]
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    hashed = (_mixed(np.concatenate(parts)) >> np.uint64(32)).astype(np.uint32)
    least = np.empty((len(parts), BANDS * ROWS), np.uint32)
    for n, (factor, summand) in enumerate(_FUNCTIONS):
        least[:, n] = np.minimum.reduceat(hashed * factor + summand, starts)
    return {n: _Set(wordings[n], part, row) for n, part, row in zip(long, parts, least, strict=True)}


def _grams(wordings: Sequence[Wording]) -> tuple[Codes, list[int]]:
    """Number the n-grams of all wordings; return them, and where each wording begins and ends among them.

    An n-gram lies within one text, blanks at both ends included, so that neither the order of the choices
    nor what stands beside them matters. Its number is made of its characters: equal means the same n-gram.
    """
    texts = [" " + " \0 ".join(wording) + " \0" for wording in wordings]
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    points = np.append(points, np.zeros(2, np.uint64))
    first, second, third = points[:-2], points[1:-1], points[2:]
    third = np.where(first >= SYLLABIC, np.uint64(1), third)
    whole = (first != 0) & (second != 0) & (third != 0)
    codes = (first << np.uint64(42)) | (second << np.uint64(21)) | third
    ends = np.cumsum(whole)[np.cumsum([len(text) for text in texts]) - 1]
    return codes[whole], [0, *ends.tolist()]


def _table(sets: Sequence[_Set]) -> NDArray[np.uint32]:
    """Put the hash values of some sets one below the other, shape (sets, BANDS * ROWS)."""
    return np.array([one.hashvalues for one in sets], np.uint32).reshape(len(sets), BANDS * ROWS)


def _bands(least: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Number the bands of hash values, shape (sets, BANDS): equal numbers mean equal values."""
    values = least.reshape(len(least), BANDS, ROWS)
    numbers: NDArray[np.uint64] = np.arange(BANDS, dtype=np.uint64)
    for row in range(ROWS):
        numbers = _mixed(numbers ^ values[:, :, row])
    return numbers


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatter numbers over all 64 bits (the finaliser of MurmurHash3)."""
    numbers = (numbers ^ (numbers >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    numbers = (numbers ^ (numbers >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return numbers ^ (numbers >> np.uint64(33))


def _functions() -> NDArray[np.uint32]:
    """Draw factor and summand of each hash function; an odd factor makes it a permutation of 32 bits."""
    drawn = np.random.default_rng(0).integers(0, 2**32, (BANDS * ROWS, 2), np.uint32)
    drawn[:, 0] |= np.uint32(1)
    return drawn


_FUNCTIONS = _functions()
