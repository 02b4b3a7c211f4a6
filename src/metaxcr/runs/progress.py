"""Progress of long work, on the console and in experiment trackers.

A terminal gets a bar with the time left, a log a line every 15 seconds. Trackers (TensorBoard, trackio,
MLflow, Weights & Biases, through ``accelerate``) get the events and the averages of the results; the run
continues without a tracker that fails.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from metaxcr.errors import UserError
from metaxcr.files import write_json

SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Shows one activity at a time; a bar appears only on a terminal, with ``quiet`` nothing but messages."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self.console, self.quiet = console, quiet
        self._bar: Bar | None = None
        self._label, self._begun, self._last_line = "", 0.0, 0.0

    def say(self, line: str) -> None:
        """Write a line."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def update(self, label: str, done: int, total: int, note: str = "") -> None:
        """Show that ``done`` of ``total`` steps of an activity are done."""
        if self.quiet:
            return
        if label != self._label:
            self.finish()
            self._label, self._begun, self._last_line = label, time.monotonic(), time.monotonic()
        if self.console.is_terminal:
            self._draw(label, done, total, note)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            left = (self._last_line - self._begun) / done * (total - done) if done else None
            about = "" if left is None else f", about {left:.0f} s left"
            self.say(f"  {label}: {done}/{total}{about} {note}".rstrip())

    def finish(self) -> None:
        """End the current activity."""
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._label = None, ""

    def _draw(self, label: str, done: int, total: int, note: str) -> None:
        if self._bar is None:
            columns = [
                *(TextColumn("  {task.description}", markup=False), BarColumn(24), MofNCompleteColumn()),
                *(TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()),
                TextColumn("{task.fields[note]}", markup=False),
            ]
            self._bar = Bar(*columns, console=self.console, transient=True)
            self._bar.start()
            self._bar.add_task(label, total=total, note=note)
        self._bar.update(self._bar.task_ids[0], completed=done, note=note)


PROJECT = "metaxcr"
RECORD = "tracking.json"  # in the run folder: how many events a tracker got, and its names for the run
LABELS = ("stage", "seed", "step", "language", "regime")  # of an event; no values

Event = Mapping[str, Any]


class Kind(NamedTuple):
    """How to use one of ``accelerate``'s trackers."""

    package: str  # the package that it needs
    forwards: bool  # its steps may only increase: it counts events instead of the steps of a stage
    # its arguments, from the run folder and the tracker's record there
    options: Callable[[Path, dict[str, Any]], dict[str, Any]]


KINDS = {
    "tensorboard": Kind("tensorboard", False, lambda folder, record: {
        "run_name": "tensorboard", "logging_dir": folder / "tracking",
    }),
    "trackio": Kind("trackio", True, lambda folder, record: {
        "run_name": PROJECT, "name": f"{folder.name}-{record['id']}", "resume": "allow",
    }),
    "mlflow": Kind("mlflow", False, lambda folder, record: {
        "experiment_name": PROJECT, "run_name": folder.name, "run_id": record.get("run_id"),
    }),
    "wandb": Kind("wandb", True, lambda folder, record: {
        "run_name": PROJECT, "name": folder.name, "id": record["id"], "resume": "allow",
    }),
}  # fmt: skip


def check_trackers(names: Sequence[str]) -> None:
    """Check that the trackers are installed; raise UserError with what to install otherwise."""
    for name in names:
        package = KINDS[name].package
        if find_spec("accelerate") is None or find_spec(package) is None:
            more = "" if name == "tensorboard" else f" {package}"
            fix = f"pip install 'metaxcr[tracking]'{more}, or leave the setting out"
            raise UserError(f"the tracker {name!r} is not installed", "run.tracker", fix)


class Tracking:
    """Passes the events of a run to its trackers, each event once, however often the run is resumed.

    ``record`` is the content of :data:`RECORD` in the run folder; ``warn`` is called once for each tracker
    that fails.
    """

    def __init__(
        self, names: Sequence[str], folder: Path, record: dict[str, Any], warn: Callable[[str], None]
    ) -> None:
        self._path, self._record, self._warn = folder / RECORD, record, warn
        self._running: dict[str, Any] = {}
        if not names:
            return
        for name in names:
            own = self._record.setdefault(name, {"id": secrets.token_hex(8), "events": 0, "results": False})
            with self._left_out_if_it_fails(name):
                classes = import_module("accelerate.tracking").LOGGER_TYPE_TO_CLASS
                tracker = classes[name](**KINDS[name].options(folder, own))
                tracker.start()
                if name == "mlflow":
                    own["run_id"] = tracker.tracker.info.run_id
                self._running[name] = tracker
        write_json(self._path, self._record)

    def log_event(self, number: int, event: Event) -> None:
        """Pass on the event with this number in events.jsonl, from 1.

        A resumed run repeats the events after its last checkpoint; trackers have them already.
        """
        late = [name for name in self._running if number > self._record[name]["events"]]
        if late:
            self._log(late, {"events": number}, dict(series(event)), number, event.get("step"))

    def finish(self, results: Mapping[str, Any]) -> None:
        """Pass on the averages of results.json, if the run is finished, and close the trackers."""
        late = [name for name in self._running if not self._record[name]["results"]]
        if results and late:
            values = {
                f"results/{row['task']}/{row['regime']}/{row['method']}/k={row['k']}": row["mean"]
                for row in results["averages"]
            }
            self._log(late, {"results": True}, values)
        for name, tracker in list(self._running.items()):
            with self._left_out_if_it_fails(name):
                tracker.finish()
        self._running = {}

    def _log(
        self,
        names: Sequence[str],
        then: dict[str, Any],
        values: dict[str, float],
        number: int | None = None,
        step: int | None = None,
    ) -> None:
        """Record that the values are logged, then log them: no point is logged twice."""
        for name in names:
            self._record[name] |= then
        write_json(self._path, self._record)
        for name in names:
            with self._left_out_if_it_fails(name):
                self._running[name].log(values, step=number if KINDS[name].forwards else step)

    @contextmanager
    def _left_out_if_it_fails(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # no failure of a tracker may stop the run
            self._running.pop(name, None)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self._warn(f"the tracker {name} fails and is left out ({reason}); events.jsonl is complete")


def series(event: Event) -> Iterator[tuple[str, float]]:
    """The numbers of an event, each with the name of its series: ``ctml/seed 0/probabilities/ecare``."""
    labels = [str(event["stage"]), f"seed {event['seed']}"]
    labels += [str(event[name]) for name in ("regime", "language") if name in event]
    for name, value in event.items():
        if name not in LABELS:
            yield from _numbers("/".join([*labels, name]), value)


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(f"{name}/{key}", inner)
    elif isinstance(value, int | float):
        yield name, float(value)
