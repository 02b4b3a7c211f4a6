"""``tasks fetch``: the files of declared tasks, from where they were published."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaxcr.cli.console import console, note, print_json, say
from metaxcr.cli.options import JsonOption, QuietOption, examples
from metaxcr.cli.tasks import LanguageOption, SplitOption
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.data.data_dirs import Declaration
    from metaxcr.data.fetching.fetch import Fetched, Fetcher, Plan
    from metaxcr.data.fetching.transfer import Report

SECONDS_BETWEEN_LINES = 15.0


@examples(
    "metaxcr tasks fetch xcopa copa",
    "metaxcr tasks fetch xcopa --language th --split test --to DIR",
)
def fetch(
    tasks: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Tasks or texts ('metaxcr tasks ls').")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All tasks that can be fetched.")] = False,
    split: SplitOption = None,
    language: LanguageOption = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Folder to fill.", show_default="the user's cache"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Fetch again what is there; follow what moved on the hub.")
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch the files of tasks from where they were published.

    They come under their official names into the user's cache, where all commands find them, or into a folder
    to be copied to a machine without a network and given there as --data. Files that are there and right are
    not fetched again. A fetch that was interrupted goes on where it stopped. The licence is shown first:
    fetching means to agree to it.
    """
    from metaxcr.data.data_dirs import cache_root
    from metaxcr.data.fetching.fetch import Fetcher

    specs = _asked(tasks or [], everything, split, language)
    root = Path(os.path.expanduser(to or cache_root()))
    done: list[dict[str, Any]] = []
    failed: dict[str, UserError] = {}
    tell = note if as_json else say
    with _progress(quiet) as report, Fetcher(root, force=force, report=report) as fetcher:
        for spec in specs:
            try:
                plan = fetcher.plan(spec, split, language)
                done += [asdict(one) | {"error": None} for one in plan.present]
                for one in _bring(fetcher, plan, tell):
                    done.append(asdict(one) | {"error": None})
                _by_hand(plan, everything)
            except UserError as error:
                failed[spec.id] = error
                done.append(_failure(spec, error))
    if as_json:
        print_json(done)
    _end(done, failed, root, len(specs))


def _asked(
    tasks: list[str], everything: bool, split: str | None, language: str | None
) -> list["Declaration"]:
    """Return the tasks; with ``--all`` those that have the split and the language."""
    from metaxcr.data.corpora import corpus_ids, corpus_spec
    from metaxcr.data.registry import task_ids, task_spec

    def declaration(name: str) -> "Declaration":
        return corpus_spec(name) if name in corpus_ids() else task_spec(name)

    if everything == bool(tasks):
        what = "--all and names of tasks" if tasks else "nothing to fetch is named"
        raise UserError(what, None, "give either tasks ('metaxcr tasks ls') or --all")
    if tasks:
        return [declaration(name) for name in dict.fromkeys(tasks)]
    return [
        spec
        for spec in map(declaration, [*task_ids(), *corpus_ids()])
        if not spec.package
        and (split is None or split in spec.splits)
        and (language is None or language in spec.languages)
    ]


def _bring(fetcher: "Fetcher", plan: "Plan", tell: Any) -> Iterator["Fetched"]:
    """Show what is known of a task, then bring what is missing."""
    spec = plan.spec
    if spec.package:
        tell(f"{spec.id}: ships with the package, nothing to fetch")
        return
    if plan.present:
        tell(f"{spec.id}: {_files(len(plan.present))} already there")
    if not plan.todo:
        return
    tell(f"{spec.id}: {_files(len(plan.todo))} to fetch; licence: {spec.licence}")
    tell(f"  to be cited: {' '.join(spec.citation.split())}")
    for one in fetcher.bring(spec.id, plan.todo, spec.url):
        tell(f"  {one.file}  {_size(one.bytes)}")
        yield one


def _by_hand(plan: "Plan", everything: bool) -> None:
    """Say what only a person can bring: an error where it was asked for by name."""
    if not plan.by_hand or plan.spec.package:
        return
    missing, more = plan.by_hand[0], len(plan.by_hand) - 1
    what = (
        f"'{missing}'"
        + (f" and {more} more" if more else "")
        + f" of task '{plan.spec.id}' cannot be fetched"
    )
    fix = f"get it from {plan.spec.url} and put it under this name into a folder that you give as --data"
    error = UserError(what, None, fix)
    if not everything:
        raise error
    note(f"note: {error}")


def _failure(spec: "Declaration", error: UserError) -> dict[str, Any]:
    """Return the row of a task that could not be fetched as a whole."""
    empty = dict.fromkeys(("file", "bytes", "sha256", "source", "commit"))
    return {"task": spec.id, **empty, "status": "failed", "error": str(error)}


def _end(done: list[dict[str, Any]], failed: dict[str, UserError], root: Path, tasks: int) -> None:
    """Sum up; failures are told at the end, where they are seen."""
    if failed and tasks == 1:
        raise next(iter(failed.values()))
    for task, error in failed.items():
        note(f"{task}: {error}")
    if failed:
        names = ", ".join(failed)
        raise UserError(f"{len(failed)} of {tasks} tasks were not fetched: {names}", None, "see above")
    fetched = sum(row["status"] == "fetched" for row in done)
    note(f"{_files(fetched)} fetched, {len(done) - fetched} already there; folder: {root}")
    if fetched:
        note("next: metaxcr tasks check ID")


@contextmanager
def _progress(quiet: bool) -> Iterator["Report | None"]:
    """Show bytes, speed and time left: a bar on a terminal, a line now and then elsewhere."""
    shown = console(stderr=True)
    if quiet:
        yield None
    elif not shown.is_terminal:
        yield _Lines()
    else:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Left
        from rich.progress import TransferSpeedColumn as Speed

        name = TextColumn("  {task.description}", markup=False)
        with Progress(
            name, BarColumn(24), DownloadColumn(), Speed(), Left(), console=shown, transient=True
        ) as bar:
            task = bar.add_task("", visible=False)
            label = ""

            def report(file: str, done: int, total: int | None) -> None:
                nonlocal label
                if file != label:  # the speed is that of this file
                    label = file
                    bar.reset(task, description=file.rsplit("/", 1)[-1], visible=True)
                bar.update(task, completed=done, total=total)

            yield report


class _Lines:
    """Writes a line for a file that takes long."""

    def __init__(self) -> None:
        self._label, self._begin, self._first, self._last = "", 0.0, 0, 0.0

    def __call__(self, label: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if label != self._label:
            self._label, self._begin, self._first, self._last = label, now, done, now
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        speed = (done - self._first) / (now - self._begin)
        left = f" of {_size(total)}, about {(total - done) / speed:.0f} s left" if total and speed else ""
        note(f"  {label}: {_size(done)}{left}, {_size(int(speed))}/s")


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"


def _size(count: int) -> str:
    """Write a number of bytes for people."""
    value, units = float(count), ["bytes", "kB", "MB", "GB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "bytes" else f"{value:.1f} {units[0]}"
