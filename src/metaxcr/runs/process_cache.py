"""What a process keeps between runs, so that the next run pays for what is new in it alone.

Everything is kept under what it is made of, not under the settings that led there: a run finds exactly what
it would have made itself, and its results have the same bytes as those of a run in a process of its own.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.encoders.activation_cache import TrunkStore
from metaxcr.model.batch import TaskData
from metaxcr.data.example import Example
from metaxcr.data.registry import LoadedSplit, load, task_spec
from metaxcr.data.contamination import Leak, find_leaks
from metaxcr.data.data_dirs import split_files

Encoded = tuple[dict[str, TaskData], dict[str, TaskData]]  # the sources, and the parts of the English target
Key = TypeVar("Key", bound=Hashable)
Kind = TypeVar("Kind")


class ProcessCache:
    """One encoder, the splits read last, the leaks looked for last, and the sources encoded last.

    Args:
        splits: Files that are kept as examples.
        bases: Sets of encoded sources; each keeps the values that its runs used mapped.
    """

    def __init__(self, splits: int = 64, bases: int = 2) -> None:
        self._encoders: dict[Hashable, FrozenEncoder] = {}
        self._splits: dict[Hashable, LoadedSplit] = {}
        self._bases: dict[tuple[Hashable, Hashable], tuple[TrunkStore, Encoded]] = {}
        self._most_splits, self._most_bases = splits, bases
        self._leaks = lru_cache(maxsize=4)(find_leaks)

    def __reduce__(self) -> tuple[type["ProcessCache"], tuple[int, int]]:
        """Another process begins with nothing."""
        return ProcessCache, (self._most_splits, self._most_bases)

    def encoder(
        self, load: Callable[..., FrozenEncoder], name: str, *, prefix: str | None, revision: str | None
    ) -> FrozenEncoder:
        """Load an encoder, or take the one that was loaded for the same words."""
        return _keep(self._encoders, (name, prefix, revision), 1,
                     lambda: load(name, prefix=prefix, revision=revision))  # fmt: skip

    def split(
        self, task: str, split: str, *, language: str = "en", root: Path | None = None, **how: Any
    ) -> LoadedSplit:
        """Read a split as :func:`metaxcr.data.registry.load` does, again only where a file has changed."""

        def read() -> LoadedSplit:
            return load(task, split, language=language, root=root, **how)

        spec = task_spec(task)
        if split not in spec.splits or language not in spec.split_languages(split):
            return read()  # which says what is wrong
        files = [(file, file.stat().st_mtime_ns) for file in split_files(spec, split, language, root).all()]
        options = sorted((name, tuple(v) if isinstance(v, list) else v) for name, v in how.items())
        return _keep(self._splits, (task, split, language, *files, *options), self._most_splits, read)

    def leaks(self, train: Sequence[Example], held_out: Sequence[Example]) -> list[Leak]:
        """What :func:`metaxcr.data.contamination.find_leaks` finds."""
        return list(self._leaks(tuple(train), tuple(held_out)))

    def base(self, key: Hashable, store: TrunkStore, encode: Callable[[], Encoded]) -> Encoded:
        """Encode sources into an empty store, or let it go on where another one had encoded the same.

        Args:
            key: All that ``encode`` depends on besides the store.
            store: Of the run.
            encode: Does it.
        """
        for (identity, _), (other, _) in self._bases.items():
            if identity == store.identity:
                store.share_values(other)

        def first() -> tuple[TrunkStore, Encoded]:
            encoded = encode()
            return store.snapshot(), encoded

        before, encoded = _keep(self._bases, (store.identity, key), self._most_bases, first)
        store.adopt(before)
        return encoded


def _keep(kept: dict[Key, Kind], key: Key, most: int, make: Callable[[], Kind]) -> Kind:
    """Take what is kept under a key, or make it and drop what was not asked for longest."""
    value = kept.pop(key) if key in kept else make()
    kept[key] = value
    while len(kept) > most:
        kept.pop(next(iter(kept)))
    return value
