"""Accuracies of a run: settings, averages over languages, paired differences, one language at a time."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from metaxcr.config.regimes import REGIMES
from metaxcr.evaluation.predictions import setting_label
from metaxcr.reports.run_records import Record, records


class Place(NamedTuple):
    """Where accuracies are measured; only those of one place are compared."""

    task: str
    split: str
    data: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What was trained and with which labels: one colour in every figure, one row in every table."""

    regime: str
    method: str
    k: int

    @property
    def label(self) -> str:
        """The label used by ``differences`` in ``results.json``."""
        return setting_label(self.regime, self.method, self.k)

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
        place = list(REGIMES).index(self.regime) if self.regime in REGIMES else len(REGIMES)
        return place, self.k, self.method


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval; all three are fractions, ``low`` and ``high`` None where there is none."""

    mean: float
    low: float | None
    high: float | None


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
    """Paired difference of two settings' averages."""

    a: str
    b: str
    place: Place
    value: Estimate
    p: float | None
    mdd: float | None

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` only where the interval excludes zero."""
        if self.value.low is not None and self.value.low > 0:
            return "better"
        return "worse" if self.value.high is not None and self.value.high < 0 else "no difference shown"

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
    """Return the setting that a row or an average of ``results.json`` belongs to."""
    return Setting(str(record.get("regime", "")), str(record.get("method", "")), int(record.get("k") or 0))


def place_of(record: Record) -> Place:
    """Return the place that a row, an average or a difference of ``results.json`` belongs to."""
    task, split, data = (
        str(record.get(key, default)) for key, default in Place("", "", "repaired")._asdict().items()
    )
    return Place(task, split, data)


def main_place(means: Iterable[Average], task: str) -> Place | None:
    """Return the place of a task that is shown first: repaired before raw data, test before other splits."""
    return min({average.place for average in means if average.place.task == task}, key=_first, default=None)


def averages(results: Record) -> list[Average]:
    """Return the averages over languages, baseline first."""
    found = [
        Average(
            place=place_of(item),
            setting=setting_of(item),
            value=_estimate(item),
            langs=tuple(str(lang) for lang in item.get("langs") or ()),
            seeds=_count(item.get("seeds")),
            ci_kind=str(item.get("ci_kind") or ""),
            mdd=_float(item.get("mdd")),
            total_labels=item.get("total_labels"),
        )
        for item in records(results.get("averages"))
    ]
    return sorted(found, key=lambda average: (*_first(average.place), average.setting.order))


def differences(results: Record) -> list[AccuracyDifference]:
    """Return the paired differences, those against the baseline first."""
    found = [
        AccuracyDifference(
            a=str(item.get("a", "")),
            b=str(item.get("b", "")),
            place=place_of(item),
            value=_estimate(item),
            p=_float(item.get("p")),
            mdd=_float(item.get("mdd")),
        )
        for item in records(results.get("differences"))
    ]
    order = {regime: place for place, regime in enumerate(REGIMES)}
    return sorted(
        found,
        key=lambda item: (
            *_first(item.place),
            not item.against_baseline,
            order.get(item.a.split("/")[0], len(order)),
        ),
    )


def baseline_difference(average: Average, found: Iterable[AccuracyDifference]) -> AccuracyDifference | None:
    """Return the difference between an average and the untrained baseline, where it was computed."""
    for item in found:
        if item.against_baseline and (item.place, item.a) == (average.place, average.setting.label):
            return item
    return None


def language_points(results: Record, place: Place) -> list[LanguagePoint]:
    """Return one point per language and setting, over the seeds.

    A single row keeps its own interval. Over several seeds the interval needs nothing but the accuracies:
    se^2 = p (1 - p) / n + s^2 / seeds, with s^2 the variance between seeds, and Student's t with the degrees
    of freedom of :func:`metaxcr.evaluation.statistics.crossed_interval`. The first term also counts what the
    seeds do not share, so the interval errs on the wide side.

    Args:
        results: Contents of ``results.json``.
        place: Task, split and data.
    """
    groups: dict[tuple[str, Setting], list[Record]] = defaultdict(list)
    for row in records(results.get("rows")):
        if place_of(row) == place:
            groups[str(row.get("lang", "")), setting_of(row)].append(row)
    points = []
    for (lang, setting), rows in groups.items():
        accs = [float(row["acc"]) for row in rows if _float(row.get("acc")) is not None]
        sizes = [int(row.get("n") or 0) for row in rows]
        if accs:
            value = _row_interval(accs, min(sizes))
            if len(rows) == 1 and rows[0].get("ci95"):
                value = _estimate({**rows[0], "mean": accs[0]})
            points.append(LanguagePoint(lang, setting, value, len(accs), min(sizes)))
    return sorted(points, key=lambda point: (point.lang, point.setting.order))


def _first(place: Place) -> tuple[str, bool, bool, Place]:
    return place.task, place.data != "repaired", place.split != "test", place


def _row_interval(accs: list[float], n: int, level: float = 0.95) -> Estimate:
    mean = float(np.mean(accs))
    if n < 2:
        return Estimate(mean, None, None)
    items = mean * (1 - mean) / n
    seeds = float(np.var(accs, ddof=1)) / len(accs) if len(accs) > 1 else 0.0
    total = items + seeds
    if total == 0:
        return Estimate(mean, mean, mean)
    dof = min(n - 1, (len(accs) - 1) * total / seeds) if seeds else n - 1
    half = float(stats.t.ppf(0.5 + level / 2, dof)) * total**0.5
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half))


def _estimate(item: Record) -> Estimate:
    interval = item.get("ci95")
    low, high = interval if isinstance(interval, list) and len(interval) == 2 else (None, None)
    return Estimate(_float(item.get("mean")) or 0.0, _float(low), _float(high))


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _count(seeds: Any) -> int:
    """Return how many seeds: results may list them or count them."""
    if isinstance(seeds, list):
        return len(seeds)
    return int(seeds) if isinstance(seeds, int) else 0
