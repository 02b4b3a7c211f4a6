"""The tolerant reader of a run folder, for reports and diagnosis.

A missing or damaged file becomes a note, and the rest is read: runs that were stopped can be reported, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from metaxcr.config.regimes import WITH_SHOTS
from metaxcr.diagnosis.findings import Evidence
from metaxcr.errors import UserError
from metaxcr.evaluation.results import read_results
from metaxcr.parse import read_text
from metaxcr.records import (
    ALIGNMENT,
    CONFIG,
    COSTS,
    ENVIRONMENT,
    EVENTS,
    RESULTS,
    read_alignment,
    read_config_text,
    read_costs,
    read_environment,
    read_events,
    read_shots,
)

Record = dict[str, Any]
T = TypeVar("T")

_CONSEQUENCE = {
    CONFIG: "the settings cannot be shown",
    ENVIRONMENT: "versions, hardware and command cannot be shown",
    EVENTS: "there are no learning curves and no sampler figures",
    COSTS: "there are no costs",
    RESULTS: "the run has not reached the end of its evaluation, so there are no accuracies",
    ALIGNMENT: "the measured alignment of the languages cannot be used",
    "shots/": "the ids of the labelled examples cannot be shown",
}


@dataclass(frozen=True, slots=True)
class RunRecords:
    """The readable part of a run folder."""

    path: Path  # the folder
    config: Record = field(default_factory=dict)  # resolved settings; empty when missing
    config_text: str = ""  # the same settings as the text of the file
    environment: Record = field(default_factory=dict)  # versions, hardware, commit, command
    events: list[Record] = field(default_factory=list)  # one record a step, in the order of the file
    costs: Record = field(default_factory=dict)  # seconds, token-passes and memory per stage
    results: Record = field(default_factory=dict)  # contents of ``results.json``
    # one record per target task and seed: ``task, k, seed, ids``
    shots: list[Record] = field(default_factory=list)
    # rows that ``metaxcr adapters align`` left; empty where it was not called
    alignment: list[Record] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # sentences on what could not be read

    def stage(self, *names: str) -> list[Record]:
        """Return the events of the given stages."""
        return [event for event in self.events if event["stage"] in names]

    @property
    def evidence(self) -> Evidence:
        """What the rules of the diagnosis look at."""
        return Evidence(self.events, self.config, self.results, self.alignment)

    @property
    def target(self) -> str:
        """The target task: from the settings, otherwise the task with the most results, otherwise ``""``."""
        target = self.config.get("target")
        task = target.get("task", target.get("id")) if isinstance(target, dict) else target
        if isinstance(task, str) and task:
            return task
        tasks = [str(row.get("task", "")) for row in records(self.results.get("rows"))]
        return max(sorted(set(tasks)), key=tasks.count, default="")

    @property
    def leaks(self) -> Record:
        """Examples that were trained on and held out, in a run that allowed it: ``count, kinds, pairs``."""
        shares = self.results.get("shares")
        leaks = shares.get("leaks") if isinstance(shares, dict) else None
        return leaks if isinstance(leaks, dict) else {}

    @property
    def demonstration(self) -> bool:
        """Whether the target is the small machine-written set that ships with the package."""
        tasks = {str(row.get("task")) for row in records(self.results.get("averages"))}
        return "starter_target" in tasks | {self.target}


def records(value: object) -> list[Record]:
    """The dictionaries in ``value`` if it is a list, else nothing."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def read_run(run_dir: Path) -> RunRecords:
    """Read what there is of a run folder.

    Raises:
        UserError: The folder does not exist, or holds none of a run's files.
    """
    if not run_dir.is_dir():
        raise UserError("no such run folder", str(run_dir), "give the folder that `metaxcr run --out` wrote")
    if not any((run_dir / name).exists() for name in _CONSEQUENCE):
        expected = ", ".join(_CONSEQUENCE)
        raise UserError("this is not a run folder", str(run_dir), f"it should hold some of {expected}")
    missing: list[str] = []
    noted = partial(_noted, run_dir, missing)
    nothing: tuple[str, Record] = ("", {})
    config_text, config = noted(CONFIG, read_config_text, nothing)
    no_events: tuple[list[Record], list[int]] = ([], [])
    events, bad = noted(EVENTS, read_events, no_events)
    if bad:
        lines = f"line{'s' if len(bad) > 1 else ''}"
        first = ", ".join(map(str, bad[:3])) + (", ..." if bad[3:] else "")
        missing.append(f"{EVENTS}: {len(bad)} unreadable {lines} left out ({first}).")
    return RunRecords(
        path=run_dir,
        config=config,
        config_text=config_text or _as_it_is(run_dir / CONFIG),
        environment=noted(ENVIRONMENT, read_environment, {}),
        events=events,
        costs=noted(COSTS, read_costs, {}),
        results=noted(RESULTS, read_results, {}),
        shots=_shots(run_dir, missing) if _with_shots(config) else [],
        alignment=noted(ALIGNMENT, read_alignment, []) if (run_dir / ALIGNMENT).exists() else [],
        missing=missing,
    )


def _noted(folder: Path, missing: list[str], name: str, read: Callable[[Path], T], instead: T) -> T:
    """Read a file of the folder; if that fails, note why and what that means."""
    try:
        return read(folder / name)
    except UserError as error:
        if not (folder / name).exists():
            missing.append(f"{name} is missing: {_CONSEQUENCE[name]}.")
        else:
            where = (error.where or "").removeprefix(str(folder / name))
            line = where.removeprefix(":") if where.removeprefix(":").isdecimal() else ""
            place = f" (line {line})" if line else ""
            missing.append(f"{name} is damaged{place}: {error.what}: {_CONSEQUENCE[name]}.")
        return instead


def _as_it_is(path: Path) -> str:
    """The text of settings that cannot be parsed."""
    try:
        return read_text(path)
    except UserError:
        return ""


def _with_shots(config: Record) -> bool:
    """Whether the run used shots, as far as its settings say."""
    regimes = config.get("run", {}).get("regimes")
    return regimes is None or bool(set(WITH_SHOTS) & set(regimes))


def _shots(run_dir: Path, missing: list[str]) -> list[Record]:
    folder = run_dir / "shots"
    if not folder.is_dir():
        missing.append(f"shots/ is missing: {_CONSEQUENCE['shots/']}.")
        return []
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append({"task": path.stem.rsplit(".seed", 1)[0], **read_shots(path)})
        except UserError:
            missing.append(f"shots/{path.name} is damaged and left out.")
    return sorted(found, key=lambda shot: (str(shot["task"]), shot["k"], shot["seed"] or 0))


def stages_without(events: Sequence[Record], expected: Sequence[str]) -> list[str]:
    """The expected stages that left no event."""
    seen = {event["stage"] for event in events}
    return [stage for stage in expected if stage not in seen]
