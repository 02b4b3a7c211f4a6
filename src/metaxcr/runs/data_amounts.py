"""How much data a configuration has: from its files if they are here, else from typical figures."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from metaxcr.config.regimes import WITH_SHOTS
from metaxcr.config.schema import Config
from metaxcr.data.example import Example
from metaxcr.data.phrasing import phrase
from metaxcr.data.spec import TaskSpec
from metaxcr.encoders.encoder import Text
from metaxcr.model.batch import texts_of
from metaxcr.model.build import untrained_kind
from metaxcr.runs.raw_data import RawData
from metaxcr.runs.run_data import adaptations
from metaxcr.seeding import rng
from metaxcr.training.auxiliary_languages import Adaptation

SAMPLE = 200  # questions of a set that are looked at
BATCH = 16  # questions among which Pool.tokens counts a text once
BATCHES = 32  # random batches that the share of repeated texts is averaged over

# Without files: tokens of a question with its choices, by the kind of scoring, and of a sentence, measured
# with the embedded encoder's tokenizer on the files of xcopa-embedded: the mean of its sources, of COPA in
# English, of XStoryCloze in its five languages, of XCOPA in its eleven, and of FLORES-200 in twelve.
TOKENS: dict[str, dict[str, float]] = {
    "dual": {"source": 58, "english": 39, "auxiliary": 93, "target": 42},
    "joint": {"source": 126, "english": 61, "auxiliary": 204, "target": 69},
    "cross": {"source": 105, "english": 47, "auxiliary": 145, "target": 53},
}
SENTENCE = 39
ITEMS = {"source": 10_000, "english": 400, "auxiliary": 360, "target": 500, "sentences": 997}

TokenCounter = Callable[[Sequence[Text]], list[int]]  # texts -> tokens of each


@dataclass(frozen=True)
class Pool:
    """A set of questions, or of sentences."""

    name: str  # unique
    task: str  # pools of one task hold the same items in several languages
    items: int  # questions that one run of a stage chooses from
    tokens: float  # of a question as a batch carries it: a text that occurs twice counts once
    held: int | None = None  # questions that all seeds together choose from; None: as many as ``items``
    # tokens of the texts of some of its questions, the context's first (0: no context)
    lengths: tuple[tuple[int, ...], ...] = ()
    # exponent with which tokens of distinct texts grow with the questions; 1: no text is shared
    growth: float = 1.0

    @property
    def all_tokens(self) -> float:
        """Tokens of the distinct texts of all its questions."""
        return self.distinct(self.items if self.held is None else self.held)

    def distinct(self, questions: float) -> float:
        """Tokens of the distinct texts of a number of questions.

        Source:
            Heaps 1978 (Information Retrieval), section 7.5, there for the words of a text.
        """
        more: float = max(1.0, questions / BATCH) ** self.growth
        return self.tokens * min(questions, BATCH) * more


@dataclass(frozen=True)
class Amounts:
    """How much data a run has."""

    sources: dict[str, Pool]  # source task -> its questions; the English target data's own part comes last
    query: Pool | None  # query part of the English target data, if there is one
    reward: Pool  # reward part of them
    auxiliary: dict[str, Pool] = field(default_factory=dict)  # language -> labelled data in it
    adaptations: tuple[Adaptation, ...] = ()  # the runs of CLML on them
    shots: dict[str, Pool] = field(default_factory=dict)  # language -> the shots of a seed
    # language -> the evaluated questions, raw and repaired ones together
    evaluation: dict[str, Pool] = field(default_factory=dict)
    baseline: dict[str, Pool] = field(default_factory=dict)  # the same for the untrained similarity
    sentences: dict[str, Pool] = field(default_factory=dict)  # language -> parallel sentences
    texts: tuple[Text, ...] = ()  # some of the sources' texts
    origin: str = ""  # where the sizes come from, in words

    @property
    def target(self) -> Pool:
        """The English target data's own part among the sources."""
        return list(self.sources.values())[-1]


def typical(config: Config) -> Amounts:
    """Amounts without reading a file: quick, and within a factor of two for other tokenizers and tasks."""
    target, tokens, regimes = config.target, TOKENS[config.scoring.kind], config.run.regimes
    english, languages, runs = target.english, target.languages, _adaptations(config)

    def pool(kind: str, name: str, task: str, items: int, held: int | None = None) -> Pool:
        return Pool(f"{kind} {name}", task, max(1, items), tokens[kind], held)

    parts = {
        part: pool("english", part, english.task, round(getattr(english, part) * ITEMS["english"]))
        for part in ("source", "query", "reward")
    }
    sources = {s.name: pool("source", s.name, s.task, s.cap or ITEMS["source"]) for s in config.sources}
    auxiliary, shots, sentences = {}, {}, {}
    if target.auxiliary:
        task, items = target.auxiliary.task, ITEMS["auxiliary"]
        auxiliary = {x: pool("auxiliary", x, task, items) for one in runs for x in one.auxiliary}
    if set(WITH_SHOTS) & set(regimes):
        held = target.k * len(config.run.seeds)
        shots = {x: pool("target", f"shots {x}", target.task, target.k, held) for x in languages}
    if target.parallel and regimes:
        aligned, items = ("en", *target.parallel.languages), ITEMS["sentences"]
        sentences = {x: Pool(f"sentences {x}", "sentences", items, SENTENCE) for x in aligned}
    evaluated = {x: pool("target", f"evaluated {x}", target.task, ITEMS["target"]) for x in languages}
    if config.evaluate.english:
        evaluated["en"] = replace(evaluated[languages[0]], name="target evaluated en")
    untrained = TOKENS[untrained_kind(config.scoring.kind)]["target"]
    return Amounts(
        sources | {english.task: parts["source"]},
        parts["query"] if english.query else None,
        parts["reward"],
        auxiliary,
        runs,
        shots,
        evaluated,
        {x: replace(p, tokens=untrained) for x, p in evaluated.items()},
        sentences,
        origin="typical figures, no file was read",
    )


def from_files(config: Config, raw: RawData, count: TokenCounter) -> Amounts:
    """Amounts from the files of a run: the number of all questions, the tokens of some of each set."""
    kind, target, spec = config.scoring.kind, config.target, raw.english.spec

    def pool(name: str, spec: TaskSpec, examples: Sequence[Example]) -> Pool:
        return _pool(name, spec, [examples], kind, count)

    parts = {name: pool(f"english {name}", spec, examples) for name, examples in raw.parts.items()}
    sources = {
        source.name: pool(f"source {source.name}", split.spec, examples)
        for source, (split, examples) in zip(config.sources, raw.sources, strict=False)
    }
    runs = _adaptations(config)
    used = {name for one in runs for name in one.auxiliary}
    shots = {}
    for language, split in raw.shot_pool.items():
        everything = pool(f"shots {language}", split.spec, split.examples)
        k = len(next(iter(raw.shots.values())))
        shots[language] = replace(everything, items=k, held=everything.items)
    evaluated, untrained = _evaluation(raw, kind, count), untrained_kind(kind)
    aligned = ("en", *target.parallel.languages) if target.parallel else ()
    return Amounts(
        sources | {spec.id: parts["source"]},
        parts.get("query"),
        parts["reward"],
        {x: pool(f"auxiliary {x}", s.spec, s.examples) for x, s in raw.auxiliary.items() if x in used},
        runs,
        shots,
        evaluated,
        evaluated if untrained == kind else _evaluation(raw, untrained, count),
        {x: _sentences(x, lines, count) for x, lines in raw.corpus.sentences.items() if x in aligned},
        _some_texts(raw, kind),
        f"the data files, {SAMPLE} questions of each set looked at",
    )


def _evaluation(raw: RawData, kind: str, count: TokenCounter) -> dict[str, Pool]:
    """Language -> evaluated questions, those of the raw and of the repaired file together."""
    found = {}
    for language in dict.fromkeys(language for language, _ in raw.evaluation):
        splits = [split for (other, _), split in raw.evaluation.items() if other == language]
        versions = [split.examples for split in splits]
        found[language] = _pool(f"evaluated {language} {kind}", splits[0].spec, versions, kind, count)
    return found


def _pool(
    name: str, spec: TaskSpec, versions: Sequence[Sequence[Example]], kind: str, count: TokenCounter
) -> Pool:
    """Look at some questions of a set; ``versions`` are the same questions, raw and repaired."""
    examples = versions[0]
    questions = {
        examples[row].id: _texts(examples[row], spec, kind)
        for row in _sample(f"estimate/{name}", len(examples))
    }
    both = {id_: list(texts) for id_, texts in questions.items()}
    for example in (e for other in versions[1:] for e in other if e.id in both):
        both[example.id] += _texts(example, spec, kind)
    carried = [{text for text in texts if text is not None} for texts in both.values()]
    distinct = _union(carried)
    tokens = dict(zip(distinct, count(distinct), strict=True))
    lengths = tuple(tuple(0 if t is None else tokens[t] for t in texts) for texts in questions.values())
    in_batches, growth = _shared(carried, tokens)
    return Pool(name, spec.id, len(examples), in_batches, None, lengths, growth)


def _sample(purpose: str, size: int) -> list[int]:
    rows: list[int] = rng(0, purpose).permutation(size)[:SAMPLE].tolist()
    return rows


def _texts(example: Example, spec: TaskSpec, kind: str) -> list[Text | None]:
    context, choices = texts_of(phrase(example, spec), kind)
    return [context, *choices]


def _union(questions: Iterable[set[Text]]) -> list[Text]:
    return list(set[Text]().union(*questions))


def _shared(questions: Sequence[set[Text]], tokens: Mapping[Text, int]) -> tuple[float, float]:
    """Mean tokens of a question in a batch, and :attr:`Pool.growth`."""
    distinct = sum(tokens[text] for text in _union(questions))
    if len(questions) <= BATCH:
        return distinct / max(1, len(questions)), 1.0
    alone = [sum(tokens[text] for text in texts) for texts in questions]
    apart = together = 0  # the share of repeated texts is measured in batches, the length over all questions
    for n in range(BATCHES):
        rows = rng(0, "estimate/batches", n).permutation(len(questions))[:BATCH].tolist()
        apart += sum(alone[row] for row in rows)
        together += sum(tokens[text] for text in _union(questions[row] for row in rows))
    carried = fmean(alone) * together / max(1, apart)
    growth = math.log(max(1.0, distinct / (BATCH * carried))) / math.log(len(questions) / BATCH)
    return carried, min(1.0, growth)


def _some_texts(raw: RawData, kind: str) -> tuple[Text, ...]:
    """Distinct texts of the sources in a random order."""
    found: list[Text] = []
    for split, examples in raw.sources:
        for row in _sample(f"estimate/texts/{split.spec.id}", len(examples)):
            found += [text for text in _texts(examples[row], split.spec, kind) if text is not None]
    order = rng(0, "estimate/texts").permutation(len(found)).tolist()
    return tuple(dict.fromkeys(found[n] for n in order))


def _sentences(language: str, lines: Sequence[str], count: TokenCounter) -> Pool:
    rows = _sample(f"estimate/sentences/{language}", len(lines))
    lengths = tuple((n,) for n in count([Text(lines[row]) for row in rows]))
    mean = fmean(n for (n,) in lengths)
    return Pool(f"sentences {language}", "sentences", len(lines), mean, lengths=lengths)


def _adaptations(config: Config) -> tuple[Adaptation, ...]:
    """The runs of CLML on auxiliary languages; the first languages stand in for the nearest ones."""
    names = config.target.auxiliary.languages if config.target.auxiliary else []
    most = config.target.auxiliary.nearest if config.target.auxiliary else None
    tested = config.target.languages
    return tuple(adaptations(config, lambda: {x: [y for y in names if y != x][:most] for x in tested}))
