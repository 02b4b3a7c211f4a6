"""The ledger of test openings: one line for each evaluation on a test split."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metaxcr.data.registry import task_spec
from metaxcr.files import disk_error
from metaxcr.runs.environment import commit


def record_opening(ledger: Path | None, tasks: Iterable[str], command: str, **what: Any) -> None:
    """Append a line to the ledger.

    Args:
        ledger: A file of JSON lines; None: no ledger is kept.
        tasks: Tasks that are evaluated on a test split. The demonstration data of the package do not count;
            without another task no line is written.
        command: What the user typed.
        what: More keys of the line, which identify what was run.
    """
    opened = sorted({task for task in tasks if not task_spec(task).package})
    if ledger is None or not opened:
        return
    time = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"time": time, "commit": commit(), **what, "task": ", ".join(opened), "command": command}
    try:
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with ledger.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    except OSError as error:
        raise disk_error(error, ledger) from error
