"""Near-duplicates: texts that differ in a word or two, found by MinHash of character n-grams.

Measured recall for real items with a word replaced, a typo, a clause added, other case and punctuation or
swapped choices: 0.94 to 1.00 in English, Swahili, Chinese and Tamil, 0.89 to 1.00 in Thai. With two words
replaced: 1.00 of XStoryCloze, but of the far shorter XCOPA 0.93 in English, 0.89 in Swahili, 0.57 in Chinese
and 0.47 in Thai. False alarms: none of 110,000 English source examples is taken for an item of XCOPA or
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

THRESHOLD = 0.65  # Jaccard similarity; by chance, items of the target sets reach 0.595
BANDS, ROWS = 32, 5  # a pair at the threshold becomes a candidate with probability 0.98, one at 0.3 with 0.07
MIN_NGRAMS = 10  # in a shorter text one other character makes another item: only equal wording counts
SYLLABIC = 0x2E80  # Han, kana and hangul lie above: there two characters say as much as three elsewhere
SAME_CHOICES = 0.2  # similarity that the contexts of equal choices need: some sets always offer yes and no
MARGIN = 0.15  # four standard errors of the similarity that BANDS * ROWS hash values estimate
CHUNK = 512  # wordings: their n-grams fit into a processor's cache

Wording = tuple[str, ...]  # normalised context, then the choices, see metaxcr.data.contamination.wording
Ngrams = NDArray[np.uint64]


class NearDuplicate(NamedTuple):
    """A wording and the most similar one that is held out, by their positions."""

    position: int
    other: int
    similarity: float  # of the two sets of n-grams: shared / all


def near_duplicates(wordings: Sequence[Wording], held_out: Sequence[Wording]) -> list[NearDuplicate]:
    """Find the wordings that are similar to a held-out one (at least :data:`THRESHOLD`), in their order.

    Each comes with the most similar held-out wording. Candidates come from locality-sensitive hashing (Broder
    1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3) and are then compared
    exactly. Threads, not processes, share the work: numpy releases the interpreter lock, and a process with
    PyTorch in it must not be forked.
    """
    index = _HeldOutIndex(held_out) if wordings else None
    if index is None or not index.sketches:
        return []

    def search(start: int) -> list[NearDuplicate]:
        return index.search(start, wordings[start : start + CHUNK])

    starts = range(0, len(wordings), CHUNK)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, len(starts))) as pool:
        return [near for found in pool.map(search, starts) for near in found]


@dataclass
class _Sketch:
    """The n-grams of a wording, and the least value that each hash function takes on them."""

    wording: Wording
    ngrams: Ngrams
    hashvalues: NDArray[np.uint32]  # datasketch requires this name, and __len__

    def __len__(self) -> int:
        return len(self.hashvalues)

    def similarity(self, other: "_Sketch") -> float:
        """Compute the Jaccard similarity of two sets; 0 where nothing but the choices is alike."""
        (context, *choices), (other_context, *other_choices) = self.wording, other.wording
        if choices == other_choices:
            ngrams, (_, end, _) = _ngrams([(context,), (other_context,)])
            if _jaccard(ngrams[:end], ngrams[end:]) < SAME_CHOICES:
                return 0.0
        return _jaccard(self.ngrams, other.ngrams)


def _jaccard(one: Ngrams, other: Ngrams) -> float:
    one, other = np.unique(one), np.unique(other)
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)


class _HeldOutIndex:
    """The held-out wordings, so that similar ones are found without looking at all of them."""

    def __init__(self, held_out: Sequence[Wording]) -> None:
        from datasketch import MinHashLSH  # takes half a second: only where something is compared

        found: dict[int, _Sketch] = {}
        for start in range(0, len(held_out), CHUNK):
            found |= {start + n: one for n, one in _sketches(held_out[start : start + CHUNK]).items()}
        self.positions, self.sketches = list(found), list(found.values())
        self.least = _table(self.sketches)
        self.bands = np.unique(_bands(self.least))
        self.lsh: Any = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
        for row, one in enumerate(self.sketches):
            self.lsh.insert(row, one)

    def search(self, start: int, wordings: Sequence[Wording]) -> list[NearDuplicate]:
        """Find the near-duplicates of a few wordings, the first of which has the position ``start``."""
        sketches = _sketches(wordings)
        # all bands at once: most wordings share none with a held-out one, and a query for each is slow
        bands = _bands(_table(list(sketches.values())))
        nearest = np.minimum(np.searchsorted(self.bands, bands), len(self.bands) - 1)
        shared = (self.bands[nearest] == bands).any(axis=1)
        found = []
        for (n, one), candidate in zip(sketches.items(), shared, strict=True):
            best, other = self._most_similar(one) if candidate else (0.0, 0)
            if best >= THRESHOLD:
                found.append(NearDuplicate(start + n, other, best))
        return found

    def _most_similar(self, one: _Sketch) -> tuple[float, int]:
        """Return similarity and position of the first of the most similar held-out wordings."""
        rows = sorted(self.lsh.query(one))
        estimates = (self.least[rows] == one.hashvalues).mean(axis=1)
        near = [row for row, estimate in zip(rows, estimates, strict=True) if estimate >= THRESHOLD - MARGIN]
        best, row = max(((one.similarity(self.sketches[row]), -row) for row in near), default=(0.0, 0))
        return best, self.positions[-row]


def _sketches(wordings: Sequence[Wording]) -> dict[int, _Sketch]:
    """Return the sketches of the wordings that are long enough, by their positions."""
    ngrams, borders = _ngrams(wordings)
    long = [n for n, (start, end) in enumerate(pairwise(borders)) if end - start >= MIN_NGRAMS]
    if not long:
        return {}
    parts = [ngrams[borders[n] : borders[n + 1]] for n in long]
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    hashed = (_mixed(np.concatenate(parts)) >> np.uint64(32)).astype(np.uint32)
    least = np.empty((len(parts), BANDS * ROWS), np.uint32)
    for n, (factor, summand) in enumerate(_HASH_FUNCTIONS):
        least[:, n] = np.minimum.reduceat(hashed * factor + summand, starts)
    return {n: _Sketch(wordings[n], part, row) for n, part, row in zip(long, parts, least, strict=True)}


def _ngrams(wordings: Sequence[Wording]) -> tuple[Ngrams, list[int]]:
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


def _table(sketches: Sequence[_Sketch]) -> NDArray[np.uint32]:
    """Stack hash values, shape (sketches, BANDS * ROWS)."""
    return np.array([one.hashvalues for one in sketches], np.uint32).reshape(len(sketches), BANDS * ROWS)


def _bands(least: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Hash the bands of hash values, shape (sketches, BANDS): equal numbers mean equal values."""
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


def _hash_functions() -> NDArray[np.uint32]:
    """Draw factor and summand of each hash function; an odd factor makes it a permutation of 32 bits."""
    drawn = np.random.default_rng(0).integers(0, 2**32, (BANDS * ROWS, 2), np.uint32)
    drawn[:, 0] |= np.uint32(1)
    return drawn


_HASH_FUNCTIONS = _hash_functions()
