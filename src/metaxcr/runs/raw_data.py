"""The examples that a run reads (sources, English target data, shots, evaluated items), and their leaks.

A process keeps what it has read for the next run; see :class:`ProcessCache`.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from metaxcr.config.regimes import WITH_SHOTS
from metaxcr.config.schema import Config
from metaxcr.data.contamination import Leak, find_leaks, leak_error, other_versions
from metaxcr.data.corpora import ParallelCorpus, load_parallel
from metaxcr.data.example import Example, check_shots, draw_shots, read_shots, split_target
from metaxcr.data.registry import LoadedSplit, load, split_files, task_spec
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.model.batch import TaskData
from metaxcr.seeding import rng

Read = Callable[..., LoadedSplit]  # metaxcr.data.registry.load with the run's data root and repairs
Encoded = tuple[dict[str, TaskData], dict[str, TaskData]]  # the sources, and the parts of the English target
Kept = TypeVar("Kept")


class ProcessCache:
    """What a process keeps between runs: one encoder, and the latest splits, leaks and encoded sources.

    Everything is kept under a key of its content, not of the settings that led there: the results of a run
    have the same bytes as those of a run in a process of its own. The activations of encoded sources
    (``bases``) stay mapped.
    """

    def __init__(self, splits: int = 64, bases: int = 2) -> None:
        self._splits: dict[Hashable, LoadedSplit] = {}
        self._bases: dict[tuple[Hashable, Hashable], tuple[ActivationCache, Encoded]] = {}
        self._most_splits, self._most_bases = splits, bases
        self._leaks = lru_cache(maxsize=4)(find_leaks)
        self.encoder = lru_cache(maxsize=1)(_load_encoder)  # loads one, or returns it if it is the last one

    def __reduce__(self) -> tuple[type["ProcessCache"], tuple[int, int]]:
        """Another process starts with an empty cache."""
        return ProcessCache, (self._most_splits, self._most_bases)

    def split(
        self, task: str, split: str, *, language: str = "en", root: Path | None = None, **how: Any
    ) -> LoadedSplit:
        """Read a split as :func:`metaxcr.data.registry.load` does, again only where a file has changed."""
        read = partial(load, task, split, language=language, root=root, **how)
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


def _load_encoder(load: Callable[..., FrozenEncoder], name: str, **how: str | None) -> FrozenEncoder:
    return load(name, **how)


def _cached(cache: dict[Any, Kept], key: Hashable, most: int, make: Callable[[], Kept]) -> Kept:
    """Look a value up, or make it and drop the least recently used one."""
    cache[key] = value = cache.pop(key) if key in cache else make()
    while len(cache) > most:
        cache.pop(next(iter(cache)))
    return value


@dataclass
class RawData:
    """The examples of a run before anything is encoded: cheap to read, so that mistakes show at once."""

    sources: list[tuple[LoadedSplit, list[Example]]]  # each source with its examples after the cap
    english: LoadedSplit  # the English target data
    parts: dict[str, list[Example]]  # the same, cut into parts
    auxiliary: dict[str, LoadedSplit]  # language -> labelled data in it
    # language -> the whole split that shots come from; empty if the run needs none
    development: dict[str, LoadedSplit]
    shot_pool: dict[str, LoadedSplit]  # language -> the examples that some seed takes as shots
    shots: dict[int, list[str]]  # seed -> ids of the shots
    # (language, "repaired" | "raw") -> the evaluated questions
    evaluation: dict[tuple[str, str], LoadedSplit]
    corpus: ParallelCorpus  # parallel text
    leaks: list[Leak] = field(default_factory=list)  # examples that are both trained on and held out

    @property
    def splits(self) -> list[LoadedSplit]:
        """Everything that was read from a task."""
        pools = (self.auxiliary, self.shot_pool, self.evaluation)
        sources = [split for split, _ in self.sources]
        return [*sources, self.english, *(split for pool in pools for split in pool.values())]

    @property
    def files(self) -> dict[str, list[Path]]:
        """File group -> what was read."""
        files = {place(split): split.files for split in self.splits}
        return files | ({"parallel": self.corpus.files} if self.corpus.files else {})


def place(split: LoadedSplit) -> str:
    """The name of a split's file group."""
    return f"{split.spec.id}/{split.split}/{split.language}"


def read_data(config: Config, root: Path | None, cache: ProcessCache | None = None) -> RawData:
    """Read all files of a run, from the data root given by the user or the default ones.

    Raises:
        UserError: A file is missing or malformed, or training data hold development or test items and
            ``run.allow_leaks`` is off.
    """
    cache = cache or ProcessCache()
    raw = read_files(config, root, cache)
    raw.leaks = _leaks(raw, root, cache)
    if raw.leaks and not config.run.allow_leaks:
        raise leak_error(raw.leaks, "sources, shots and parallel text against development and test items")
    return raw


def read_files(config: Config, root: Path | None, cache: ProcessCache) -> RawData:
    """Read all files of a run without a search for leaks; arguments as for :func:`read_data`."""
    target, regimes = config.target, config.run.regimes
    read: Read = partial(cache.split, root=root, off=config.run.no_repair)
    sources = []
    for source in config.sources if regimes else []:  # no regime: the untrained baseline alone
        split = read(source.task, source.split)
        sources.append((split, mislabel(_cap(split.examples, source.cap), source.labels)))
    english = read(target.english.task, target.english.split)
    parts = _english_parts(config, english.examples)
    auxiliary, development, corpus = {}, {}, ParallelCorpus({}, [], [])
    if "zero-shot-aux" in regimes and (aux := target.auxiliary):
        auxiliary = {lang: read(aux.task, aux.split, language=lang) for lang in aux.languages}
    if set(WITH_SHOTS) & set(regimes) or config.evaluate.split == target.shots_split:
        development = {x: read(target.task, target.shots_split, language=x) for x in target.languages}
    shots = _shots(config, development)
    used = {i for ids in shots.values() for i in ids}
    shot_pool = {language: _keep(split, used) for language, split in development.items()}
    evaluation = _evaluation(config, read, used)
    if target.parallel and regimes:  # to align languages, and to choose auxiliary languages by
        nearest = target.auxiliary and target.auxiliary.nearest
        near = [*target.languages, *target.auxiliary.languages] if target.auxiliary and nearest else []
        languages = list(dict.fromkeys([*target.parallel.languages, *near]))
        corpus = load_parallel(target.parallel.corpus, target.parallel.split, languages, root=root)
    return RawData(sources, english, parts, auxiliary, development, shot_pool, shots, evaluation, corpus)


def mislabel(examples: Sequence[Example], labels: Literal["true", "shuffled", "flipped"]) -> list[Example]:
    """Replace the labels of a source, for experiments on samplers, never on accuracy.

    The result is the same for every seed of a run, as a fault in a data set would be.

    Args:
        examples: In any order; examples without a label keep having none.
        labels: ``true``: as they are. ``shuffled``: permuted among the questions with the same number of
            choices, so that each position is right as often as before; by chance one in n stays right.
            ``flipped``: every label names the next choice, the last one the first.
    """
    found = list(examples)
    groups: dict[int, list[int]] = defaultdict(list)
    for row, example in enumerate(examples):
        if example.label is not None:
            groups[len(example.choices)].append(row)
            if labels == "flipped":
                found[row] = replace(example, label=(example.label + 1) % len(example.choices))
    for choices, rows in sorted(groups.items()) if labels == "shuffled" else ():
        order = rng(0, f"shuffled labels/{choices}").permutation(len(rows))
        for row, other in zip(rows, order.tolist(), strict=True):
            found[row] = replace(examples[row], label=examples[rows[other]].label)
    return found


def _cap(examples: list[Example], cap: int | None) -> list[Example]:
    """A random subset in file order, the same for every seed, so that seeds share the trunk cache."""
    if cap is None or len(examples) <= cap:
        return examples
    rows = rng(0, "cap").permutation(len(examples))[:cap]
    return [examples[i] for i in sorted(rows)]


def _english_parts(config: Config, examples: list[Example]) -> dict[str, list[Example]]:
    """Cut the English target data into the parts of the settings."""
    english = config.target.english
    names = [s.name for s in config.sources] + [english.task]  # the part "source" is a source, too
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"the source task {name!r} is named twice", "sources", "keep one of them")
    shares = {part: getattr(english, part) for part in ("source", "query", "reward")}
    parts = split_target(examples, {k: v for k, v in shares.items() if v}, seed=0)
    for needed in ("source", "reward"):
        if needed not in parts:
            raise UserError(f"the part {needed!r} of the English target data is empty", "target.english")
    return parts


def _shots(config: Config, development: dict[str, LoadedSplit]) -> dict[int, list[str]]:
    """Draw the shots of every seed by id, or take those that the user names."""
    target, seeds = config.target, config.run.seeds
    if not development:
        return {}
    if target.shots_file is None:
        everything = development[target.languages[0]].examples
        shots = {seed: draw_shots(everything, target.k, seed) for seed in seeds}
        source = f"drawn in {target.languages[0]}; languages that are not parallel need runs of their own"
    else:
        shots, source = read_shots(target.shots_file, target.task, seeds), str(target.shots_file)
    for language, split in development.items():
        where = f"{source}, for {target.task} {target.shots_split} {language}"
        check_shots(shots, {e.id: None for e in split.examples}, where)
    return shots


def _evaluation(config: Config, read: Read, shots: set[str]) -> dict[tuple[str, str], LoadedSplit]:
    """Load what is evaluated; on the shots' own split without the items that serve as shots."""
    target, split = config.target, config.evaluate.split
    kinds = ["repaired", "raw"] if config.evaluate.raw else ["repaired"]
    evaluation = {
        (lang, kind): read(target.task, split, language=lang, raw=kind == "raw")
        for lang in target.languages
        for kind in kinds
    }
    if config.evaluate.english:
        evaluation["en", "repaired"] = read(config.evaluate.english, split)
    if split != target.shots_split:
        return evaluation
    return {key: _keep(one, {e.id for e in one.examples} - shots) for key, one in evaluation.items()}


def _keep(split: LoadedSplit, ids: set[str]) -> LoadedSplit:
    return replace(split, examples=[e for e in split.examples if e.id in ids])


def _leaks(raw: RawData, root: Path | None, cache: ProcessCache) -> list[Leak]:
    """Find what is held out and trained on, in any language, with its label or without.

    Held out are the evaluated items and the whole split that shots come from, with their originals and
    translations in the languages of the training data. Only the capped part of a source counts. Shots, and
    parallel text, which may be that of the shots' split, are compared with the evaluated items only. For the
    shots, their whole split is searched: the answer for an example is then the same for every seed.
    """
    trained = [e for _, examples in raw.sources for e in examples]
    trained += [*raw.english.examples, *_examples(raw.auxiliary)]
    evaluated, development = _examples(raw.evaluation), _examples(raw.development)
    held_out = list(dict.fromkeys([*development, *evaluated]))
    held_out += other_versions(held_out, {e.language for e in trained}, root, cache.split)
    shots = set(_examples(raw.shot_pool))
    return [
        *cache.leaks(trained, held_out),
        *cache.leaks(raw.corpus.examples, evaluated),
        *(leak for leak in cache.leaks(development, evaluated) if leak.train in shots),
    ]


def _examples(splits: Mapping[Any, LoadedSplit]) -> list[Example]:
    return [example for split in splits.values() for example in split.examples]
