"""Accuracies of ``results.json`` as objects: averages over languages, differences, single languages."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from metaxcr.evaluation.results import Place, Setting, regime_order
from metaxcr.evaluation.statistics import Estimate
from metaxcr.reports.run_records import Record, records


@dataclass(frozen=True, slots=True)
class Average:
    """Mean accuracy over the languages of one place for one setting."""

    place: Place
    setting: Setting
    value: Estimate
    langs: tuple[str, ...]
    seeds: int
    ci_kind: str
    mdd: float | None
    total_labels: int | None


@dataclass(frozen=True, slots=True)
class AccuracyDifference:
    """Paired difference of two settings' averages; the settings are given by their labels."""

    a: str
    b: str
    place: Place
    value: Estimate
    p: float | None
    mdd: float | None

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` only where the interval excludes zero."""
        return self.value.verdict

    @property
    def against_baseline(self) -> bool:
        """Whether ``b`` is the untrained similarity."""
        return "similarity" in self.b.split("/")


@dataclass(frozen=True, slots=True)
class LanguagePoint:
    """Accuracy of one setting in one language, over the seeds."""

    lang: str
    setting: Setting
    value: Estimate
    seeds: int
    n: int


def setting_of(record: Record) -> Setting:
    """Return the setting of a row or an average of ``results.json``."""
    return Setting(str(record.get("regime", "")), str(record.get("method", "")), int(record.get("k") or 0))


def place_of(record: Record) -> Place:
    """Return the place of a row, an average or a difference of ``results.json``."""
    return Place(
        *(
            str(record.get(key, default))
            for key, default in (("task", ""), ("split", ""), ("data", "repaired"))
        )
    )


def main_place(means: Iterable[Average], task: str) -> Place | None:
    """Return the place of a task that is shown first: repaired before raw data, test before other splits."""
    return min(
        {average.place for average in means if average.place.task == task}, key=_place_order, default=None
    )


def averages(results: Record) -> list[Average]:
    """Return the averages over languages, baseline first."""
    found = [
        Average(
            place=place_of(row),
            setting=setting_of(row),
            value=_estimate(row),
            langs=tuple(str(lang) for lang in row.get("langs") or ()),
            seeds=_count(row.get("seeds")),
            ci_kind=str(row.get("ci_kind") or ""),
            mdd=_float(row.get("mdd")),
            total_labels=row.get("total_labels"),
        )
        for row in records(results.get("averages"))
    ]
    return sorted(found, key=lambda average: (*_place_order(average.place), average.setting.order))


def differences(results: Record) -> list[AccuracyDifference]:
    """Return the paired differences, those from the baseline first."""
    found = [
        AccuracyDifference(
            a=str(row.get("a", "")),
            b=str(row.get("b", "")),
            place=place_of(row),
            value=_estimate(row),
            p=_float(row.get("p")),
            mdd=_float(row.get("mdd")),
        )
        for row in records(results.get("differences"))
    ]

    def order(item: AccuracyDifference) -> tuple[Any, ...]:
        return *_place_order(item.place), not item.against_baseline, regime_order(item.a.split("/")[0])

    return sorted(found, key=order)


def baseline_difference(average: Average, found: Iterable[AccuracyDifference]) -> AccuracyDifference | None:
    """Return the difference between an average and the untrained baseline, if it was computed."""
    for item in found:
        if item.against_baseline and (item.place, item.a) == (average.place, average.setting.label):
            return item
    return None


def language_points(results: Record, place: Place) -> list[LanguagePoint]:
    """Return one point per language and setting, over the seeds.

    A single row keeps its own interval. Over several seeds the interval needs the accuracies alone:
    se^2 = p (1 - p) / n + s^2 / seeds, with s^2 the variance between seeds, and Student's t with the degrees
    of freedom of :func:`metaxcr.evaluation.statistics.crossed_interval`. The first term also contains what
    the seeds do not share, so the interval is rather too wide.
    """
    groups: dict[tuple[str, Setting], list[Record]] = defaultdict(list)
    for row in records(results.get("rows")):
        if place_of(row) == place and _float(row.get("acc")) is not None:
            groups[str(row.get("lang", "")), setting_of(row)].append(row)
    points = []
    for (lang, setting), rows in groups.items():
        accs, n = [float(row["acc"]) for row in rows], min(int(row.get("n") or 0) for row in rows)
        value = _over_seeds(accs, n)
        if len(rows) == 1 and rows[0].get("ci95"):
            value = _estimate({**rows[0], "mean": accs[0]})
        points.append(LanguagePoint(lang, setting, value, len(accs), n))
    return sorted(points, key=lambda point: (point.lang, point.setting.order))


def _place_order(place: Place) -> tuple[str, bool, bool, Place]:
    return place.task, place.data != "repaired", place.split != "test", place


def _over_seeds(accs: list[float], n: int) -> Estimate:
    mean = float(np.mean(accs))
    if n < 2:
        return Estimate(mean)
    seeds = float(np.var(accs, ddof=1)) / len(accs) if len(accs) > 1 else 0.0
    total = mean * (1 - mean) / n + seeds
    if total == 0:
        return Estimate(mean, mean, mean)
    dof = min(n - 1, (len(accs) - 1) * total / seeds) if seeds else n - 1
    half = float(stats.t.ppf(0.975, dof)) * total**0.5
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half))


def _estimate(row: Record) -> Estimate:
    interval = row.get("ci95")
    low, high = interval if isinstance(interval, list) and len(interval) == 2 else (None, None)
    return Estimate(_float(row.get("mean")) or 0.0, _float(low), _float(high))


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _count(seeds: Any) -> int:
    """Return how many seeds: results may list them or count them."""
    if isinstance(seeds, list):
        return len(seeds)
    return int(seeds) if isinstance(seeds, int) else 0
