"""Data and encoder that a process keeps between runs, so that the next run reads only what is new in it.

Everything is kept under a key of its content, not of the settings that led there: the results of a run have
the same bytes as those of a run in a process of its own.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from metaxcr.data.contamination import Leak, find_leaks
from metaxcr.data.example import Example
from metaxcr.data.registry import LoadedSplit, load, split_files, task_spec
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.model.batch import TaskData

Encoded = tuple[dict[str, TaskData], dict[str, TaskData]]  # the sources, and the parts of the English target
Key = TypeVar("Key", bound=Hashable)
Kind = TypeVar("Kind")


class ProcessCache:
    """One encoder, and the latest splits, searches for leaks and encoded sources (``bases``).

    The activations of encoded sources stay mapped.
    """

    def __init__(self, splits: int = 64, bases: int = 2) -> None:
        self._encoders: dict[Hashable, FrozenEncoder] = {}
        self._splits: dict[Hashable, LoadedSplit] = {}
        self._bases: dict[tuple[Hashable, Hashable], tuple[ActivationCache, Encoded]] = {}
        self._most_splits, self._most_bases = splits, bases
        self._leaks = lru_cache(maxsize=4)(find_leaks)

    def __reduce__(self) -> tuple[type["ProcessCache"], tuple[int, int]]:
        """Another process starts with an empty cache."""
        return ProcessCache, (self._most_splits, self._most_bases)

    def encoder(
        self, load: Callable[..., FrozenEncoder], name: str, *, prefix: str | None, revision: str | None
    ) -> FrozenEncoder:
        """Load an encoder, or return the one that was loaded with the same arguments."""
        key = name, prefix, revision
        return _cached(self._encoders, key, 1, lambda: load(name, prefix=prefix, revision=revision))

    def split(
        self, task: str, split: str, *, language: str = "en", root: Path | None = None, **how: Any
    ) -> LoadedSplit:
        """Read a split as :func:`metaxcr.data.registry.load` does, again only where a file has changed."""

        def read() -> LoadedSplit:
            return load(task, split, language=language, root=root, **how)

        spec = task_spec(task)
        if split not in spec.splits or language not in spec.split_languages(split):
            return read()  # raises with a message
        files = [(file, file.stat().st_mtime_ns) for file in split_files(spec, split, language, root)]
        options = sorted((name, tuple(v) if isinstance(v, list) else v) for name, v in how.items())
        return _cached(self._splits, (task, split, language, *files, *options), self._most_splits, read)

    def leaks(self, train: Sequence[Example], held_out: Sequence[Example]) -> list[Leak]:
        """What :func:`metaxcr.data.contamination.find_leaks` finds."""
        return list(self._leaks(tuple(train), tuple(held_out)))

    def base(self, key: Hashable, store: ActivationCache, encode: Callable[[], Encoded]) -> Encoded:
        """Encode sources into an empty store, or continue from a store that had encoded the same.

        ``key`` is everything that ``encode`` depends on besides the store.
        """
        for (identity, _), (other, _) in self._bases.items():
            if identity == store.identity:
                store.share_values(other)

        def first() -> tuple[ActivationCache, Encoded]:
            encoded = encode()
            return store.snapshot(), encoded

        before, encoded = _cached(self._bases, (store.identity, key), self._most_bases, first)
        store.adopt(before)
        return encoded


def _cached(cache: dict[Key, Kind], key: Key, most: int, make: Callable[[], Kind]) -> Kind:
    """Look a value up, or make it and drop the least recently used one."""
    value = cache.pop(key) if key in cache else make()
    cache[key] = value
    while len(cache) > most:
        cache.pop(next(iter(cache)))
    return value
