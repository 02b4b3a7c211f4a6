"""Sources whose labels are made wrong on purpose: experiments on who notices, never on accuracy.

Everything a run reads: data, shots, leak checks, the encoder and the trunk.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal
from metaxcr.data.example import Example
from metaxcr.seeding import rng
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from metaxcr.training.batch_sampler import English
from metaxcr.training.auxiliary_languages import (Adaptation, nearest_languages, plan_adaptations, sentence_vectors)
from metaxcr.config.schema import WITH_SHOTS, Config
from metaxcr.encoders.encoder import Text
from metaxcr.encoders.activation_cache import TrunkStore
from metaxcr.errors import UserError
from metaxcr.runs.process_cache import Encoded, ProcessCache
from metaxcr.runs.progress import Progress
from metaxcr.model.batch import TaskData, encode_task
from metaxcr.model.build import untrained_kind
from metaxcr.data.example import Example
from metaxcr.data.registry import LoadedSplit
from metaxcr.data.phrasing import phrase
from metaxcr.data.contamination import Leak, leak_error
from metaxcr.data.corpora import ParallelCorpus, load_parallel
from metaxcr.data.data_dirs import data_fingerprint
from metaxcr.seeding import rng
from metaxcr.data.shots import check_shots, draw_shots, read_shots, shots_digest, split_target
from metaxcr.data.contamination import other_versions

Labels = Literal["true", "shuffled", "flipped"]


def mislabel(examples: Sequence[Example], labels: Labels) -> list[Example]:
    """Replace the labels of a source.

    Args:
        examples: In any order; examples without a label keep having none.
        labels: ``true``: as they are. ``shuffled``: permuted among the questions with the same number of
            choices, so that how often each position is right stays what it was; by chance one in n stays
            right. ``flipped``: every label names the next choice, the last one the first: with two choices
            the other one, always wrong.

    Returns:
        The examples in the same order. The same for every seed of a run, as a fault in a data set would be.
    """
    if labels == "flipped":
        return [_labelled(e, None if e.label is None else (e.label + 1) % len(e.choices)) for e in examples]
    if labels == "true":
        return list(examples)
    groups: dict[int, list[int]] = defaultdict(list)
    for row, example in enumerate(examples):
        if example.label is not None:
            groups[len(example.choices)].append(row)
    shuffled = list(examples)
    for choices, rows in sorted(groups.items()):
        order = rng(0, f"shuffled labels/{choices}").permutation(len(rows))
        for row, other in zip(rows, order.tolist(), strict=True):
            shuffled[row] = _labelled(examples[row], examples[rows[other]].label)
    return shuffled


def _labelled(example: Example, label: int | None) -> Example:
    return replace(example, label=label)

WHOLE = 3  # so often a source is gone through before it is encoded at once: 95 % of it is then drawn
Read = Callable[..., LoadedSplit]  # tasks.load with the run's data root and repairs
Encode = Callable[..., TaskData]  # of a split's examples, see :func:`prepare`


@dataclass
class RunData:
    """What the stages of a run work with.

    Attributes:
        english: Sources and parts of the English target data.
        auxiliary: Language -> labelled data in it (regime zero-shot-aux).
        adaptations: The runs of CLML on them.
        shot_pool: Language -> the examples that some seed draws as shots.
        shots: Seed -> ids of the shots, the same in all languages.
        evaluation: (language, "repaired" | "raw") -> the evaluated questions, encoded for the run's scorer.
        baseline: The same questions encoded for the similarity baseline (the same objects but for cross).
        parallel: Language -> numbers of its sentences in the trunk store.
        checksums: File group -> SHA-256, for the data hash.
        repaired: Split -> number of repaired rows.
        skipped: Split -> number of rows that were left out.
        leaks: What is both trained on and held out, where that is allowed.
    """

    english: English
    auxiliary: dict[str, TaskData] = field(default_factory=dict)
    adaptations: list[Adaptation] = field(default_factory=list)
    shot_pool: dict[str, TaskData] = field(default_factory=dict)
    shots: dict[int, list[str]] = field(default_factory=dict)
    evaluation: dict[tuple[str, str], TaskData] = field(default_factory=dict)
    baseline: dict[tuple[str, str], TaskData] = field(default_factory=dict)
    parallel: dict[str, list[int]] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    leaks: list[Leak] = field(default_factory=list)

    @property
    def auxiliary_for(self) -> dict[str, Adaptation]:
        """Tested language -> the run of CLML whose parameters answer in it."""
        return {language: one for one in self.adaptations for language in one.tested}

    def shots_of(self, language: str, seed: int) -> TaskData:
        """The shots of a seed in a language, in drawing order."""
        return self.shot_pool[language].subset(self.shots[seed])


@dataclass
class RawData:
    """The raw examples of a run, before anything is encoded: cheap, so that mistakes show at once.

    Attributes:
        sources: Each source with its examples after the cap.
        english: The English target data.
        parts: They, cut into parts.
        auxiliary: Language -> labelled data in it.
        development: Language -> the split that shots come from, whole; empty where the run needs none.
        shot_pool: Language -> the examples that some seed takes as shots.
        shots: Seed -> ids of the shots.
        evaluation: (language, "repaired" | "raw") -> the evaluated questions.
        corpus: Parallel text.
        files: File group -> what was read.
        leaks: What is both trained on and held out.
    """

    sources: list[tuple[LoadedSplit, list[Example]]]
    english: LoadedSplit
    parts: dict[str, list[Example]]
    auxiliary: dict[str, LoadedSplit]
    development: dict[str, LoadedSplit]
    shot_pool: dict[str, LoadedSplit]
    shots: dict[int, list[str]]
    evaluation: dict[tuple[str, str], LoadedSplit]
    corpus: ParallelCorpus
    files: dict[str, list[Path]] = field(default_factory=dict)
    leaks: list[Leak] = field(default_factory=list)

    @property
    def splits(self) -> list[LoadedSplit]:
        """Everything that was read from a task."""
        pools = (self.auxiliary, self.shot_pool, self.evaluation)
        sources = [split for split, _ in self.sources]
        return [*sources, self.english, *(split for pool in pools for split in pool.values())]


def read_data(config: Config, root: Path | None, kept: ProcessCache | None = None) -> RawData:
    """Read all files that a run needs and stop it where the data leak.

    Args:
        config: The settings.
        root: Data root given by the user, or None.
        kept: Of the process, where there are several runs in it.

    Raises:
        UserError: A file is missing or malformed, or training data hold development or test items and
            ``run.allow_leaks`` is off.
    """
    kept = kept or ProcessCache()
    loaded = read_files(config, root, kept)
    loaded.leaks = _leaks(loaded, root, kept)
    if loaded.leaks and not config.run.allow_leaks:
        raise leak_error(loaded.leaks, "sources, shots and parallel text against development and test items")
    return loaded


def read_files(config: Config, root: Path | None, kept: ProcessCache) -> RawData:
    """Read all files that a run needs, leaks or not; arguments as for :func:`read_data`.

    Raises:
        UserError: A file is missing or malformed.
    """
    target, read = config.target, partial(kept.split, root=root, off=config.run.no_repair)
    learnt = config.sources if config.run.regimes else []  # without a regime the untrained baseline is all
    sources = [read(s.task, s.split) for s in learnt]
    english = read(target.english.task, target.english.split)
    parts = _english_parts(config, english.examples)
    auxiliary = {}
    if target.auxiliary and "zero-shot-aux" in config.run.regimes:
        aux = target.auxiliary
        auxiliary = {lang: read(aux.task, aux.split, language=lang) for lang in aux.languages}
    development = _development(config, read)
    shots = _shots(config, development)
    used = {i for ids in shots.values() for i in ids}
    pool = {language: _keep(split, used) for language, split in development.items()}
    evaluation = _evaluation(config, read, used)
    corpus = ParallelCorpus({}, [], [])
    if target.parallel and config.run.regimes:
        text = target.parallel
        corpus = load_parallel(text.corpus, text.split, _parallel_languages(config), root=root)
    capped = [
        (split, mislabel(_cap(split.examples, source.cap), source.labels))
        for split, source in zip(sources, learnt, strict=True)
    ]
    loaded = RawData(capped, english, parts, auxiliary, development, pool, shots, evaluation, corpus)
    loaded.files = {_place(s): s.files for s in loaded.splits}
    if corpus.files:
        loaded.files["parallel"] = corpus.files
    return loaded


def _parallel_languages(config: Config) -> list[str]:
    """Languages whose parallel text is read: to align them, and to choose auxiliary languages by."""
    target, auxiliary = config.target, config.target.auxiliary
    assert target.parallel is not None
    near = [*target.languages, *auxiliary.languages] if auxiliary and auxiliary.nearest else []
    return list(dict.fromkeys([*target.parallel.languages, *near]))


def _english_parts(config: Config, examples: list[Example]) -> dict[str, list[Example]]:
    """Cut the English target data into the parts that the settings ask for."""
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


def _development(config: Config, read: Read) -> dict[str, LoadedSplit]:
    """Load the split that shots come from, in every language, if a regime or the evaluation needs it."""
    target = config.target
    with_shots = set(WITH_SHOTS) & set(config.run.regimes)
    if not with_shots and config.evaluate.split != target.shots_split:
        return {}
    return {
        language: read(target.task, target.shots_split, language=language) for language in target.languages
    }


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
    """Load what is evaluated; on the shots' own split (development) without the items that serve as shots."""
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
    return {key: _keep(loaded, {e.id for e in loaded.examples} - shots) for key, loaded in evaluation.items()}


def _keep(split: LoadedSplit, ids: set[str]) -> LoadedSplit:
    return replace(split, examples=[e for e in split.examples if e.id in ids])


def _cap(examples: list[Example], cap: int | None) -> list[Example]:
    """A fixed random subset in file order: the same for every seed, so that seeds share the trunk cache."""
    if cap is None or len(examples) <= cap:
        return examples
    rows = rng(0, "cap").permutation(len(examples))[:cap]
    return [examples[i] for i in sorted(rows)]


def _leaks(loaded: RawData, root: Path | None, kept: ProcessCache) -> list[Leak]:
    """Find what is held out and trained on, in any language, with its label or without.

    Held out are the evaluated items and the whole split that shots come from, with their originals and
    translations in the languages of the training data. Sources count after their cap: what is not trained on
    does not leak. Shots, and parallel text, which may be that of the shots' split, are held against the
    evaluated items only. The whole split of the shots is looked through even so: the answer for each example
    is its own, and the same for every seed.
    """
    trained = [e for _, examples in loaded.sources for e in examples]
    trained += [*loaded.english.examples, *_examples(loaded.auxiliary)]
    evaluated, development = _examples(loaded.evaluation), _examples(loaded.development)
    held_out = list(dict.fromkeys([*development, *evaluated]))
    held_out += other_versions(held_out, {e.language for e in trained}, root, kept.split)
    shots = set(_examples(loaded.shot_pool))
    return [
        *kept.leaks(trained, held_out),
        *kept.leaks(loaded.corpus.examples, evaluated),
        *(leak for leak in kept.leaks(development, evaluated) if leak.train in shots),
    ]


def _examples(splits: Mapping[Any, LoadedSplit]) -> list[Example]:
    return [example for split in splits.values() for example in split.examples]


def prepare(
    config: Config, loaded: RawData, store: TrunkStore, progress: Progress, kept: ProcessCache | None = None
) -> RunData:
    """Encode everything up to the trunk: at once what is needed whole, the rest when it is drawn.

    Few texts at a time fill the trunk's tiles badly, so a set that training goes through more than
    :data:`WHOLE` times is encoded at once.

    Args:
        config: The settings.
        loaded: From :func:`read_data`.
        store: Computes or reads the trunk's activations; still empty.
        progress: Shows how far the trunk is.
        kept: Of the process, where there are several runs in it.
    """
    kind = config.scoring.kind

    def encode(
        split: LoadedSplit, examples: Sequence[Example], kind: str = kind, drawn: bool = False
    ) -> TaskData:
        implausible = split.spec.polarity == "implausible"
        label = f"trunk {split.spec.id} {split.language}"
        return encode_task(
            examples,
            lambda e: phrase(e, split.spec),
            store,
            kind=kind,
            implausible=implausible,
            drawn=drawn and draws_a_source(config) < WHOLE * len(examples),
            progress=lambda done, total: progress.update(label, done, total),
        )

    sources, parts = _base(config, loaded, encode, store, kept or ProcessCache())
    if config.adapters.mixture:
        sources = {name: replace(data, source=i) for i, (name, data) in enumerate(sources.items())}
    material = RunData(English(sources, parts.get("query"), parts["reward"], loaded.english.spec.id))
    material.adaptations = _adaptations(config, loaded, store)
    used = {language for one in material.adaptations for language in one.auxiliary}
    auxiliary = {lang: split for lang, split in loaded.auxiliary.items() if lang in used}
    material.auxiliary = {lang: encode(s, s.examples, drawn=True) for lang, s in auxiliary.items()}
    material.shot_pool = {lang: encode(s, s.examples) for lang, s in loaded.shot_pool.items()}
    material.evaluation = {key: encode(s, s.examples) for key, s in loaded.evaluation.items()}
    material.baseline = material.evaluation
    if (untrained := untrained_kind(kind)) != kind:
        material.baseline = {key: encode(s, s.examples, untrained) for key, s in loaded.evaluation.items()}
    aligned = config.target.parallel.languages if config.target.parallel else []
    for language, lines in loaded.corpus.sentences.items():
        if language in ("en", *aligned):
            material.parallel[language] = store.register([Text(line) for line in lines], language=language)
    material.shots = loaded.shots
    material.checksums = {name: data_fingerprint(files) for name, files in sorted(loaded.files.items())}
    if config.target.shots_file is not None and loaded.shots:
        material.checksums["shots"] = shots_digest(loaded.shots)
    splits = [*loaded.shot_pool.values(), *loaded.evaluation.values()]
    material.repaired = {_place(s): s.repaired for s in splits if s.repaired}
    material.skipped = {_place(s): len(s.skipped) for s in loaded.splits if s.skipped}
    material.leaks = loaded.leaks
    progress.finish()
    return material


def draws_a_source(config: Config) -> float:
    """Questions that CTML draws from a source, over all seeds, where each is chosen equally often."""
    ctml, sources = config.ctml, len(config.sources) + 1
    return len(config.run.seeds) * ctml.steps * (ctml.support + ctml.query) / sources


def _base(config: Config, loaded: RawData, encode: Encode, store: TrunkStore, kept: ProcessCache) -> Encoded:
    """Encode the sources, the English target's own among them, and the parts of the English target data."""
    named = [source.name for source in config.sources[: len(loaded.sources)]]
    english = loaded.english

    def first() -> Encoded:
        sources = {name: encode(*one, drawn=True) for name, one in zip(named, loaded.sources, strict=True)}
        parts = {
            name: encode(english, examples, drawn=name == "source") for name, examples in loaded.parts.items()
        }
        return sources, parts

    texts = [(split.spec.id, split.spec.version, tuple(examples)) for split, examples in loaded.sources]
    cut = [(name, tuple(examples)) for name, examples in loaded.parts.items()]
    key = (config.scoring.kind, *named, *texts, english.spec.id, english.spec.version, *cut)
    sources, parts = kept.base(key, store, first)
    return {**sources, english.spec.id: parts["source"]}, parts


def _adaptations(config: Config, loaded: RawData, store: TrunkStore) -> list[Adaptation]:
    """Plan the runs of CLML on auxiliary languages, all of them or the nearest to each tested language."""
    target, auxiliary = config.target, config.target.auxiliary
    if auxiliary is None or not loaded.auxiliary:
        return []
    chosen: dict[str, list[str]] = {language: auxiliary.languages for language in target.languages}
    if auxiliary.nearest:
        if target.parallel is None:
            raise UserError(
                "the nearest languages are found by parallel text, and there is none",
                "target.auxiliary.nearest",
                "give target.parallel, or remove it",
            )
        sentences = loaded.corpus.sentences
        near = dict.fromkeys([*target.languages, *auxiliary.languages])
        vectors = {language: sentence_vectors(store, sentences[language]) for language in near}
        chosen = nearest_languages(vectors, target.languages, auxiliary.languages, auxiliary.nearest)
    tested = list(target.languages)
    if config.evaluate.english and "en" not in auxiliary.languages and not config.clml.per_language:
        tested, chosen = [*tested, "en"], {**chosen, "en": []}  # one more reported row, by the shared run
    return plan_adaptations(tested, chosen, config.clml.per_language)


def _place(split: LoadedSplit) -> str:
    return f"{split.spec.id}/{split.split}/{split.language}"
