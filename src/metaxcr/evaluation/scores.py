"""Scores of items by language and seed, and the means and paired differences that are computed from them.

One model for a run's results, for comparisons and for the reports of both.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from metaxcr.config.regimes import REGIMES
from metaxcr.errors import UserError
from metaxcr.evaluation.statistics import (
    Scores,
    crossed_interval,
    language_average,
    minimum_detectable_difference,
    paired_difference,
)

T = TypeVar("T")
SOURCE_LANGUAGE = "en"  # what was trained on is not part of an average over target languages

ItemScores = Mapping[str, float]  # item id -> 1: right, 0: wrong
SeedScores = Mapping[int | None, ItemScores]  # None: a deterministic method, which stands for every seed
LanguageScores = Mapping[str, SeedScores]


class Place(NamedTuple):
    """Where accuracies are measured; only those of one place are compared."""

    task: str
    split: str
    data: str


class Setting(NamedTuple):
    """What was trained and with which labels: one colour in every figure, one row in every table."""

    regime: str
    method: str
    k: int

    @property
    def label(self) -> str:
        """The name in files, such as ``few-shot/finetune/k=16`` or ``similarity``."""
        name = self.method if self.regime == "none" else f"{self.regime}/{self.method}"
        return f"{name}/k={self.k}" if self.k else name

    @property
    def title(self) -> str:
        """The setting in words."""
        if self.regime == "none":
            return f"{self.method} (untrained)"
        shots = f", {self.k} shots" if self.k else ""
        return f"{self.regime}, {self.method}{shots}"

    @property
    def order(self) -> tuple[int, int, str]:
        """Sort key: baseline first, then by how many target-language labels a regime may see."""
        return regime_order(self.regime), self.k, self.method


def regime_order(regime: str) -> int:
    """Position of a regime in tables; unknown ones come last."""
    return list(REGIMES).index(regime) if regime in REGIMES else len(REGIMES)


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
    found = crossed_interval(table)
    return Estimate(
        float(table.mean()), max(0.0, found.low), min(1.0, found.high), found.kind, found.se, found.dof,
        minimum_detectable_difference(found.se, found.dof), n=len(table),
    )  # fmt: skip


def accuracy_difference(first: Scores, second: Scores) -> Estimate:
    """The mean of ``first - second``, paired on items (two or more) and seeds."""
    found = paired_difference(first, second)
    return Estimate(
        found.mean, max(-1.0, found.low), min(1.0, found.high), found.kind, found.se, found.dof,
        minimum_detectable_difference(found.se, found.dof), found.p, len(first),
    )  # fmt: skip


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
    """One table of shape (item ids, seeds) a side: the average over languages, on the items that all have.

    Raises:
        UserError: There is no item in common.
    """
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
