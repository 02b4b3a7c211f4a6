"""How the fuzzers of tests/fuzz are driven, and what they allow: success, or one clear line.

A fuzz test draws damaged or hostile input and gives it to an entry point of the package:

    from fuzzing import fuzz, only_user_errors

    @fuzz(0.05, text=st.text())
    def test_settings(tmp_path, text):
        with only_user_errors():
            read_settings(write(tmp_path, text))

``fuzz`` takes the test's share of all inputs (those of all tests add up to about 1) and the strategies of
its arguments; other arguments are fixtures, shared by all inputs of the test. In the normal suite a test gets
a few dozen inputs, the same ones every time (``quick=`` says how many where they are slow or very cheap).
``make fuzz`` sets ``METAXCR_FUZZ`` to the number of inputs of all tests together, drawn anew each time; a
test stops early, and says so, once it has taken its share of ``METAXCR_FUZZ_MINUTES``. ``run_command`` drives
the command line.
"""

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metaxcr.errors import UserError

TOTAL = int(os.environ.get("METAXCR_FUZZ") or 0)
MINUTES = float(os.environ.get("METAXCR_FUZZ_MINUTES") or 60)


@dataclass
class Counted:
    """What became of the inputs: of each test, how many were tried, and those that were out of time."""

    tried: dict[str, int] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)


COUNTED = Counted()

# Values at which parsers and arithmetic have failed.
NUMBERS: list[Any] = [
    0, -1, -0.0, 1, 2, 7, 0.5, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"), 2**31, 2**63,
    10**18, -(10**18), 10**30, 10**399, True, False, None, "", "16", "1e3", "nan", [], [16], {}, {"a": 1},
]  # fmt: skip
TEXTS = [
    "",
    " ",
    "a\u2028b",
    "\u2029",
    "\x85",
    "\x1c\x1d\x1e",
    "\x0b\x0c",
    "a\r\nb",
    "\0",
    "\x1b]0;title\x07",
    "\u202eabc",
    "\ufeff",
    "[" * 3000,
    '{"a":' * 3000,
    "- " * 3000,
    "(" * 500,
    "-" * 5000 + "1",
    "9" * 5000,
    "2024-13-45",
    "2024-01-31",
    "!!int x",
    "!!timestamp x",
    "!!python/name:os.system",
    "&a [*a]",
    "*a",
    "<<: *a",
    "'",
    '"',
    "{[]}",
    "['a', 'b']",
    "['a', {}]",
    "{'a', 1}",
    "b'a'",
    "...",
    "1_0",
    "0x",
    ".inf",
    "=",
    "?",
    "%",
    "@",
    "`",
    "|",
    ">",
    "~",
    "null",
    "x" * 300,
    "x" * 5000,
    "../" * 50,
    "/" * 10,
    "a" * 70_000,
    "\\ud800",
    '"\\ud800"',
    "\U0001f600",
    "[yellow]a[/]",
    "NaN",
]
SCALARS = (
    st.sampled_from(NUMBERS) | st.sampled_from(TEXTS) | st.text(max_size=20) | st.integers() | st.floats()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@st.composite
def damaged(draw: st.DrawFn, contents: st.SearchStrategy[bytes]) -> bytes:
    """Draw a file's content and damage it in one to four places; hostile texts are put in, too."""
    content = draw(contents)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        how = draw(st.integers(0, 4))
        if how == 0:
            content = content[:at]
        elif how == 1:
            content = content[:at] + draw(st.binary(min_size=1, max_size=4)) + content[at + 1 :]
        elif how == 2:
            content = (
                content[:at] + draw(st.sampled_from(TEXTS)).encode(errors="surrogatepass") + content[at:]
            )
        elif how == 3:
            content = content[:at] + content[at + draw(st.integers(1, 20)) :]
        else:
            content = content[:at] + content[max(0, at - draw(st.integers(1, 40))) :]
    return content


def fuzz(share: float, quick: int = 40, **strategies: st.SearchStrategy[Any]) -> Callable[..., Any]:
    """Make a test draw its arguments.

    Args:
        share: Of all inputs of ``make fuzz``, and of its time, that the test gets.
        quick: Number of inputs in the normal suite.
        strategies: Argument -> what it is drawn from.
    """

    def decorate(test: Callable[..., Any]) -> Any:
        name = f"{test.__module__.rpartition('.')[2]}::{test.__name__}"
        begun: list[float] = []

        @wraps(test)
        def counted(*args: Any, **named: Any) -> None:
            begun.append(time.monotonic()) if not begun else None
            if TOTAL and time.monotonic() - begun[0] > share * MINUTES * 60:
                if name not in COUNTED.stopped:
                    COUNTED.stopped.append(name)
                return
            COUNTED.tried[name] = COUNTED.tried.get(name, 0) + 1
            test(*args, **named)

        return settings(
            max_examples=max(1, round(TOTAL * share)) if TOTAL else quick,
            deadline=None,
            derandomize=not TOTAL,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        )(given(**strategies)(counted))

    return decorate


@contextlib.contextmanager
def only_user_errors() -> Iterator[None]:
    """Allow success and a UserError of one bounded line; everything else fails the test."""
    try:
        yield
    except UserError as error:
        assert error.what and len(str(error)) < 5000, "a message has bounds"


def run_command(*words: str | Path, statuses: tuple[int, ...] = (0, 2)) -> tuple[int, str, str]:
    """Run a command in this process; insist on status 0, or 2 with a line and no traceback.

    Args:
        words: After ``metaxcr``.
        statuses: Those that are documented for the command; 1 only with the failures named, and never for an
            error that nobody expected.

    Returns:
        Status, standard output, standard error.
    """
    from metaxcr.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(word) for word in words])
    told = err.getvalue()
    assert status in statuses and "--debug for the traceback" not in told, f"status {status}: {told[-2000:]}"
    assert "Traceback" not in told
    assert status == 0 or told.strip(), "a refusal says why"
    return status, out.getvalue(), told


def summary(reporter: pytest.TerminalReporter) -> None:
    """Print how many inputs were tried, and by which tests."""
    if not TOTAL or not COUNTED.tried:
        return
    failed = {report.nodeid for report in reporter.stats.get("failed", [])}
    reporter.section("fuzzing")
    for name, count in sorted(COUNTED.tried.items()):
        bad = any(node.endswith(f"{name.partition('::')[2]}") for node in failed)
        ends = "  FAILED" if bad else "  (out of time)" if name in COUNTED.stopped else ""
        reporter.write_line(f"{count:8,}  {name}{ends}")
    reporter.write_line(f"{sum(COUNTED.tried.values()):8,}  inputs in all; {len(failed)} tests failed")
