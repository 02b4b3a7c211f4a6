"""Bringing the files of declared tasks into a data root: checked, whole, and the same at every fetch."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from metaxcr.data.data_dirs import Declaration, candidate_roots
from metaxcr.data.fetching import hub_data
from metaxcr.data.fetching.archives import extract
from metaxcr.data.fetching.checksums import sha256, shipped
from metaxcr.data.fetching.downloads import Download
from metaxcr.data.fetching.fetched import Record, Records, locked, now
from metaxcr.data.fetching.hub_data import hub_files
from metaxcr.data.fetching.sources import DownloadSource
from metaxcr.data.fetching.transfer import Report, Transfer
from metaxcr.data.fetching.wanted import Fetched, Plan, asked, wanted
from metaxcr.errors import UserError
from metaxcr.files import disk_error

__all__ = ["Fetched", "Fetcher", "Plan", "fetch_hub", "hub_files", "wanted"]

PARTS = ".partial"  # folder under the root; what lies there is of an interrupted fetch


def fetch_hub(
    repo: str, revision: str, paths: Sequence[str], root: Path, report: Report | None = None
) -> tuple[str, list[Path]]:
    """Bring files of a data set on the hub that no task declares yet.

    Args:
        repo: ``owner/name``.
        revision: Branch, tag or commit; a branch that was fetched before means the commit of that time.
        paths: Inside the repository, see :func:`metaxcr.data.fetching.hub_data.hub_files`.
        root: The data root to fill; the files come to ``hub/owner/name/<commit>/`` in it.
        report: Hears of the progress.

    Returns:
        The commit and the local files, in the order of ``paths``.

    Raises:
        UserError: The hub cannot be reached, refuses, or has no such file.
    """
    with Fetcher(root, report=report) as fetcher:
        commit = fetcher.commit(repo, revision, paths[0] if paths else None)
        folder = f"hub/{repo}/{commit[:12]}"
        downloads = [
            Download.model_construct(to=f"{folder}/{p}", hub=repo, revision=commit, path=p) for p in paths
        ]
        for download in downloads:
            if any(part in ("", ".", "..") for part in download.to.split("/")):
                raise UserError(f"'{download.path}' is no path of a file", hub_data.page(repo))
            if not fetcher.has(download.to):
                list(fetcher.bring(repo, [download]))
    return commit, [root / download.to for download in downloads]


class Fetcher:
    """Fills one data root; a context, in which no other process fills it.

    Args:
        root: The data root; created if missing.
        force: Fetch what is there too, and take branches of the hub as they are now.
        report: Hears of the progress.
    """

    def __init__(self, root: Path, *, force: bool = False, report: Report | None = None) -> None:
        self.root, self.force = root, force
        self._transfer = Transfer(root / PARTS, report)
        self._archives: set[DownloadSource] = set()
        self._fresh: set[str] = set()  # revisions that were resolved in this fetch
        self._records = Records()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(locked(self.root))
        try:
            self._records = Records.of(self.root)
        except UserError:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for source in self._archives:  # kept until now for other members
            self._transfer.forget(source)
        parts = self.root / PARTS
        if parts.is_dir() and not any(parts.iterdir()):
            parts.rmdir()
        self._stack.close()

    def plan(self, spec: Declaration, split: str | None = None, language: str | None = None) -> Plan:
        """Look at what is there.

        Args:
            spec: The task.
            split: Only this split.
            language: Only this language.

        Returns:
            What is there, what is to be brought, and what only a person can bring.

        Raises:
            UserError: The task has no such split or language, or a file is there but is not the official one.
        """
        downloads = {download.to: download for download in wanted(spec, split, language)}
        present, todo, by_hand = [], [], []
        for name in {**dict.fromkeys(asked(spec, split, language)), **downloads}:
            there = None if self.force and name in downloads else self._there(spec, name)
            if there is not None:
                present.append(there)
            elif name in downloads:
                todo.append(downloads[name])
            else:
                by_hand.append(name)
        return Plan(spec, present, todo, by_hand)

    def bring(self, task: str, downloads: Sequence[Download], page: str | None = None) -> Iterator[Fetched]:
        """Bring files, one after the other; those that are whole stay when a later one fails.

        Args:
            task: What the results call the task.
            downloads: From :meth:`plan`.
            page: Where a person reads on when a file does not come.

        Yields:
            What has come.

        Raises:
            UserError: A file cannot be had, or is not the one that it should be.
        """
        done: set[str] = set()
        for download in downloads:
            if download.to in done:
                continue
            source = self._source(download, page)
            together = [download]
            if download.member is not None:  # an archive is read once for all of its members
                place = (download.url, download.hub, download.revision, download.path)
                same = (d for d in downloads if (d.url, d.hub, d.revision, d.path) == place and d.member)
                together = [d for d in same if d.to not in done]
            for one, path in zip(together, self._whole(source, together), strict=True):
                yield self._place(task, one, source, path)
                done.add(one.to)

    def has(self, name: str) -> bool:
        """Whether the data root holds a file as it was fetched."""
        path, record = self.root / name, self._records.files.get(name)
        return path.is_file() and record is not None and sha256(path) == record.sha256

    def commit(self, repo: str, revision: str, path: str | None = None) -> str:
        """Return the commit that a revision of a data set on the hub means in this data root.

        Args:
            repo: ``owner/name``.
            revision: A branch or tag is looked up at the first fetch and stays what it was then.
            path: A file that is wanted, for the hub's cache where the hub must not be asked.

        Raises:
            UserError: The hub cannot be reached, or has no such data set or revision.
        """
        key = f"{repo}@{revision}"
        known = self._records.revisions.get(key)
        if known and (not self.force or key in self._fresh):
            return known
        found = hub_data.cached(repo, revision, path) if hub_data.offline() and path else None
        commit = found[0] if found else hub_data.resolve(repo, revision)
        self._fresh.add(key)
        if commit != revision:
            self._records.revisions[key] = commit
            self._records.save(self.root)
        return commit

    def _source(self, download: Download, page: str | None) -> DownloadSource:
        """Return where a download comes from."""
        if download.hub is None:
            url = download.url or ""
            return DownloadSource(url, page or url)
        commit = self.commit(download.hub, download.revision, download.hub_path)
        return hub_data.source(download.hub, commit, download.hub_path)

    def _whole(self, source: DownloadSource, downloads: Sequence[Download]) -> list[Path]:
        """Bring what a source holds of one or, from an archive, several files; return where they lie."""
        first = downloads[0]
        if first.hub is not None and hub_data.offline():
            whole = self._from_cache(source, first)
        elif source in self._archives:
            whole = self._transfer.part(source)
        else:
            whole = self._transfer.get(source, first.to if first.member is None else source.address)
        if first.member is None:
            return [whole]
        self._archives.add(source)
        goals = [whole.with_name(f"{whole.stem}.{n}.member") for n in range(len(downloads))]
        try:
            members = {d.member or "": goal for d, goal in zip(downloads, goals, strict=True)}
            extract(whole, members, source.address)
        except BaseException as error:
            for goal in goals:
                goal.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise _full(error, self.root) from error
            raise
        return goals

    def _from_cache(self, source: DownloadSource, download: Download) -> Path:
        """Copy a file from the hub's own cache: the hub must not be asked."""
        found = hub_data.cached(download.hub or "", source.commit or "", download.hub_path)
        if found is None:
            raise hub_data.forbidden(download.hub or "")
        part = self._transfer.part(source)
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found[1], part)
        except OSError as error:
            raise _full(error, self.root) from error
        return part

    def _place(self, task: str, download: Download, source: DownloadSource, path: Path) -> Fetched:
        """Check a file that has come, and move it to its name; a wrong one is removed."""
        name, digest, size = download.to, sha256(path), path.stat().st_size
        try:
            self._compare(name, digest, source)
        except UserError:
            path.unlink()
            self._transfer.forget(source)
            raise
        goal = self.root / name
        try:
            goal.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, goal)
        except OSError as error:
            raise _full(error, goal) from error
        if download.member is None:
            self._transfer.forget(source)
        self._records.files[name] = Record(
            sha256=digest, bytes=size, source=source.address, member=download.member, commit=source.commit,
            date=now(),
        )  # fmt: skip
        self._records.save(self.root)
        return Fetched(task, name, size, digest, source.address, source.commit, "fetched")

    def _compare(self, name: str, digest: str, source: DownloadSource) -> None:
        """Refuse a file that is not the official one, or not the one of the first fetch."""
        official, before = shipped().get(name), self._records.files.get(name)
        if official is not None and digest != official:
            what = f"'{name}' is not the official file: its SHA-256 is {digest}, not {official}"
            raise UserError(f"{what}; it was not kept", source.address, "the publisher may have changed it")
        if official is None and before is not None and digest != before.sha256 and not self.force:
            what = f"'{name}' is no longer the file of {before.date}; it was not kept"
            raise UserError(what, source.address, "--force takes the new one")

    def _there(self, spec: Declaration, name: str) -> Fetched | None:
        """Return the file if a data root holds it, the one to be filled first."""
        roots = dict.fromkeys([self.root, *candidate_roots()])
        path = next((root / name for root in roots if (root / name).is_file()), None)
        if path is None:
            return None
        digest, record = sha256(path), self._records.files.get(name)
        own = path == self.root / name
        expected = shipped().get(name) or (record.sha256 if own and record else None)
        if expected is not None and digest != expected:
            fix = "fetch again with --force, which replaces it" if own else "move it away and fetch again"
            what = f"'{name}' of task '{spec.id}' is there but is not the file that it should be"
            raise UserError(what, str(path), fix)
        source, commit = (record.source, record.commit) if own and record else (str(path), None)
        return Fetched(spec.id, name, path.stat().st_size, digest, source, commit, "present")


def _full(error: OSError, path: Path) -> UserError:
    failed = disk_error(error, path)
    return UserError(failed.what, failed.where, "make room; the same command continues")
