"""Console output of commands: tables, messages, progress and JSON."""

import json
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from metaxcr.errors import MetaXCRWarning, UserError
from metaxcr.printable import printable, printable_json

if TYPE_CHECKING:
    from rich.console import Console

    from metaxcr.runs.progress import Progress

PLAIN_WIDTH = 160  # columns, if the output is not a terminal
SECONDS_BETWEEN_LINES = 15.0  # of progress, if the output is not a terminal
_LONG_NAME = 40  # characters; longer ones are wrapped to leave room for the other columns


def console(*, stderr: bool = False) -> "Console":
    """Return a console for results (standard output) or for everything else (standard error).

    Everything printed on it is made printable, and markup in it is plain text, because it may hold texts, ids
    and names from other people's files.
    """
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
    return _console_type()(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


@cache
def _console_type() -> "type[Console]":
    """The class of the consoles; made on first use, because importing rich is slow."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    class PrintableConsole(Console):
        """A console that prints no control characters but its own."""

        def render_str(self, text: str, **options: Any) -> Text:
            """Convert a string, before rich drops some of its control characters."""
            return super().render_str(printable(text), **options)

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            """Convert strings, texts, tables and bars; control segments are rich's own."""
            for segment in super().render(renderable, options):
                text = segment.text if segment.control else printable(segment.text)
                yield segment if text is segment.text else Segment(text, segment.style)

    return PrintableConsole


def say(line: str) -> None:
    """Print a line to standard output, neither wrapped nor interpreted."""
    console().print(line, soft_wrap=True)


def note(line: str) -> None:
    """Print a line to standard error."""
    console(stderr=True).print(line, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON to standard output."""
    sys.stdout.write(printable_json(json.dumps(value, indent=1, ensure_ascii=False)) + "\n")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None
) -> None:
    """Print a table; a head that begins with ``>`` aligns its column to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = [[printable(str(cell)) for cell in row] for row in rows]  # before the widths are measured
    longest = max((len(row[0]) for row in cells if row), default=0)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title_justify="left")
    for position, head in enumerate(columns):
        table.add_column(
            head.removeprefix(">"),
            justify="right" if head.startswith(">") else "left",
            overflow="fold",
            no_wrap=position == 0 and longest <= _LONG_NAME,  # the name of the row
        )
    for row in cells:
        table.add_row(*map(Text, row))
    if title:
        say(title)
    console().print(table)


def print_report_table(table: Any, *, title: str | None = None) -> None:
    """Print a table of a report, which has ``head``, ``rows`` and the ``numeric`` columns."""
    heads = [f">{head}" if n in table.numeric else head for n, head in enumerate(table.head)]
    print_table(heads, table.rows, title=title)


@contextmanager
def progress(quiet: bool) -> "Iterator[Progress]":
    """Show progress on standard error while the block runs."""
    from metaxcr.runs.progress import Progress

    shown = Progress(console(stderr=True), quiet=quiet)
    try:
        yield shown
    finally:
        shown.finish()


@contextmanager
def download_progress(quiet: bool) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show bytes, speed and time left of downloads: a bar on a terminal, a line now and then elsewhere.

    Gives a function to call with the file, the bytes received, and the bytes in all if known.
    """
    from rich.filesize import decimal
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left
    from rich.progress import TransferSpeedColumn as Speed

    shown, label, begun, first, last = console(stderr=True), "", 0.0, 0, 0.0

    def write_line(file: str, done: int, total: int | None) -> None:
        nonlocal label, begun, first, last
        now = time.monotonic()
        if file != label:
            label, begun, first, last = file, now, done, now
        if now - last >= SECONDS_BETWEEN_LINES:
            last, speed = now, (done - first) / (now - begun)
            left = (
                f" of {decimal(total)}, about {(total - done) / speed:.0f} s left" if total and speed else ""
            )
            note(f"  {file}: {decimal(done)}{left}, {decimal(int(speed))}/s")

    if quiet or not shown.is_terminal:
        yield write_line if not quiet else lambda file, done, total: None
        return
    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(24),
        DownloadColumn(),
        Speed(),
        Left(),
    )
    with Progress(*columns, console=shown, transient=True) as bar:
        task = bar.add_task("", visible=False)

        def draw(file: str, done: int, total: int | None) -> None:
            nonlocal label
            if file != label:  # the speed is that of this file
                label = file
                bar.reset(task, description=file.rsplit("/", 1)[-1], visible=True)
            bar.update(task, completed=done, total=total)

        yield draw


def command_line() -> str:
    """The command that is running, for records."""
    return shlex.join(["metaxcr", *sys.argv[1:]])


def try_report(make: Callable[[], object], folder: object, what: str = "report") -> str:
    """Make a report; a failure is printed as one line and does not end a finished run.

    ``make`` writes or prints it and returns its path, which is returned; empty if it failed. ``what`` names
    it in the message.
    """
    try:
        return str(make())
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        reason = " ".join(reason.split())[:300] or "no further information"
        again = f"metaxcr report {shlex.quote(str(folder))}"
        note(f"no {what}: {reason}; the results are complete; '{again}' repeats it (reason: add --debug)")
        return ""


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Print the package's own warnings as plain lines."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Any, category: type[Warning], *rest: Any, **named: Any) -> None:
            if issubclass(category, MetaXCRWarning):
                note(f"note: {message}")
            else:
                shown(message, category, *rest, **named)

        warnings.simplefilter("always", MetaXCRWarning)
        warnings.showwarning = show
        yield
