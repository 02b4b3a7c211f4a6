"""What a run folder holds, for reports and diagnosis: its files, and accuracies from its results.

A missing or damaged file becomes a note, and the rest is read: runs that were stopped can be reported, too.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from scipy import stats

from metaxcr import records
from metaxcr.config.regimes import WITH_SHOTS
from metaxcr.diagnosis.findings import Evidence
from metaxcr.errors import UserError
from metaxcr.evaluation.results import Place, Setting, read_results, regime_order
from metaxcr.evaluation.statistics import Estimate
from metaxcr.parse import read_text
from metaxcr.records import Record

T = TypeVar("T")
_CONSEQUENCE = {
    records.CONFIG: "the settings cannot be shown",
    records.ENVIRONMENT: "versions, hardware and command cannot be shown",
    records.EVENTS: "there are no learning curves and no sampler figures",
    records.COSTS: "there are no costs",
    records.RESULTS: "the run has not reached the end of its evaluation, so there are no accuracies",
    records.ALIGNMENT: "the measured alignment of the languages cannot be used",
    "shots/": "the ids of the labelled examples cannot be shown",
}


@dataclass(frozen=True)
class RunRecords(Evidence):
    """The readable part of a run folder: what the diagnosis looks at, and what else a report shows."""

    config_text: str = ""  # the settings as the text of the file
    environment: Record = field(default_factory=dict)  # versions, hardware, commit, command
    costs: Record = field(default_factory=dict)  # seconds, token-passes and memory per stage
    shots: list[Record] = field(default_factory=list)  # per target task and seed: ``task, k, seed, ids``
    missing: list[str] = field(default_factory=list)  # sentences on what could not be read

    def all_of(self, stage: str) -> list[Record]:
        """Return the events of a stage, also that of a step at which the training diverged."""
        return [event for event in self.events if event["stage"] == stage]

    @property
    def target(self) -> str:
        """The target task: from the settings, otherwise the task with the most results, otherwise ``""``."""
        target = self.config.get("target")
        task = target.get("task", target.get("id")) if isinstance(target, dict) else target
        tasks = [row["task"] for row in self.results.get("rows", ())]
        return str(task or max(sorted(set(tasks)), key=tasks.count, default=""))

    @property
    def leaks(self) -> Record:
        """Examples that were trained on and held out, in a run that allowed it: ``count, kinds, pairs``."""
        return self.results.get("shares", {}).get("leaks") or {}

    @property
    def demonstration(self) -> bool:
        """Whether the target is the small machine-written set that ships with the package."""
        return "starter_target" in {self.target, *(row["task"] for row in self.results.get("averages", ()))}


def read_run(run_dir: Path) -> RunRecords:
    """Read what there is of a run folder; UserError if it holds none of a run's files."""
    if not run_dir.is_dir():
        raise UserError("no such run folder", str(run_dir), "give the folder that `metaxcr run --out` wrote")
    if not any((run_dir / name).exists() for name in _CONSEQUENCE):
        expected = ", ".join(_CONSEQUENCE)
        raise UserError("this is not a run folder", str(run_dir), f"it should hold some of {expected}")
    missing: list[str] = []

    def read(name: str, reader: Callable[[Path], T], otherwise: T) -> T:
        try:
            return reader(run_dir / name)
        except UserError as error:
            missing.append(_note(run_dir / name, error))
            return otherwise

    nothing: tuple[str, Record] = ("", {})
    config_text, config = read(records.CONFIG, records.read_config_text, nothing)
    with suppress(UserError):  # settings that cannot be parsed are shown as they are
        config_text = config_text or read_text(run_dir / records.CONFIG)
    no_events: tuple[list[Record], list[int]] = ([], [])
    events, bad = read(records.EVENTS, records.read_events, no_events)
    if bad:
        lines = f"line{'s' if len(bad) > 1 else ''}"
        first = ", ".join(map(str, bad[:3])) + (", ..." if bad[3:] else "")
        missing.append(f"{records.EVENTS}: {len(bad)} unreadable {lines} left out ({first}).")
    regimes = config.get("run", {}).get("regimes")
    with_shots = regimes is None or set(WITH_SHOTS) & set(regimes)
    return RunRecords(
        config=config,
        config_text=config_text,
        environment=read(records.ENVIRONMENT, records.read_environment, {}),
        events=events,
        costs=read(records.COSTS, records.read_costs, {}),
        results=read(records.RESULTS, read_results, {}),
        shots=_shots(run_dir / "shots", missing) if with_shots else [],
        alignment=read(records.ALIGNMENT, records.read_alignment, [])
        if (run_dir / records.ALIGNMENT).exists()
        else [],
        missing=missing,
    )


def _note(path: Path, error: UserError) -> str:
    """Why a file could not be read, and what that means."""
    if not path.exists():
        return f"{path.name} is missing: {_CONSEQUENCE[path.name]}."
    line = (error.where or "").removeprefix(f"{path}:")
    place = f" (line {line})" if line.isdecimal() else ""
    return f"{path.name} is damaged{place}: {error.what}: {_CONSEQUENCE[path.name]}."


def _shots(folder: Path, missing: list[str]) -> list[Record]:
    if not folder.is_dir():
        missing.append(f"shots/ is missing: {_CONSEQUENCE['shots/']}.")
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append({"task": path.stem.rsplit(".seed", 1)[0], **records.read_shots(path)})
        except UserError:
            missing.append(f"shots/{path.name} is damaged and left out.")
    return sorted(found, key=lambda shot: (shot["task"], shot["k"], shot["seed"] or 0))


def stage_totals(costs: Record) -> dict[str, tuple[float, float, float]]:
    """By stage: seconds and token-passes, summed over seeds, and peak memory in MB."""
    totals: dict[str, tuple[float, float, float]] = {}
    for stage in costs.get("stages", ()):
        seconds, passes, peak = totals.get(stage["stage"], (0, 0, 0))
        spent = seconds + stage["seconds"], passes + stage["token_passes"]
        totals[stage["stage"]] = *spent, max(peak, stage["peak_rss_mb"])
    return totals


class Average(NamedTuple):
    """Mean accuracy over the languages of one place for one setting."""

    place: Place
    setting: Setting
    value: Estimate
    langs: Sequence[str]
    seeds: int
    total_labels: int | None


class AccuracyDifference(NamedTuple):
    """Paired difference of two settings' averages; the settings are given by their labels."""

    a: str
    b: str
    place: Place
    value: Estimate

    @property
    def against_baseline(self) -> bool:
        """Whether ``b`` is the untrained similarity."""
        return "similarity" in self.b.split("/")


class LanguagePoint(NamedTuple):
    """Accuracy of one setting in one language, over the seeds."""

    lang: str
    setting: Setting
    value: Estimate


def setting_of(row: Record) -> Setting:
    """Return the setting of a row or an average of ``results.json``."""
    return Setting(row["regime"], row["method"], row["k"])


def place_of(row: Record) -> Place:
    """Return the place of a row, an average or a difference of ``results.json``."""
    return Place(row.get("task", ""), row.get("split", ""), row.get("data", "repaired"))


def main_place(means: Iterable[Average], task: str) -> Place | None:
    """Return the place of a task that is shown first: repaired before raw data, test before other splits."""
    return min((mean.place for mean in means if mean.place.task == task), key=_place_order, default=None)


def averages(results: Record) -> list[Average]:
    """Return the averages over languages, baseline first."""
    found = [
        Average(place_of(r), setting_of(r), _estimate(r), r["langs"], len(r["seeds"]), r.get("total_labels"))
        for r in results.get("averages", ())
    ]
    return sorted(found, key=lambda average: (*_place_order(average.place), average.setting.order))


def differences(results: Record) -> list[AccuracyDifference]:
    """Return the paired differences, those from the baseline first."""
    rows = results.get("differences", ())
    found = [AccuracyDifference(row["a"], row["b"], place_of(row), _estimate(row)) for row in rows]

    def order(item: AccuracyDifference) -> tuple[Any, ...]:
        return *_place_order(item.place), not item.against_baseline, regime_order(item.a.split("/")[0])

    return sorted(found, key=order)


def language_points(results: Record, place: Place) -> list[LanguagePoint]:
    """Return one point per language and setting, over the seeds.

    A single row keeps its own interval. Over several seeds the interval needs the accuracies alone:
    se^2 = p (1 - p) / n + s^2 / seeds, with s^2 the variance between seeds, and Student's t with the degrees
    of freedom of :func:`metaxcr.evaluation.statistics.crossed_interval`. The first term also contains what
    the seeds do not share, so the interval is rather too wide.
    """
    groups: dict[tuple[str, Setting], list[Record]] = defaultdict(list)
    for row in results.get("rows", ()):
        if place_of(row) == place:
            groups[row["lang"], setting_of(row)].append(row)
    points = []
    for (lang, setting), rows in groups.items():
        accs, n = [float(row["acc"]) for row in rows], min(row["n"] for row in rows)
        low, high = (rows[0].get("ci95") if len(rows) == 1 else None) or (None, None)
        value = _over_seeds(accs, n) if low is None else Estimate(accs[0], low, high, n=n)
        points.append(LanguagePoint(lang, setting, value))
    return sorted(points, key=lambda point: (point.lang, point.setting.order))


def _place_order(place: Place) -> tuple[str, bool, bool, Place]:
    return place.task, place.data != "repaired", place.split != "test", place


def _over_seeds(accs: list[float], n: int) -> Estimate:
    mean = float(np.mean(accs))
    if n < 2:
        return Estimate(mean, n=n)
    seeds = float(np.var(accs, ddof=1)) / len(accs) if len(accs) > 1 else 0.0
    total = mean * (1 - mean) / n + seeds
    if total == 0:
        return Estimate(mean, mean, mean, n=n)
    dof = min(n - 1, (len(accs) - 1) * total / seeds) if seeds else n - 1
    half = float(stats.t.ppf(0.975, dof)) * total**0.5
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), n=n)


def _estimate(row: Record) -> Estimate:
    low, high = row["ci95"] or (None, None)
    return Estimate(row["mean"], low, high, row.get("ci_kind"), mdd=row.get("mdd"), p=row.get("p"))
