"""How much data a configuration has: from its files where they are there, else from typical figures."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from metaxcr.training.auxiliary_languages import SENTENCES, Adaptation, plan_adaptations
from metaxcr.config.schema import WITH_SHOTS, Config
from metaxcr.encoders.encoder import Text
from metaxcr.runs.cost_model import BATCH, Amounts, Pool
from metaxcr.runs.run_data import RawData
from metaxcr.model.batch import texts_of
from metaxcr.model.build import untrained_kind
from metaxcr.data.example import Example
from metaxcr.data.phrasing import phrase
from metaxcr.seeding import rng
from metaxcr.data.spec import TaskSpec

SAMPLE = 200  # questions of a set that are looked at
BATCHES = 32  # of so many the share of texts that occur twice is the mean

# Where nothing is read: tokens of a question with its choices, by the kind of scoring, and of a sentence,
# measured with the embedded encoder's tokenizer on the files of xcopa-embedded: the mean of its sources, of
# COPA in English, of XStoryCloze in its five languages, of XCOPA in its eleven, and of FLORES-200 in twelve.
TOKENS: dict[str, dict[str, float]] = {
    "dual": {"source": 58, "english": 39, "auxiliary": 93, "target": 42},
    "joint": {"source": 126, "english": 61, "auxiliary": 204, "target": 69},
    "cross": {"source": 105, "english": 47, "auxiliary": 145, "target": 53},
}
SENTENCE = 39
ITEMS = {"source": 10_000, "english": 400, "auxiliary": 360, "target": 500, "sentences": 997}

Count = Callable[[Sequence[Text]], list[int]]  # texts -> tokens of each


def typical(config: Config) -> Amounts:
    """Amounts that look at no file: quick, and within a factor of two for other tokenizers and tasks.

    Args:
        config: The settings.
    """
    target, tokens = config.target, TOKENS[config.scoring.kind]

    def pool(kind: str, name: str, task: str, items: int, held: int | None = None) -> Pool:
        return Pool(f"{kind} {name}", task, max(1, items), tokens[kind], held)

    english, n = target.english, ITEMS["english"]
    sources = {s.name: pool("source", s.name, s.task, s.cap or ITEMS["source"]) for s in config.sources}
    parts = {
        part: pool("english", part, english.task, round(getattr(english, part) * n))
        for part in ("source", "query", "reward")
    }
    languages, seeds = target.languages, len(config.run.seeds)
    evaluated = {x: pool("target", f"evaluated {x}", target.task, ITEMS["target"]) for x in languages}
    if config.evaluate.english:
        evaluated["en"] = replace(evaluated[languages[0]], name="target evaluated en")
    few = set(WITH_SHOTS) & set(config.run.regimes)
    untrained = TOKENS[untrained_kind(config.scoring.kind)]["target"]
    same = untrained == tokens["target"]
    return Amounts(
        sources | {english.task: parts["source"]},
        parts["query"] if english.query else None,
        parts["reward"],
        {x: pool("auxiliary", x, target.auxiliary.task, ITEMS["auxiliary"]) for x in _auxiliary(config)}
        if target.auxiliary
        else {},
        _adaptations(config),
        {x: pool("target", f"shots {x}", target.task, target.k, target.k * seeds) for x in languages}
        if few
        else {},
        evaluated,
        evaluated if same else {x: replace(p, tokens=untrained) for x, p in evaluated.items()},
        {
            x: Pool(f"sentences {x}", "sentences", ITEMS["sentences"], SENTENCE)
            for x in ("en", *target.parallel.languages)
        }
        if target.parallel and config.run.regimes
        else {},
        (),
        _near(config),
        "typical figures, no file was read",
    )


def from_files(config: Config, loaded: RawData, count: Count) -> Amounts:
    """Amounts from the files that a run would read.

    The number of questions is theirs; tokens are the mean of :data:`SAMPLE` questions of each set.

    Args:
        config: The settings.
        loaded: From :func:`metaxcr.runs.run_data.read_files`.
        count: Counts the tokens of texts.
    """
    kind, target = config.scoring.kind, config.target

    def pool(name: str, spec: TaskSpec, examples: Sequence[Example], scoring: str = kind) -> Pool:
        return _pool(name, spec, [examples], scoring, count)

    named = [source.name for source in config.sources]
    sources = {
        name: pool(f"source {name}", split.spec, examples)
        for name, (split, examples) in zip(named, loaded.sources, strict=False)
    }
    spec = loaded.english.spec
    parts = {name: pool(f"english {name}", spec, examples) for name, examples in loaded.parts.items()}
    used = {name for one in _adaptations(config) for name in one.auxiliary} if loaded.auxiliary else set()
    shots = {}
    for language, split in loaded.shot_pool.items():
        everything = pool(f"shots {language}", split.spec, split.examples)
        k = len(next(iter(loaded.shots.values())))
        shots[language] = replace(everything, items=k, held=everything.items)
    return Amounts(
        sources | {spec.id: parts["source"]},
        parts.get("query"),
        parts["reward"],
        {x: pool(f"auxiliary {x}", s.spec, s.examples) for x, s in loaded.auxiliary.items() if x in used},
        _adaptations(config) if loaded.auxiliary else (),
        shots,
        evaluated := _evaluation(loaded, kind, count),
        evaluated if untrained_kind(kind) == kind else _evaluation(loaded, untrained_kind(kind), count),
        {
            x: _sentences(x, lines, count)
            for x, lines in loaded.corpus.sentences.items()
            if target.parallel and x in ("en", *target.parallel.languages)
        },
        _some_texts(loaded, kind),
        _near(config),
        f"the data files, {SAMPLE} questions of each set looked at",
    )


def _evaluation(loaded: RawData, kind: str, count: Count) -> dict[str, Pool]:
    """Language -> evaluated questions, those of the raw and of the repaired file together."""
    found = {}
    for language in dict.fromkeys(language for language, _ in loaded.evaluation):
        splits = [split for (lang, _), split in loaded.evaluation.items() if lang == language]
        versions = [split.examples for split in splits]
        found[language] = _pool(f"evaluated {language} {kind}", splits[0].spec, versions, kind, count)
    return found


def _pool(name: str, spec: TaskSpec, versions: Sequence[Sequence[Example]], kind: str, count: Count) -> Pool:
    """Look at some questions of a set.

    Args:
        name: Of the pool.
        spec: The task.
        versions: The same questions, raw and repaired.
        kind: Of scoring.
        count: Counts tokens.
    """
    examples = versions[0]
    rows: list[int] = rng(0, f"estimate/{name}").permutation(len(examples))[:SAMPLE].tolist()
    questions = [_texts(examples[row], spec, kind) for row in rows]
    ids = {examples[row].id: n for n, row in enumerate(rows)}
    more: dict[int, list[Text | None]] = {}
    for example in (e for other in versions[1:] for e in other if e.id in ids):
        more[ids[example.id]] = _texts(example, spec, kind)
    flat = [text for texts in (*questions, *more.values()) for text in texts if text is not None]
    distinct = list(dict.fromkeys(flat))
    tokens = dict(zip(distinct, count(distinct), strict=True))
    carried = [
        {text for text in [*texts, *more.get(n, ())] if text is not None} for n, texts in enumerate(questions)
    ]
    lengths = tuple(tuple(0 if text is None else tokens[text] for text in texts) for texts in questions)
    in_batches, growth = _shared(carried, tokens)
    return Pool(name, spec.id, len(examples), in_batches, None, lengths, growth)


def _texts(example: Example, spec: TaskSpec, kind: str) -> list[Text | None]:
    context, choices = texts_of(phrase(example, spec), kind)
    return [context, *choices]


def _shared(questions: Sequence[set[Text]], tokens: Mapping[Text, int]) -> tuple[float, float]:
    """Mean tokens of a question in a batch, and :attr:`Pool.growth`."""
    distinct = sum(tokens[text] for text in set[Text]().union(*questions))
    if len(questions) <= BATCH:
        return distinct / max(1, len(questions)), 1.0
    alone = [sum(tokens[text] for text in texts) for texts in questions]
    apart = together = 0  # the batches tell what share is carried twice, all questions how long they are
    for n in range(BATCHES):
        rows = rng(0, "estimate/batches", n).permutation(len(questions))[:BATCH].tolist()
        apart += sum(alone[row] for row in rows)
        together += sum(tokens[text] for text in set[Text]().union(*(questions[row] for row in rows)))
    carried = fmean(alone) * together / max(1, apart)
    growth = math.log(max(1.0, distinct / (BATCH * carried))) / math.log(len(questions) / BATCH)
    return carried, min(1.0, growth)


def _some_texts(loaded: RawData, kind: str) -> tuple[Text, ...]:
    """Texts of the sources in a random order, none of them twice."""
    found: list[Text] = []
    for split, examples in loaded.sources:
        rows = rng(0, f"estimate/texts/{split.spec.id}").permutation(len(examples))[:SAMPLE].tolist()
        found += [
            text for row in rows for text in _texts(examples[row], split.spec, kind) if text is not None
        ]
    order = rng(0, "estimate/texts").permutation(len(found)).tolist()
    return tuple(dict.fromkeys(found[n] for n in order))


def _sentences(language: str, lines: Sequence[str], count: Count) -> Pool:
    rows = rng(0, f"estimate/sentences/{language}").permutation(len(lines))[:SAMPLE].tolist()
    lengths = count([Text(lines[row]) for row in rows])
    name = f"sentences {language}"
    return Pool(name, "sentences", len(lines), fmean(lengths), None, tuple((n,) for n in lengths))


def _auxiliary(config: Config) -> Iterable[str]:
    return {name: None for one in _adaptations(config) for name in one.auxiliary}


def _adaptations(config: Config) -> tuple[Adaptation, ...]:
    """The runs of CLML on auxiliary languages; where the nearest are wanted, the first so many stand in."""
    target, auxiliary = config.target, config.target.auxiliary
    if auxiliary is None or "zero-shot-aux" not in config.run.regimes:
        return ()
    chosen = {
        tested: [x for x in auxiliary.languages if x != tested][: auxiliary.nearest]
        if auxiliary.nearest
        else auxiliary.languages
        for tested in target.languages
    }
    tested = list(target.languages)
    if config.evaluate.english and "en" not in auxiliary.languages and not config.clml.per_language:
        tested, chosen = [*tested, "en"], {**chosen, "en": []}
    return tuple(plan_adaptations(tested, chosen, config.clml.per_language))


def _near(config: Config) -> int:
    auxiliary = config.target.auxiliary
    wanted = auxiliary is not None and auxiliary.nearest and "zero-shot-aux" in config.run.regimes
    return SENTENCES if wanted else 0
