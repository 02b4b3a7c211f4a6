"""Everything a run reads: data, shots, leak checks, the encoder and the trunk."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from metaxcr.adaptation.curricula import English
from metaxcr.config import Config
from metaxcr.encoders.base import Text
from metaxcr.encoders.trunk import TrunkStore
from metaxcr.errors import UserError
from metaxcr.experiments.progress import Progress
from metaxcr.scoring.batch import TaskData, encode_task
from metaxcr.tasks import Example, LoadedSplit, load, phrase
from metaxcr.tasks.leaks import check_leaks
from metaxcr.tasks.parallel import ParallelCorpus, load_parallel
from metaxcr.tasks.roots import data_fingerprint
from metaxcr.tasks.seeding import rng
from metaxcr.tasks.shots import draw_shots, split_target

Encode = Callable[[LoadedSplit, Sequence[Example], str], TaskData]


@dataclass
class Material:
    """What the stages of a run work with.

    Attributes:
        english: Sources and parts of the English target data.
        auxiliary: Language -> labelled data in it (regime zero-shot-aux).
        shot_pool: Language -> the examples that some seed draws as shots.
        shots: Seed -> ids of the shots, the same in all languages.
        evaluation: (language, "repaired" | "raw") -> the evaluated questions, encoded for the run's scorer.
        baseline: The same questions encoded for the similarity baseline (the same objects for dual scoring).
        parallel: Language -> numbers of its sentences in the trunk store.
        checksums: File group -> SHA-256, for the data hash.
        repaired: Split -> number of repaired rows.
    """

    english: English
    auxiliary: dict[str, TaskData] = field(default_factory=dict)
    shot_pool: dict[str, TaskData] = field(default_factory=dict)
    shots: dict[int, list[str]] = field(default_factory=dict)
    evaluation: dict[tuple[str, str], TaskData] = field(default_factory=dict)
    baseline: dict[tuple[str, str], TaskData] = field(default_factory=dict)
    parallel: dict[str, list[int]] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)


@dataclass
class Loaded:
    """The raw examples of a run, before anything is encoded: cheap, so that mistakes show at once."""

    sources: list[tuple[LoadedSplit, list[Example]]]
    english: LoadedSplit
    parts: dict[str, list[Example]]
    auxiliary: dict[str, LoadedSplit]
    shot_pool: dict[str, LoadedSplit]
    shots: dict[int, list[str]]
    evaluation: dict[tuple[str, str], LoadedSplit]
    corpus: ParallelCorpus
    files: dict[str, list[Path]]


def read_data(config: Config, root: Path | None) -> Loaded:
    """Read all files that a run needs and stop it where the data leak.

    Args:
        config: The settings.
        root: Data root given by the user, or None.

    Raises:
        UserError: A file is missing or malformed, or training data contain evaluated items.
    """
    target = config.target
    sources = [load(s.task, s.split, root=root) for s in config.sources]
    english = load(target.english.task, target.english.split, root=root)
    names = [s.task for s in config.sources] + [target.english.task]  # the part "source" is a source, too
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"the source task {name!r} is named twice", "sources", "keep one of them")
    shares = {part: getattr(target.english, part) for part in ("source", "query", "reward")}
    parts = split_target(english.examples, {k: v for k, v in shares.items() if v}, seed=0)
    for needed in ("source", "reward"):
        if needed not in parts:
            raise UserError(f"the part {needed!r} of the English target data is empty", "target.english")
    auxiliary = {}
    if target.auxiliary and "zero-shot-aux" in config.run.regimes:
        aux = target.auxiliary
        auxiliary = {lang: load(aux.task, aux.split, language=lang, root=root) for lang in aux.languages}
    pool, shots = _shots(config, root)
    evaluation = _evaluation(config, root, {i for ids in shots.values() for i in ids})
    corpus = ParallelCorpus({}, [], [])
    if target.parallel:
        text = target.parallel
        corpus = load_parallel(text.corpus, text.split, text.languages, root=root)
    capped = [
        (split, _cap(split.examples, source.cap))
        for split, source in zip(sources, config.sources, strict=True)
    ]
    loaded = Loaded(capped, english, parts, auxiliary, pool, shots, evaluation, corpus, {})
    splits = [*sources, english, *auxiliary.values(), *pool.values(), *evaluation.values()]
    loaded.files = {f"{s.spec.id}/{s.split}/{s.language}": s.files for s in splits}
    if corpus.files:
        loaded.files["parallel"] = corpus.files
    _guard(loaded)
    return loaded


def _shots(config: Config, root: Path | None) -> tuple[dict[str, LoadedSplit], dict[int, list[str]]]:
    """Draw the shots of every seed by id; return the examples that some seed uses, and the ids."""
    target = config.target
    pool = {
        lang: load(target.task, target.shots_split, language=lang, root=root) for lang in target.languages
    }
    everything = pool[target.languages[0]].examples
    shots = {seed: draw_shots(everything, target.k, seed) for seed in config.run.seeds}
    used = {i for ids in shots.values() for i in ids}
    return {lang: _keep(split, used) for lang, split in pool.items()}, shots


def _evaluation(config: Config, root: Path | None, shots: set[str]) -> dict[tuple[str, str], LoadedSplit]:
    """Load what is evaluated; on the shots' own split (development) without the items that serve as shots."""
    target, split = config.target, config.evaluate.split
    kinds = ["repaired", "raw"] if config.evaluate.raw else ["repaired"]
    evaluation = {
        (lang, kind): load(target.task, split, language=lang, root=root, raw=kind == "raw")
        for lang in target.languages
        for kind in kinds
    }
    if config.evaluate.english:
        evaluation["en", "repaired"] = load(config.evaluate.english, split, root=root)
    if split != target.shots_split:
        return evaluation
    rest = {e.id for e in next(iter(evaluation.values())).examples} - shots
    return {key: _keep(loaded, rest) for key, loaded in evaluation.items()}


def _keep(split: LoadedSplit, ids: set[str]) -> LoadedSplit:
    return replace(split, examples=[e for e in split.examples if e.id in ids])


def _cap(examples: list[Example], cap: int | None) -> list[Example]:
    """A fixed random subset in file order: the same for every seed, so that seeds share the trunk cache."""
    if cap is None or len(examples) <= cap:
        return examples
    rows = rng(0, "cap").permutation(len(examples))[:cap]
    return [examples[i] for i in sorted(rows)]


def _guard(loaded: Loaded) -> None:
    """No evaluated item may be trained on, in any language, with its label or without."""
    trained: list[Example] = [e for _, examples in loaded.sources for e in examples]
    trained += [*loaded.english.examples, *loaded.corpus.examples]
    trained += [
        e for split in (*loaded.auxiliary.values(), *loaded.shot_pool.values()) for e in split.examples
    ]
    evaluated: Iterable[Example] = [e for split in loaded.evaluation.values() for e in split.examples]
    check_leaks(trained, evaluated, where="sources, shots and parallel text against the evaluated items")


def prepare(config: Config, loaded: Loaded, store: TrunkStore, progress: Progress) -> Material:
    """Encode everything up to the trunk.

    Args:
        config: The settings.
        loaded: From :func:`read_data`.
        store: Computes or reads the trunk's activations.
        progress: Shows how far the trunk is.
    """
    kind = config.scoring.kind

    def encode(split: LoadedSplit, examples: Sequence[Example], kind: str = kind) -> TaskData:
        implausible = split.spec.polarity == "implausible"
        label = f"trunk {split.spec.id} {split.language}"
        return encode_task(
            examples,
            lambda e: phrase(e, split.spec),
            store,
            kind=kind,
            implausible=implausible,
            progress=lambda done, total: progress.update(label, done, total),
        )

    sources = {split.spec.id: encode(split, examples) for split, examples in loaded.sources}
    parts = {name: encode(loaded.english, examples) for name, examples in loaded.parts.items()}
    sources[loaded.english.spec.id] = parts["source"]
    material = Material(English(sources, parts.get("query"), parts["reward"], loaded.english.spec.id))
    material.auxiliary = {lang: encode(s, s.examples) for lang, s in loaded.auxiliary.items()}
    material.shot_pool = {lang: encode(s, s.examples) for lang, s in loaded.shot_pool.items()}
    material.evaluation = {key: encode(s, s.examples) for key, s in loaded.evaluation.items()}
    material.baseline = material.evaluation
    if kind != "dual":
        material.baseline = {key: encode(s, s.examples, "dual") for key, s in loaded.evaluation.items()}
    for language, lines in loaded.corpus.sentences.items():
        material.parallel[language] = store.ensure([Text(line) for line in lines])
    material.shots = loaded.shots
    material.checksums = {name: data_fingerprint(files) for name, files in sorted(loaded.files.items())}
    splits = [*loaded.shot_pool.values(), *loaded.evaluation.values()]
    material.repaired = {f"{s.spec.id}/{s.split}/{s.language}": s.repaired for s in splits if s.repaired}
    progress.finish()
    return material
