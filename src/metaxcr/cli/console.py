"""What commands print with: tables as wide as the terminal, plain text elsewhere, JSON for programs."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from metaxcr.errors import UserError
from metaxcr.printable import printable, printable_json

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 160  # columns where there is no terminal that would have a width
_LONG_NAME = 40  # characters; longer ones are wrapped, or they leave no room for the other columns


def console(*, stderr: bool = False) -> "Console":
    """Return a console for results (standard output) or for everything else (standard error).

    Whatever is printed on it is made printable, and markup in it is text: what commands print has texts, ids
    and names of other people's files in it.
    """
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
    return _console_type()(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


@cache
def _console_type() -> "type[Console]":
    """The class of the consoles; made on first use, because importing rich takes a while."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    class PrintableConsole(Console):
        """A console that obeys nothing in what it prints."""

        def render_str(self, text: str, **options: Any) -> Text:
            """Take in a string; before rich drops some of the control characters without a sign."""
            return super().render_str(printable(text), **options)

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            """Give out segments: of strings, and of texts, tables and bars that were made elsewhere.

            Control segments are rich's own: they move the cursor of a bar.
            """
            for segment in super().render(renderable, options):
                text = segment.text if segment.control else printable(segment.text)
                yield segment if text is segment.text else Segment(text, segment.style)

    return PrintableConsole


def say(line: str) -> None:
    """Print a line to standard output, neither wrapped nor interpreted."""
    console().print(line, markup=False, soft_wrap=True)


def note(line: str) -> None:
    """Print a line to standard error: for people, out of the way of programs."""
    console(stderr=True).print(line, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON, and nothing else, to standard output."""
    sys.stdout.write(printable_json(json.dumps(value, indent=1, ensure_ascii=False)) + "\n")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None
) -> None:
    """Print a table; cells wrap where the terminal is too narrow."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = [[printable(str(cell)) for cell in row] for row in rows]  # the width is that of the escapes
    longest = max((len(row[0]) for row in cells if row), default=0)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title_justify="left")
    for position, head in enumerate(columns):
        table.add_column(
            head.removeprefix(">"),
            justify="right" if head.startswith(">") else "left",
            overflow="fold",
            no_wrap=position == 0 and longest <= _LONG_NAME,  # the name by which a row is found
        )
    for row in cells:
        table.add_row(*map(Text, row))
    if title:
        say(title)
    console().print(table)


def try_report(make: Callable[[], object], folder: object, what: str = "report") -> str:
    """Make what only shows results that are safe; a failure is one line, and never the end of a finished run."""
    import shlex

    try:
        return str(make())
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        reason = " ".join(reason.split())[:300] or "no further information"
        again = f"metaxcr report {shlex.quote(str(folder))}"
        note(f"no {what}: {reason}; the results are complete, '{again}' repeats it (why: add --debug)")
        return ""


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Show the package's own warnings as plain lines, not as Python shows them."""
    import warnings

    from metaxcr.errors import MetaXCRWarning

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
