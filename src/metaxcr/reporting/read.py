"""A run folder as it lies on disk, complete or not.

A report must also be possible for a run that was stopped half-way, so nothing here raises over a missing or
damaged file: what could not be read becomes a note in plain words, and the rest is shown.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from metaxcr.diagnosis import Evidence
from metaxcr.errors import UserError
from metaxcr.parse import lines_of_text

Record = dict[str, Any]

_CONSEQUENCE = {
    "config.yaml": "the settings cannot be shown",
    "environment.json": "versions, hardware and command cannot be shown",
    "events.jsonl": "there are no learning curves and no sampler figures",
    "costs.json": "there are no costs",
    "results.json": "the run has not reached the end of its evaluation, so there are no accuracies",
    "alignment.json": "the measured alignment of the languages cannot be used",
    "shots/": "the ids of the labelled examples cannot be shown",
}


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The readable part of a run folder.

    Args:
        path: The folder.
        config: Resolved settings; empty when missing.
        config_text: The same settings as the text of the file.
        environment: Versions, hardware, commit, command.
        events: One record a step, in the order of the file.
        costs: Seconds, token-passes and memory per stage.
        results: Contents of ``results.json``.
        shots: One record per target task and seed: ``task, k, seed, ids``.
        alignment: Rows that ``metaxcr adapters align`` left; empty where it was not called.
        missing: Sentences on what could not be read.
    """

    path: Path
    config: Record = field(default_factory=dict)
    config_text: str = ""
    environment: Record = field(default_factory=dict)
    events: list[Record] = field(default_factory=list)
    costs: Record = field(default_factory=dict)
    results: Record = field(default_factory=dict)
    shots: list[Record] = field(default_factory=list)
    alignment: list[Record] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

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
        """What was both trained on and held out, in a run that allowed it: ``count, kinds, pairs``."""
        shares = self.results.get("shares")
        leaks = shares.get("leaks") if isinstance(shares, dict) else None
        return leaks if isinstance(leaks, dict) else {}

    @property
    def demonstration(self) -> bool:
        """Whether the target is the small machine-written set that ships with the package."""
        tasks = {str(row.get("task")) for row in records(self.results.get("averages"))}
        return "starter_target" in tasks | {self.target}


def records(value: object) -> list[Record]:
    """Return the dictionaries in ``value`` where it is a list, else nothing."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def read_run(run_dir: Path) -> RunFolder:
    """Read what there is of a run folder.

    Args:
        run_dir: The folder that ``metaxcr run`` wrote.

    Returns:
        The folder's contents; ``missing`` names what is absent or damaged.

    Raises:
        UserError: The folder does not exist, or holds none of a run's files.
    """
    if not run_dir.is_dir():
        raise UserError("no such run folder", str(run_dir), "give the folder that `metaxcr run --out` wrote")
    if not any((run_dir / name).exists() for name in _CONSEQUENCE):
        expected = ", ".join(_CONSEQUENCE)
        raise UserError("this is not a run folder", str(run_dir), f"it should hold some of {expected}")
    missing: list[str] = []
    config_text = _text(run_dir, "config.yaml", missing)
    config = _config(config_text, missing)
    return RunFolder(
        path=run_dir,
        config=config,
        config_text=config_text,
        environment=_json(run_dir, "environment.json", missing),
        events=_events(_text(run_dir, "events.jsonl", missing), missing),
        costs=_json(run_dir, "costs.json", missing),
        results=_json(run_dir, "results.json", missing),
        shots=_shots(run_dir, missing) if _with_shots(config) else [],
        alignment=_alignment(run_dir, missing),
        missing=missing,
    )


def _alignment(run_dir: Path, missing: list[str]) -> list[Record]:
    """Rows of alignment.json, which need not be there."""
    if not (run_dir / "alignment.json").exists():
        return []
    return records(_json(run_dir, "alignment.json", missing).get("rows"))


def _text(run_dir: Path, name: str, missing: list[str]) -> str:
    try:
        return (run_dir / name).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        missing.append(f"{name} is missing: {_CONSEQUENCE[name]}.")
    except OSError as error:
        missing.append(f"{name} cannot be read ({error.strerror}): {_CONSEQUENCE[name]}.")
    return ""


def _json(run_dir: Path, name: str, missing: list[str]) -> Record:
    text = _text(run_dir, name, missing)
    if not text:
        return {}
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        missing.append(f"{name} is damaged (line {error.lineno}): {_CONSEQUENCE[name]}.")
        return {}
    return value if isinstance(value, dict) else {}


def _config(text: str, missing: list[str]) -> Record:
    try:
        value = yaml.safe_load(text) if text else {}
    except yaml.YAMLError:
        missing.append("config.yaml is not valid YAML: the settings are shown as text only.")
        return {}
    return value if isinstance(value, dict) else {}


def _with_shots(config: Record) -> bool:
    """Whether the run used shots, as far as its settings say."""
    section = config.get("run")
    regimes = section.get("regimes") if isinstance(section, dict) else None
    return regimes is None or bool({"few-shot", "pooled-shots"} & set(regimes))


def _events(text: str, missing: list[str]) -> list[Record]:
    """Parse the lines; a process that was killed leaves half a line at the end, which is only counted."""
    events, bad = [], 0
    for line in lines_of_text(text):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            bad += 1
            continue
        if isinstance(event, dict) and isinstance(event.get("stage"), str):
            events.append(event)
        else:
            bad += 1
    if bad:
        missing.append(f"events.jsonl: {bad} unreadable line{'s' if bad > 1 else ''} left out.")
    return events


def _shots(run_dir: Path, missing: list[str]) -> list[Record]:
    folder = run_dir / "shots"
    if not folder.is_dir():
        missing.append(f"shots/ is missing: {_CONSEQUENCE['shots/']}.")
        return []
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            missing.append(f"shots/{path.name} is damaged and left out.")
            continue
        if isinstance(value, dict):
            found.append({"task": path.stem.rsplit(".seed", 1)[0], **value})
    return sorted(found, key=lambda shot: (str(shot["task"]), _number(shot, "k"), _number(shot, "seed")))


def _number(record: Record, key: str) -> int:
    value = record.get(key)
    return value if isinstance(value, int) else 0


def stages_without(events: Sequence[Record], expected: Sequence[str]) -> list[str]:
    """Return those of the expected stages that left no event."""
    seen = {event["stage"] for event in events}
    return [stage for stage in expected if stage not in seen]
