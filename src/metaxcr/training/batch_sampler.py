"""Drawing batches: a draw depends only on the seed, the stage, its use and the step."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metaxcr.config.schema import Meta
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.errors import UserError
from metaxcr.meta.learners import make_learner
from metaxcr.model.batch import Batch, Parallel, TaskData, make_batch
from metaxcr.seeding import rng


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
class BatchSampler:
    """Draws batches for one stage of one seed.

    Attributes:
        store: Trunk activations.
        seed: Of the run.
        purpose: Of the stage; two stages never share a stream.
    """

    store: ActivationCache
    seed: int
    purpose: str

    def rng(self, what: str, step: int) -> np.random.Generator:
        """The random generator for one use at one step."""
        return rng(self.seed, f"{self.purpose}/{what}", step)

    def one_of(self, names: Sequence[str], what: str, step: int) -> str:
        """A name, each with the same probability."""
        return names[int(self.rng(what, step).integers(len(names)))]

    def batch(self, data: TaskData, size: int, what: str, step: int) -> Batch:
        """A batch without repetition; the whole set where it is smaller than ``size``."""
        rows = self.rng(what, step).choice(len(data), min(size, len(data)), replace=False)
        return make_batch(data, rows.tolist(), self.store)

    def two_batches(
        self, data: TaskData, first: int, second: int, step: int, what: str = "rows"
    ) -> tuple[Batch, Batch]:
        """Two batches of one set that share no question (a set too small for both is split in proportion)."""
        if len(data) < 2:
            raise UserError(
                f"{data.task} has no question left for a query", "sources", "raise its cap to 2 or more"
            )
        order = self.rng(what, step).permutation(len(data))[: first + second].tolist()
        at = cut(len(order), first, second)
        return make_batch(data, order[:at], self.store), make_batch(data, order[at:], self.store)

    def across(self, support: TaskData, query: TaskData, first: int, second: int, step: int) -> list[Batch]:
        """Support and query from two sets that share no item.

        Two languages of one task have the same items: a query whose translation is in the support would be
        answered from memory. A set too small for both is split in proportion.

        Args:
            support: Where the support comes from.
            query: Where the query comes from.
            first: Questions of the support.
            second: Questions of the query.
            step: Of the stage.

        Returns:
            The support, the query.

        Raises:
            UserError: There is only one item.
        """
        shared = set(support.ids) & set(query.ids) if support.task == query.task else set()
        second = min(second, len(query))
        if shared and len(support) - second < first:
            second = len(query) - cut(len(query), first, second)
        rows = self.rng("query", step).choice(len(query), second, replace=False).tolist()
        taken = shared & {query.ids[row] for row in rows}
        free = [row for row, name in enumerate(support.ids) if name not in taken]
        if not rows or not free:
            raise UserError(f"{query.task} has one item: too few for support and query", "target", "give two")
        chosen = self.rng("rows", step).choice(len(free), min(first, len(free)), replace=False)
        return [
            make_batch(support, [free[n] for n in chosen.tolist()], self.store),
            make_batch(query, rows, self.store),
        ]

    def target(self, data: TaskData, settings: Meta, step: int) -> tuple[Batch, Batch] | None:
        """Two batches of target-task data for learners with a phase on the target; None for others."""
        if not make_learner(settings).wants_target:
            return None
        return self.two_batches(data, settings.support, settings.query, step, "target")

    def alignment(self, texts: Mapping[str, Sequence[int]], settings: Meta, step: int) -> Parallel | None:
        """Sentence pairs of English and one other language; None in a step without the alignment term."""
        drawn = self._pairs(texts, settings, step)
        if drawn is None:
            return None
        language, one, other = drawn
        return (self.store.gather(one), "en"), (self.store.gather(other), language)

    def _pairs(
        self, texts: Mapping[str, Sequence[int]], settings: Meta, step: int
    ) -> tuple[str, list[int], list[int]] | None:
        """The other language of :meth:`alignment`, and the numbers of the English and the other sentences."""
        language = aligned_language(texts, settings, step)
        if language is None:
            return None
        size = min(settings.pairs, len(texts["en"]))
        rows = self.rng("pairs", step).choice(len(texts["en"]), size, replace=False)
        return language, [texts["en"][r] for r in rows], [texts[language][r] for r in rows]

    def encode_pairs(
        self,
        texts: Mapping[str, Sequence[int]],
        settings: Meta,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Compute the trunk's values for the sentence pairs of a whole stage: many at once take less time.

        Args:
            texts: Language -> its sentences, aligned.
            settings: Of the stage.
            progress: See :meth:`metaxcr.encoders.activation_cache.ActivationCache.provide`.
        """
        drawn = (self._pairs(texts, settings, step) for step in range(settings.steps))
        self.store.prefetch({n for found in drawn if found for n in (*found[1], *found[2])}, progress)


def aligned_language(languages: Iterable[str], settings: Meta, step: int) -> str | None:
    """The language whose sentences a step aligns with English, all in turn; None: it aligns none."""
    others = [language for language in languages if language != "en"]
    if not settings.alignment or not others or step % settings.alignment_every:
        return None
    return others[step // settings.alignment_every % len(others)]


def cut(size: int, first: int, second: int) -> int:
    """Where to cut ``size`` questions into a support and a query in proportion, one in each at least."""
    size = min(size, first + second)
    return min(max(1, round(size * first / (first + second))), size - 1)


def halves(shots: TaskData) -> tuple[TaskData, TaskData]:
    """Split shots into halves A and B: draws are nested, so each half is as stratified as the whole."""
    middle = len(shots) // 2
    return shots.subset(shots.ids[:middle]), shots.subset(shots.ids[middle:])
