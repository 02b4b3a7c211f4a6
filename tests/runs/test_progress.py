import io

import pytest
from rich.console import Console

from metaxcr.runs import progress as module
from metaxcr.runs.progress import Progress


def shown(monkeypatch: pytest.MonkeyPatch, times: list[float], *, quiet: bool = False) -> list[str]:
    """Lines of a log in which an activity of four steps is updated at these times."""
    clock = iter(times)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    now, log = [0.0], io.StringIO()
    progress = Progress(Console(file=log, width=200), quiet=quiet)
    for done, at in enumerate(clock):
        now[0] = at
        progress.update("ctml", done, 4, "loss 0.5")
    progress.finish()
    return log.getvalue().splitlines()


def test_a_log_gets_a_line_every_15_seconds_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, [0.0, 10.0, 20.0, 25.0])
    assert lines == ["  ctml: 2/4, about 20 s left loss 0.5"]


def test_a_quiet_one_shows_messages_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, [0.0, 20.0, 40.0], quiet=True) == []
    log = io.StringIO()
    Progress(Console(file=log), quiet=True).say("[bold]as it is[/bold]")
    assert log.getvalue() == "[bold]as it is[/bold]\n"


def test_a_terminal_gets_a_bar() -> None:
    log = io.StringIO()
    progress = Progress(Console(file=log, force_terminal=True, width=100))
    progress.update("ctml", 1, 4)
    progress.finish()
    assert "ctml" in log.getvalue()
