"""Episodes of the two meta-learning stages.

CTML: support from a sampled English source, query from the same source or from the English target data.
CLML: *cross-task* episodes (support: English source; query: target language) and *cross-lingual* episodes
(support: the target task in another language; query: target language).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metaxcr.config import Clml, Ctml, Meta
from metaxcr.encoders.trunk import TrunkStore
from metaxcr.errors import UserError
from metaxcr.meta.training import Curriculum, Episode
from metaxcr.scoring.batch import Batch, Parallel, TaskData, make_batch
from metaxcr.tasks.seeding import rng


@dataclass(frozen=True)
class English:
    """The English data of a run.

    Attributes:
        sources: Source task -> its examples; the target task's own source part is one of them.
        query: Query part of the English target data.
        reward: Reward part of it.
        target: Name in ``sources`` of the target task's source part.
    """

    sources: Mapping[str, TaskData]
    query: TaskData | None
    reward: TaskData
    target: str


@dataclass(frozen=True)
class Draw:
    """Draws batches for one stage of one seed.

    Attributes:
        store: Trunk activations.
        seed: Of the run.
        purpose: Of the stage; two stages never share a stream.
    """

    store: TrunkStore
    seed: int
    purpose: str

    def rng(self, what: str, step: int) -> np.random.Generator:
        """The generator for one thing at one step."""
        return rng(self.seed, f"{self.purpose}/{what}", step)

    def batch(self, data: TaskData, size: int, what: str, step: int) -> Batch:
        """A batch without repetition; the whole set where it is smaller than ``size``."""
        rows = self.rng(what, step).choice(len(data), min(size, len(data)), replace=False)
        return make_batch(data, rows.tolist(), self.store)

    def two_batches(self, data: TaskData, first: int, second: int, step: int) -> tuple[Batch, Batch]:
        """Two batches of one set that share no question (a set too small for both is split in proportion)."""
        if len(data) < 2:
            raise UserError(
                f"{data.task} has no question left for a query", "sources", "raise its cap to 2 or more"
            )
        order = self.rng("rows", step).permutation(len(data))[: first + second].tolist()
        cut = min(max(1, round(len(order) * first / (first + second))), len(order) - 1)
        return make_batch(data, order[:cut], self.store), make_batch(data, order[cut:], self.store)

    def parallel(self, texts: Mapping[str, Sequence[int]], pairs: int, step: int) -> Parallel | None:
        """Sentence pairs of English and one other language, the languages in turn; None without any."""
        languages = [language for language in texts if language != "en"]
        if not languages:
            return None
        language = languages[step % len(languages)]
        rows = self.rng("pairs", step).choice(len(texts["en"]), min(pairs, len(texts["en"])), replace=False)
        one, other = (self.store.gather([texts[name][r] for r in rows]) for name in ("en", language))
        return (one, "en"), (other, language)


def cross_task(
    english: English, parallel: Mapping[str, Sequence[int]], settings: Ctml, draw: Draw
) -> Curriculum:
    """CTML's episodes.

    Args:
        english: Sources and parts of the English target data.
        parallel: Language -> numbers of its sentences, in the same order; empty without parallel text.
        settings: Of the stage.
        draw: Draws batches.

    Raises:
        UserError: Queries are to come from the English target data, but there is no such part.
    """
    names = list(english.sources)
    if settings.query_from == "target" and english.query is None:
        raise UserError(
            "no English target data for queries", "target.english.query", "give it a share above 0"
        )

    def episode(step: int, i: int) -> Episode:
        source = english.sources[names[i]]
        if settings.query_from == "target" and english.query is not None:
            support = draw.batch(source, settings.support, "rows", step)
            query = draw.batch(english.query, settings.query, "query", step)
        else:
            support, query = draw.two_batches(source, settings.support, settings.query, step)
        return Episode(support, query, _pairs(parallel, settings, draw, step), {"source": names[i]})

    def reward_batch(step: int) -> Batch:
        return draw.batch(english.reward, settings.reward, "reward", step)

    return Curriculum(names, lambda step: True, episode, reward_batch)


def cross_lingual(
    english: English,
    target: Mapping[str, TaskData],
    others: Mapping[str, TaskData],
    reward: TaskData | tuple[TaskData, TaskData],
    parallel: Mapping[str, Sequence[int]],
    settings: Clml,
    draw: Draw,
) -> Curriculum:
    """CLML's episodes, of both types.

    Args:
        english: Sources.
        target: Query language -> labelled target-task data in it.
        others: Support language -> target-task data for cross-lingual episodes; never the query's own
            language.
        reward: B_T's data; or halves A and B of the shots: A serves as query and B as reward, swapped
            half-way.
        parallel: As in :func:`cross_task`.
        settings: Of the stage.
        draw: Draws batches.

    Raises:
        UserError: Cross-lingual episodes are wanted, but a language has no other one to take support from.
    """
    names, languages = list(english.sources), list(target)
    if settings.cross_task < 1:
        _need_others(languages, others)

    def is_cross_task(step: int) -> bool:
        return bool(draw.rng("kind", step).random() < settings.cross_task)

    def half(step: int) -> int:
        return int(step >= settings.steps / 2)

    def episode(step: int, i: int) -> Episode:
        language = languages[int(draw.rng("language", step).integers(len(languages)))]
        data = reward[half(step)] if isinstance(reward, tuple) else target[language]
        query = draw.batch(data, settings.query, "query", step)
        if i >= 0:
            kind, source, support_data = "cross-task", names[i], english.sources[names[i]]
        else:
            candidates = [name for name in others if name != language]
            other = candidates[int(draw.rng("other", step).integers(len(candidates)))]
            kind, source, support_data = "cross-lingual", others[other].task, others[other]
        support = draw.batch(support_data, settings.support, "rows", step)
        about = {
            "kind": kind,
            "source": source,
            "support_language": support.language,
            "query_language": query.language,
        }
        return Episode(support, query, _pairs(parallel, settings, draw, step), about)

    def reward_batch(step: int) -> Batch:
        data = reward if isinstance(reward, TaskData) else reward[1 - half(step)]
        return draw.batch(data, settings.reward, "reward", step)

    return Curriculum(names, is_cross_task, episode, reward_batch)


def _need_others(languages: Sequence[str], others: Mapping[str, TaskData]) -> None:
    for language in languages:
        if not set(others) - {language}:
            raise UserError(
                f"no other language than {language!r} has labels for cross-lingual episodes",
                "target.auxiliary.languages",
                "name two languages or more, or set clml.cross_task to 1",
            )


def halves(shots: TaskData) -> tuple[TaskData, TaskData]:
    """Split shots into halves A and B: draws are nested, so each half is as stratified as the whole."""
    middle = len(shots) // 2
    return shots.subset(shots.ids[:middle]), shots.subset(shots.ids[middle:])


def _pairs(parallel: Mapping[str, Sequence[int]], settings: Meta, draw: Draw, step: int) -> Parallel | None:
    return draw.parallel(parallel, settings.pairs, step) if settings.alignment else None
