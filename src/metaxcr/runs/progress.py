"""Progress of long work: a bar with the time left on a terminal, a line every 15 seconds in a log."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Shows one activity at a time.

    Args:
        console: Where to write; a bar appears only on a terminal.
        quiet: Show nothing but messages.
    """

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
            label_column, note_column = (
                TextColumn(text, markup=False) for text in ("  {task.description}", "{task.fields[note]}")
            )
            columns = (
                label_column, BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(),
                TextColumn("left"), TimeRemainingColumn(), note_column,
            )  # fmt: skip
            self._bar = Bar(*columns, console=self.console, transient=True)
            self._bar.start()
            self._bar.add_task(label, total=total, note=note)
        self._bar.update(self._bar.task_ids[0], completed=done, note=note)
