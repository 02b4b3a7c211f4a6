"""What a run records of itself: versions, hardware, commit, costs, and the ledger of test openings."""

import contextlib
import copy
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers

from metaxcr import __version__
from metaxcr.config.schema import Config
from metaxcr.data.registry import task_spec
from metaxcr.encoders.activation_cache import CacheStats
from metaxcr.files import disk_error
from metaxcr.hardware import available_threads, choose_device, choose_dtype, processor


def describe_environment(config: Config, command: str) -> dict[str, Any]:
    """Versions, hardware, threads, dtype, commit and date, for environment.json."""
    device = choose_device(config.run.device)
    precision = choose_dtype(config.encoder.dtype, device)
    return {
        "command": command,
        "metaxcr": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "threads": config.run.threads or available_threads(),
        "device": device.type,
        "dtype": precision.name,
        "dtype_because": precision.why,
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def commit() -> str | None:
    """Commit of the checkout that the package was imported from; None for an installed copy."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return None
    inside_checkout = done.returncode == 0 and "site-packages" not in here.parts
    return done.stdout.strip() if inside_checkout else None


class Costs:
    """Seconds, token-passes and memory per stage, added to those of an earlier costs.json (``before``)."""

    def __init__(self, before: dict[str, Any]) -> None:
        stages: list[dict[str, Any]] = before.get("stages", [])
        self._stages = {stage["stage"]: copy.deepcopy(stage) for stage in stages}
        self._settled = copy.deepcopy(self._stages)
        self._trunk, self._stats = before.get("trunk", {}), CacheStats()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add time and peak memory of the block; the trunk store's time goes to the stage ``trunk``."""
        begun, before = time.perf_counter(), self._trunk_seconds()
        try:
            yield
        finally:
            entry, trunk = self._entry(name), 0.0 if name == "trunk" else self._trunk_seconds() - before
            if trunk:
                others = self._entry("trunk")
                others["seconds"] = round(others["seconds"] + trunk, 2)
            entry["seconds"] = round(entry["seconds"] + time.perf_counter() - begun - trunk, 2)
            entry["peak_rss_mb"] = max(entry["peak_rss_mb"], peak_rss_mb())

    def timer(self, name: str) -> Callable[[str], None]:
        """A timer for the parts of a stage: called with the next part, it books the time of the last one.

        The time of the trunk store belongs to no part. The time of ``query`` includes the alignment term:
        they share their backward pass.
        """
        running: list[tuple[str, float]] = []

        def begin(part: str) -> None:
            now = time.perf_counter() - self._trunk_seconds()
            if running:
                before, since = running.pop()
                entry = self._part(name, before)
                entry["seconds"] = round(entry["seconds"] + now - since, 6)
            running.append((part, now))

        return begin

    def add_passes(self, name: str, tokens: int, parts: Mapping[str, int] | None = None) -> None:
        """Add token-passes (a token's forward pass counts 1, its backward pass 2), and those of each part."""
        self._entry(name)["token_passes"] += tokens
        for part, share in (parts or {}).items():
            self._part(name, part)["token_passes"] += share

    def _part(self, name: str, part: str) -> dict[str, Any]:
        parts: dict[str, dict[str, Any]] = self._entry(name).setdefault("parts", {})
        return parts.setdefault(part, {"seconds": 0.0, "token_passes": 0})

    def follow(self, stats: CacheStats) -> None:
        """Account for a trunk store, which also works while other stages run."""
        self._stats = stats

    def summary(self) -> dict[str, Any]:
        """The content of costs.json after a checkpoint or a unit of work: everything so far counts."""
        self._settled = copy.deepcopy(self._stages)
        return self._content()

    def interrupted(self) -> dict[str, Any]:
        """The content of costs.json when a run stops, at its end or before.

        What was done since the last :meth:`summary` is done again and counts then, but for the trunk store.
        """
        if "trunk" in self._stages:
            self._settled["trunk"] = copy.deepcopy(self._stages["trunk"])
        return self._content()

    def _content(self) -> dict[str, Any]:
        stages, trunk, stats = copy.deepcopy(self._settled), self._trunk, self._stats
        trunk = {
            "cold_seconds": round(trunk.get("cold_seconds", 0.0) + stats.cold_seconds, 2),
            "warm_seconds": round(trunk.get("warm_seconds", 0.0) + stats.warm_seconds, 2),
            "computed_tokens": trunk.get("computed_tokens", 0) + stats.computed_tokens,
            "texts": stats.texts,
            "tokens": stats.tokens,
            "used_tokens": stats.used_tokens,  # sizes are those of the last process
            "bytes": stats.bytes,
        }
        if "trunk" in stages:
            stages["trunk"]["token_passes"] += stats.computed_tokens
        total = round(sum(s["seconds"] for s in stages.values()), 2)
        return {"stages": list(stages.values()), "trunk": trunk, "total_seconds": total}

    def _trunk_seconds(self) -> float:
        return self._stats.cold_seconds + self._stats.warm_seconds

    def _entry(self, name: str) -> dict[str, Any]:
        empty = {"stage": name, "seconds": 0.0, "token_passes": 0, "peak_rss_mb": 0}
        return self._stages.setdefault(name, empty)


def peak_rss_mb() -> int:
    """Largest resident memory in MB since :func:`forget_peak`, with pages of the mapped cache."""
    status = Path("/proc/self/status")
    if status.is_file() and (peak := re.search(r"VmHWM:\s+(\d+)", status.read_text(encoding="utf-8"))):
        return int(peak[1]) // 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // (1024 * 1024) if sys.platform == "darwin" else most // 1024


def forget_peak() -> None:
    """Reset the largest resident memory, if the system can: each of several runs has its own."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def record_opening(ledger: Path | None, tasks: Iterable[str], command: str, **what: Any) -> None:
    """Append a line to the ledger, a file of JSON lines; None: no ledger is kept.

    ``tasks`` are evaluated on a test split. The demonstration data of the package do not count; without
    another task no line is written. ``what`` has more keys of the line, which identify what was run.
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
