"""The encoded data that the stages of a run work with."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from metaxcr.config.schema import Config
from metaxcr.data.contamination import Leak
from metaxcr.data.example import Example, shots_digest
from metaxcr.data.phrasing import phrase
from metaxcr.data.registry import LoadedSplit, data_fingerprint
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import Text
from metaxcr.errors import UserError
from metaxcr.model.batch import TaskData, encode_task
from metaxcr.model.build import untrained_kind
from metaxcr.runs.progress import Progress
from metaxcr.runs.raw_data import Encoded, ProcessCache, RawData, place
from metaxcr.training.auxiliary_languages import (
    Adaptation,
    nearest_languages,
    plan_adaptations,
    sentence_vectors,
)
from metaxcr.training.batch_sampler import English

WHOLE = 3  # passes over a source from which it is encoded at once: 95 % of it is then drawn
Encode = Callable[..., TaskData]  # of a split's examples, see :func:`prepare`


@dataclass
class RunData:
    """What the stages of a run work with."""

    english: English  # sources and parts of the English target data
    auxiliary: dict[str, TaskData] = field(default_factory=dict)  # language -> labelled data in it
    adaptations: list[Adaptation] = field(default_factory=list)  # the runs of CLML on them
    shot_pool: dict[str, TaskData] = field(default_factory=dict)  # language -> the shots of all seeds
    shots: dict[int, list[str]] = field(default_factory=dict)  # seed -> ids of its shots, in all languages
    # (language, "repaired" | "raw") -> the evaluated questions, encoded for the run's scorer
    evaluation: dict[tuple[str, str], TaskData] = field(default_factory=dict)
    # the same questions encoded for the similarity baseline (the same objects but for cross)
    baseline: dict[tuple[str, str], TaskData] = field(default_factory=dict)
    parallel: dict[str, list[int]] = field(default_factory=dict)  # language -> its sentences in the store
    checksums: dict[str, str] = field(default_factory=dict)  # file group -> SHA-256, for the data hash
    repaired: dict[str, int] = field(default_factory=dict)  # split -> number of repaired rows
    skipped: dict[str, int] = field(default_factory=dict)  # split -> number of rows that were left out
    leaks: list[Leak] = field(default_factory=list)  # examples both trained on and held out, if allowed

    @property
    def auxiliary_for(self) -> dict[str, Adaptation]:
        """Tested language -> the run of CLML whose parameters answer in it."""
        return {language: one for one in self.adaptations for language in one.tested}

    def shots_of(self, language: str, seed: int) -> TaskData:
        """The shots of a seed in a language, in drawing order."""
        return self.shot_pool[language].subset(self.shots[seed])


def prepare(
    config: Config,
    raw: RawData,
    store: ActivationCache,
    progress: Progress,
    cache: ProcessCache | None = None,
) -> RunData:
    """Encode the texts up to the trunk: at once what is needed whole, the rest when it is drawn.

    Few texts at a time fill the trunk's tiles badly, so a set that training goes through more than
    :data:`WHOLE` times is encoded at once. The store has to be empty.
    """
    kind = config.scoring.kind

    def encode(
        split: LoadedSplit, examples: Sequence[Example], kind: str = kind, drawn: bool = False
    ) -> TaskData:
        label = f"trunk {split.spec.id} {split.language}"
        return encode_task(
            examples,
            lambda e: phrase(e, split.spec),
            store,
            kind=kind,
            implausible=split.spec.polarity == "implausible",
            drawn=drawn and encoded_when_drawn(config, len(examples)),
            progress=lambda done, total: progress.update(label, done, total),
        )

    sources, parts = _base(config, raw, encode, store, cache or ProcessCache())
    if config.adapters.mixture:
        sources = {name: replace(data, source=i) for i, (name, data) in enumerate(sources.items())}
    data = RunData(English(sources, parts.get("query"), parts["reward"], raw.english.spec.id))
    data.shots, data.leaks = raw.shots, raw.leaks
    data.adaptations = adaptations(config, lambda: _nearest(config, raw, store))
    used = {language for one in data.adaptations for language in one.auxiliary}
    auxiliary = {lang: split for lang, split in raw.auxiliary.items() if lang in used}
    data.auxiliary = {lang: encode(s, s.examples, drawn=True) for lang, s in auxiliary.items()}
    data.shot_pool = {lang: encode(s, s.examples) for lang, s in raw.shot_pool.items()}
    data.evaluation = {key: encode(s, s.examples) for key, s in raw.evaluation.items()}
    data.baseline = data.evaluation
    if (untrained := untrained_kind(kind)) != kind:
        data.baseline = {key: encode(s, s.examples, untrained) for key, s in raw.evaluation.items()}
    aligned = config.target.parallel.languages if config.target.parallel else []
    for language, lines in raw.corpus.sentences.items():
        if language in ("en", *aligned):
            data.parallel[language] = store.register([Text(line) for line in lines], language=language)
    progress.finish()
    data.checksums = {name: data_fingerprint(files) for name, files in sorted(raw.files.items())}
    if config.target.shots_file is not None and raw.shots:
        data.checksums["shots"] = shots_digest(raw.shots)
    splits = [*raw.shot_pool.values(), *raw.evaluation.values()]
    data.repaired = {place(s): s.repaired for s in splits if s.repaired}
    data.skipped = {place(s): len(s.skipped) for s in raw.splits if s.skipped}
    return data


def encoded_when_drawn(config: Config, questions: int) -> bool:
    """Whether a source is encoded as its texts are drawn, or at once.

    CTML's draws from a source are counted over all seeds, as if each source were chosen equally often.
    """
    ctml, sources = config.ctml, len(config.sources) + 1
    draws = len(config.run.seeds) * ctml.steps * (ctml.support + ctml.query) / sources
    return draws < WHOLE * questions


def _base(
    config: Config, raw: RawData, encode: Encode, store: ActivationCache, cache: ProcessCache
) -> Encoded:
    """Encode the sources, the English target's own among them, and the parts of the English target data."""
    named, english = [source.name for source in config.sources[: len(raw.sources)]], raw.english

    def encode_all() -> Encoded:
        sources = {name: encode(*one, drawn=True) for name, one in zip(named, raw.sources, strict=True)}
        return sources, {name: encode(english, es, drawn=name == "source") for name, es in raw.parts.items()}

    texts = [(split.spec.id, split.spec.version, tuple(examples)) for split, examples in raw.sources]
    cut = [(name, tuple(examples)) for name, examples in raw.parts.items()]
    key = (config.scoring.kind, *named, *texts, english.spec.id, english.spec.version, *cut)
    sources, parts = cache.base(key, store, encode_all)
    return {**sources, english.spec.id: parts["source"]}, parts


def adaptations(config: Config, nearest: Callable[[], Mapping[str, Iterable[str]]]) -> list[Adaptation]:
    """The runs of CLML on auxiliary languages, all of them or the nearest to each tested language.

    ``nearest`` finds these: tested language -> its auxiliary languages.
    """
    tested, auxiliary = list(config.target.languages), config.target.auxiliary
    if auxiliary is None or "zero-shot-aux" not in config.run.regimes:
        return []
    chosen = nearest() if auxiliary.nearest else dict.fromkeys(tested, auxiliary.languages)
    languages = {language: list(names) for language, names in chosen.items()}
    if config.evaluate.english and "en" not in auxiliary.languages and not config.clml.per_language:
        tested, languages["en"] = [*tested, "en"], []  # one more reported row, by the shared run
    return plan_adaptations(tested, languages, config.clml.per_language)


def _nearest(config: Config, raw: RawData, store: ActivationCache) -> dict[str, list[str]]:
    """Find the nearest auxiliary languages to each tested language by parallel text."""
    target, auxiliary = config.target, config.target.auxiliary
    assert auxiliary is not None and auxiliary.nearest
    if target.parallel is None:
        what = "the nearest languages are found by parallel text, and there is none"
        raise UserError(what, "target.auxiliary.nearest", "give target.parallel, or remove it")
    near = dict.fromkeys([*target.languages, *auxiliary.languages])
    vectors = {language: sentence_vectors(store, raw.corpus.sentences[language]) for language in near}
    return nearest_languages(vectors, target.languages, auxiliary.languages, auxiliary.nearest)
