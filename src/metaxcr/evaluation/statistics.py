"""Means of scores over items, training seeds and languages, with intervals, and tests of paired differences.

Both the items of a test set and the seeds of a training run are samples: other items, or other
seeds, would have given another number. Every item is answered by every seed, so the design is the
two-way crossed random-effects layout with one observation a cell, and the interval follows from its
mean squares (Searle, Casella and McCulloch, *Variance Components*, 1992, ch. 4). A bootstrap over the
items alone ignores the seeds and covers 76 to 89 % where 95 % is claimed (500 items, 3 seeds).

One model serves a run's results, comparisons, and the reports of both.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from metaxcr.errors import UserError
from metaxcr.seeding import rng

T = TypeVar("T")
Scores = NDArray[np.floating[Any]]
ItemScores = Mapping[str, float]  # item id -> 1: right, 0: wrong
SeedScores = Mapping[int | None, ItemScores]  # None: a deterministic method, which stands for every seed
LanguageScores = Mapping[str, SeedScores]

SOURCE_LANGUAGE = "en"  # what was trained on is not part of an average over target languages
SEEDS_AGREE = 0.25  # of the residual mean square: MS_seeds counts as no less
EXACT = 14  # up to this many differing items all sign patterns of a permutation test are tried
BLOCK = 512  # of its random draws at a time: bounds the memory


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the interval around it, in the unit of the scores."""

    mean: float
    low: float
    high: float
    se: float
    dof: float
    kind: str  # what is random: "items x seeds", or "items", without how the mean varies with the seed


@dataclass(frozen=True, slots=True)
class Difference(Interval):
    """The mean of ``a - b``, its interval and the two-sided p value of "no difference", from the same t."""

    p: float


class MeanSquares(NamedTuple):
    """Mean squares of the two-way crossed layout with one observation a cell."""

    items: float
    seeds: float
    residual: float


def mean_squares(scores: Scores) -> MeanSquares:
    """Return the analysis-of-variance mean squares of a table of shape (items, seeds), at least 2 x 2."""
    items, seeds = scores.shape
    grand = scores.mean()
    by_item, by_seed = scores.mean(axis=1), scores.mean(axis=0)
    residual = scores - by_item[:, None] - by_seed[None, :] + grand
    return MeanSquares(
        items=float(seeds * np.square(by_item - grand).sum() / (items - 1)),
        seeds=float(items * np.square(by_seed - grand).sum() / (seeds - 1)),
        residual=float(np.square(residual).sum() / ((items - 1) * (seeds - 1))),
    )


def crossed_interval(scores: Scores, level: float = 0.95) -> Interval:
    """Return the t interval of the grand mean when items and seeds are both random.

    The variance of the grand mean is (MS_items + MS_seeds - MS_residual) / (items * seeds), where the
    component of the items is at least zero and MS_seeds at least a quarter of MS_residual, because a few
    seeds agree better than that by chance. With c the share of MS_seeds in that variance, the degrees of
    freedom are (seeds - 1) / c, at most items - 1. With them t^2 agrees to first order with a quantile for
    each mean square, t_(items-1)^2 var_items + t_(seeds-1)^2 var_seeds, which is proved to cover (Banerjee,
    *Metrika* 3, 1960). Satterthwaite's degrees of freedom grow with 1 / c^2, so that three seeds which happen
    to agree count as many: ``docs/results/coverage.py`` measures the difference.

    ``scores`` has shape (items, seeds) or (items,), one score a cell: 0 or 1, or a difference of them.

    Raises:
        ValueError: Fewer than two items, no seed, values that are not finite, or a level outside (0, 1).
    """
    table = _as_table(scores)
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    mean = float(table.mean())
    se, dof, kind = _standard_error(table)
    half = float(stats.t.ppf(0.5 + level / 2, dof)) * se
    return Interval(mean, mean - half, mean + half, se, dof, kind)


def paired_difference(a: Scores, b: Scores, level: float = 0.95) -> Difference:
    """Return the interval and p value of the mean of ``a - b`` on the same items and seeds.

    Pairing removes what both methods find easy or hard; without it differences of one or two points drown in
    the spread of the items. Both have shape (items, seeds), rows in the same order; a deterministic method
    has one column, which stands for every seed.

    Raises:
        ValueError: The tables do not match, or :func:`crossed_interval` refuses their difference.
    """
    first, second = _as_table(a), _as_table(b)
    (items, seeds), (other_items, other_seeds) = first.shape, second.shape
    if items != other_items:
        raise ValueError(f"paired tables need the same items, not {items} and {other_items}")
    if seeds != other_seeds and 1 not in (seeds, other_seeds):
        raise ValueError(f"paired tables need the same seeds, not {seeds} and {other_seeds}")
    found = crossed_interval(first - second, level)
    p = 1.0 if found.mean == 0 else 0.0
    if found.se > 0:
        p = float(2 * stats.t.sf(abs(found.mean) / found.se, found.dof))
    return Difference(found.mean, found.low, found.high, found.se, found.dof, found.kind, p)


def minimum_detectable_difference(se: float, dof: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the smallest true difference that a two-sided test of this precision finds with ``power``.

    (t_(1 - alpha/2) + t_power) se (Bloom, *Evaluation Review* 19, 1995): 2.80 se at many degrees of freedom.
    """
    return float((stats.t.ppf(1 - alpha / 2, dof) + stats.t.ppf(power, dof)) * se)


def language_average(blocks: Sequence[tuple[Sequence[str], Scores]]) -> Scores:
    """Return one row per item id whose grand mean is the average over languages, all with the same weight.

    Translations of one item succeed and fail together, so the item id, not the pair (item, language),
    is the unit that was sampled. In a parallel set the row of an id is the plain mean over the languages.
    Elsewhere, a row is the id's linearised contribution to the average of the language means,
    grand + sum over its languages of (N / (L n_l)) (score - mean_l), as for a cluster sample.

    Each block is (ids, scores of shape (items, seeds)) of one language, with the same seeds in all. The rows
    of the answer are in the order of the sorted ids.
    """
    order = {name: row for row, name in enumerate(sorted({name for ids, _ in blocks for name in ids}))}
    grand = float(np.mean([scores.mean() for _, scores in blocks]))
    rows = np.full((len(order), max(scores.shape[1] for _, scores in blocks)), grand)
    for ids, scores in blocks:
        weight = len(order) / (len(blocks) * len(ids))
        rows[[order[name] for name in ids]] += weight * (scores - scores.mean())
    return rows


def _as_table(scores: Scores) -> NDArray[np.float64]:
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 1:
        raise ValueError(f"an interval needs at least two items and one seed, not shape {np.shape(scores)}")
    if not np.isfinite(table).all():
        raise ValueError("scores must be finite")
    return table


def _standard_error(table: NDArray[np.float64]) -> tuple[float, float, str]:
    """Standard error of the grand mean, its degrees of freedom, and what was treated as random."""
    items, seeds = table.shape
    if seeds == 1:
        return float(table.std(ddof=1) / np.sqrt(items)), float(items - 1), "items"
    ms = mean_squares(table)
    total = max(ms.items - ms.residual, 0.0) + max(ms.seeds, SEEDS_AGREE * ms.residual)
    dof = min(items - 1, (seeds - 1) * total / ms.seeds) if ms.seeds > 0 else items - 1
    return float(np.sqrt(total / (items * seeds))), float(dof), "items x seeds"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean accuracy or difference, as a fraction, with its 95 % interval, clipped to what is possible.

    Without enough items for an interval, all but ``mean`` and ``n`` is None. ``mdd`` of an accuracy is the
    minimum detectable difference from a fixed number; ``p`` is that of a difference; ``n`` counts distinct
    item ids.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    kind: str | None = None
    se: float | None = None
    dof: float | None = None
    mdd: float | None = None
    p: float | None = None
    n: int = 0

    @property
    def ci95(self) -> list[float] | None:
        """The interval as files have it."""
        return None if self.low is None or self.high is None else [self.low, self.high]

    @property
    def verdict(self) -> str:
        """Of a difference: ``better`` or ``worse`` only where the interval excludes zero."""
        if self.low is not None and self.low > 0:
            return "better"
        return "worse" if self.high is not None and self.high < 0 else "no difference shown"


def accuracy(table: Scores) -> Estimate:
    """The mean of a table of scores of shape (items, seeds)."""
    if len(table) < 2:
        return Estimate(float(table.mean()), n=len(table))
    return _estimate(crossed_interval(table), 0.0, len(table))


def accuracy_difference(first: Scores, second: Scores) -> Estimate:
    """The mean of ``first - second``, paired on items (two or more) and seeds."""
    found = paired_difference(first, second)
    return _estimate(found, -1.0, len(first), found.p)


def _estimate(found: Interval, lowest: float, n: int, p: float | None = None) -> Estimate:
    low, high = max(lowest, found.low), min(1.0, found.high)
    mdd = minimum_detectable_difference(found.se, found.dof)
    return Estimate(found.mean, low, high, found.kind, found.se, found.dof, mdd, p, n)


def target_languages(languages: Iterable[str]) -> list[str]:
    """The languages that an average is over: all but the one that was learned from, sorted."""
    return sorted(language for language in languages if language != SOURCE_LANGUAGE)


def common_seeds(sides: Sequence[LanguageScores], languages: Sequence[str]) -> list[int | None]:
    """Seeds that all languages of all sides have; ``[None]`` if all are deterministic."""
    sets = [set(side[lang]) for side in sides for lang in languages if None not in side[lang]]
    return sorted(set.intersection(*sets), key=lambda seed: seed or 0) if sets else [None]


def named_seeds(seeds: Sequence[int | None]) -> list[int]:
    """The training seeds, for a file; empty for a deterministic method."""
    return [seed for seed in seeds if seed is not None]


def score_tables(
    sides: Sequence[LanguageScores], languages: Sequence[str], seeds: Sequence[int | None]
) -> list[Scores]:
    """One table of shape (item ids, seeds) a side: the average over languages, on the items that all have."""
    blocks: list[list[tuple[list[str], Scores]]] = [[] for _ in sides]
    for language in languages:
        chosen = [[of_seed(side[language], seed) for seed in seeds] for side in sides]
        ids = sorted(set.intersection(*(set(scores) for side in chosen for scores in side)))
        if not ids:
            raise UserError("predictions have no item in common", language)
        for block, side in zip(blocks, chosen, strict=True):
            block.append((ids, np.array([[scores[name] for scores in side] for name in ids], np.float64)))
    return [language_average(block) for block in blocks]


def of_seed(by_seed: Mapping[int | None, T], seed: int | None) -> T:
    """What belongs to a seed; a deterministic method stands for every seed."""
    return by_seed[None] if None in by_seed else by_seed[seed]


def sign_flip_test(difference: NDArray[np.floating[Any]], draws: int = 9999, seed: int = 0) -> float:
    """Return the two-sided p value of "no difference", by flipping the signs of whole items.

    Where two methods do not differ, an item's difference is as likely to have either sign. The translations
    and seeds of an item succeed and fail together, so the item is the unit and flips as a whole. The seeds of
    training count as fixed: the test is about these runs on other items. p is the share of sign patterns
    whose mean is at least as far from zero, the observed one included (so never 0). Up to :data:`EXACT` items
    all patterns are tried, else ``draws`` random ones. ``scipy.stats.permutation_test`` doubles the smaller
    tail of its own patterns; these stay because the published p values would change by the Monte-Carlo error.

    Source:
        Fisher 1935; Dror et al. 2018 (ACL, The Hitchhiker's Guide to Testing Statistical Significance in
        NLP); Phipson and Smyth 2010 for the observed pattern's place among the draws.
    """
    rows = np.asarray(difference, dtype=np.float64)
    rows = rows.reshape(len(rows), -1).mean(axis=1)
    rows = rows[rows != 0]  # items without a difference change no mean
    if not rows.size:
        return 1.0
    observed = abs(rows.sum()) - 1e-12 * np.abs(rows).sum()  # equal sums must compare as equal
    if len(rows) <= EXACT:
        patterns = np.array(list(itertools.product((-1.0, 1.0), repeat=len(rows))))
        return float(np.mean(np.abs(patterns @ rows) >= observed))
    generator, extreme = rng(seed, "permutation", 0), 0
    for begin in range(0, draws, BLOCK):
        size = min(BLOCK, draws - begin)
        signs = generator.integers(0, 2, (size, len(rows)), dtype=np.int8) * 2.0 - 1.0
        extreme += int(np.sum(np.abs(signs @ rows) >= observed))
    return (extreme + 1) / (draws + 1)


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p values so that the chance of *any* false finding stays below the level (Holm 1979).

    The adjusted p_(i) is the maximum over j <= i of min(1, (m - j + 1) p_(j)); the order is kept.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.maximum.accumulate(np.arange(len(values), 0, -1) * values[order])
    return [float(value) for value in np.minimum(1.0, adjusted)[np.argsort(order)]]


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjust p values so that the expected *share* of false findings stays below the level.

    Benjamini and Hochberg 1995, for tests that are independent or positively dependent.
    """
    return [float(value) for value in stats.false_discovery_control(p)] if len(p) else []
