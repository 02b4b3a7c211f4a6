"""``tasks fetch``: the files of declared tasks, from where they were published."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal

from metaxcr.cli.console import console, note, print_json, say
from metaxcr.cli.options import JsonOption, QuietOption, examples
from metaxcr.cli.tasks import LanguageOption, SplitOption
from metaxcr.errors import UserError

if TYPE_CHECKING:
    from metaxcr.data.download import Report
    from metaxcr.data.fetcher import FetchedFile, Fetcher, FetchPlan
    from metaxcr.data.spec import Declaration

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

    They are stored under their official names in the user's cache, where all commands find them, or in a
    folder that can be copied to a machine without a network and given there as --data. Files that are there
    and right are not fetched again, so an interrupted fetch continues with the next file. The licence is
    shown first: fetching means to agree to it.
    """
    from metaxcr.data.fetcher import open_fetcher
    from metaxcr.data.registry import cache_root

    specs = _specs(tasks or [], everything, split, language)
    root = Path(os.path.expanduser(to or cache_root()))
    rows: list[dict[str, Any]] = []
    failed: dict[str, UserError] = {}
    tell = note if as_json else say
    with _progress(quiet) as report, open_fetcher(root, force=force, report=report) as fetcher:
        for spec in specs:
            try:
                plan = fetcher.plan(spec, split, language)
                rows += [asdict(file) | {"error": None} for file in plan.present]
                for file in _fetch(fetcher, plan, tell):
                    rows.append(asdict(file) | {"error": None})
                _check_manual(plan, everything)
            except UserError as error:
                failed[spec.id] = error
                empty = dict.fromkeys(("file", "bytes", "sha256", "source", "commit"))
                rows.append({"task": spec.id, **empty, "status": "failed", "error": str(error)})
    if as_json:
        print_json(rows)
    _finish(rows, failed, root, len(specs))


def _specs(
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


def _fetch(fetcher: "Fetcher", plan: "FetchPlan", tell: Any) -> Iterator["FetchedFile"]:
    """Show what is known of a task, then fetch what is missing."""
    spec = plan.spec
    if spec.package:
        tell(f"{spec.id}: ships with the package, nothing to fetch")
        return
    if plan.present:
        tell(f"{spec.id}: {_files(len(plan.present))} already there")
    if not plan.missing:
        return
    tell(f"{spec.id}: {_files(len(plan.missing))} to fetch; licence: {spec.licence}")
    tell(f"  to be cited: {' '.join(spec.citation.split())}")
    for file in fetcher.fetch(spec.id, plan.missing, spec.url):
        tell(f"  {file.file}  {decimal(file.bytes)}")
        yield file


def _check_manual(plan: "FetchPlan", everything: bool) -> None:
    """Name the files that only a person can get: an error if the task was named, a note with ``--all``."""
    if not plan.manual or plan.spec.package:
        return
    more = f" and {len(plan.manual) - 1} more" if len(plan.manual) > 1 else ""
    what = f"'{plan.manual[0]}'{more} of task '{plan.spec.id}' cannot be fetched"
    fix = f"get it from {plan.spec.url} and put it under this name into a folder that you give as --data"
    error = UserError(what, None, fix)
    if not everything:
        raise error
    note(f"note: {error}")


def _finish(rows: list[dict[str, Any]], failed: dict[str, UserError], root: Path, tasks: int) -> None:
    """Print a summary; failures come last, where they are seen."""
    if failed and tasks == 1:
        raise next(iter(failed.values()))
    for task, error in failed.items():
        note(f"{task}: {error}")
    if failed:
        names = ", ".join(failed)
        raise UserError(f"{len(failed)} of {tasks} tasks were not fetched: {names}", None, "see above")
    fetched = sum(row["status"] == "fetched" for row in rows)
    note(f"{_files(fetched)} fetched, {len(rows) - fetched} already there; folder: {root}")
    if fetched:
        note("next: metaxcr tasks check ID")


@contextmanager
def _progress(quiet: bool) -> Iterator["Report"]:
    """Show bytes, speed and time left: a bar on a terminal, a line now and then elsewhere."""
    from metaxcr.data.download import no_report

    shown = console(stderr=True)
    if quiet:
        yield no_report
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
        left = f" of {decimal(total)}, about {(total - done) / speed:.0f} s left" if total and speed else ""
        note(f"  {label}: {decimal(done)}{left}, {decimal(int(speed))}/s")


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"
