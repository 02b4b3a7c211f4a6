"""The files of declared tasks in a data root: what is missing is fetched, checked and recorded.

``fetched.json`` in the data root says what was fetched: source, commit, SHA-256 and date of every file.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from metaxcr.data.data_dirs import Declaration, candidate_roots, files_of, sha256
from metaxcr.data.download import (
    AGAIN,
    RECORD_FILE,
    Download,
    DownloadSource,
    Report,
    UnreachableError,
    download_url,
    extract,
    no_report,
    write_error,
)
from metaxcr.data.hub_data import download_hub_file, hub_page, hub_source, resolve_revision
from metaxcr.errors import UserError
from metaxcr.files import disk_error, lock_folder, write_atomically
from metaxcr.parse import lines_of_text

CHECKSUMS = Path(__file__).parent / "specs" / "SHA256SUMS"
PARTIAL = ".partial"  # folder under the root for files that are not complete


class FileRecord(BaseModel):
    """How a file was fetched; the source holds no token, the date is UTC."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    bytes: int
    source: str
    member: str | None = None
    commit: str | None = None
    date: str


class FetchRecord(BaseModel):
    """What was fetched into a data root.

    Attributes:
        files: Name under the root -> how it was fetched.
        revisions: ``owner/name@revision`` -> the commit that it meant at the first fetch.
    """

    files: dict[str, FileRecord] = {}
    revisions: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """One file of a task after a fetch; ``file`` is its name under the data root."""

    task: str
    file: str
    bytes: int
    sha256: str
    source: str | None
    commit: str | None
    status: Literal["fetched", "present"]


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """The files of a task: those that are there, those to fetch, and those that only a person can get."""

    spec: Declaration
    present: list[FetchedFile]
    missing: list[Download]
    manual: list[str]


@contextmanager
def open_fetcher(root: Path, *, force: bool = False, report: Report = no_report) -> Iterator["Fetcher"]:
    """Keep other processes from filling a data root, and give what fills it.

    With ``force``, files that are there are fetched again, and branches of the hub are taken as they are now.

    Raises:
        UserError: Another process fills the data root, it cannot be written, or its record is damaged.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = lock_folder(root, "another fetch fills this folder", ".fetch.lock")
    except OSError as error:
        failed = disk_error(error, root)
        raise UserError(failed.what, failed.where, "give another folder with --to") from error
    try:
        shutil.rmtree(root / PARTIAL, ignore_errors=True)  # of a process that was killed
        yield Fetcher(root, _read_record(root / RECORD_FILE), force, report)
    finally:
        shutil.rmtree(root / PARTIAL, ignore_errors=True)
        lock.release()


class Fetcher:
    """Fills one data root; see :func:`open_fetcher`."""

    def __init__(self, root: Path, record: FetchRecord, force: bool, report: Report) -> None:
        self.root, self.record, self.force, self.report = root, record, force, report
        self._archives: dict[DownloadSource, Path] = {}  # kept for other members until the end
        self._unreachable: dict[str, UnreachableError] = {}  # hosts, which are tried once only
        self._resolved: set[str] = set()  # revisions that were looked up in this fetch

    def plan(self, spec: Declaration, split: str | None = None, language: str | None = None) -> FetchPlan:
        """Compare the files of a task, of one split or one language of it, with what is there.

        Raises:
            UserError: The task has no such split or language, or a file is there but is not the official one.
        """
        downloads = {download.to: download for download in downloads_of(spec, split, language)}
        plan = FetchPlan(spec, [], [], [])
        for name in {**dict.fromkeys(files_of(spec, split, language)), **downloads}:
            present = None if self.force and name in downloads else self._present(spec, name)
            if present is not None:
                plan.present.append(present)
            elif name in downloads:
                plan.missing.append(downloads[name])
            else:
                plan.manual.append(name)
        return plan

    def fetch(
        self, task: str, downloads: Sequence[Download], page: str | None = None
    ) -> Iterator[FetchedFile]:
        """Fetch files, one after the other; those that are complete stay when a later one fails.

        Raises:
            UserError: A file cannot be fetched, or is not the one that it should be.
        """
        groups: dict[object, dict[str, Download]] = {}  # an archive is read once for all of its members
        for download in downloads:
            archive = (download.url, download.hub, download.revision, download.path)
            groups.setdefault(archive if download.member else download.to, {})[download.to] = download
        for group in groups.values():
            source = self._source(next(iter(group.values())), page)
            for download, path in zip(group.values(), self._files(source, group), strict=True):
                yield self._place(task, download, source, path)

    def commit(self, repo: str, revision: str, path: str | None = None) -> str:
        """Return the commit that a revision means in this data root: the one of the first fetch."""
        key = f"{repo}@{revision}"
        known = self.record.revisions.get(key)
        if known and (not self.force or key in self._resolved):
            return known
        commit = resolve_revision(repo, revision, path)
        self._resolved.add(key)
        if commit != revision:
            self.record.revisions[key] = commit
            self._save_record()
        return commit

    def _source(self, download: Download, page: str | None) -> DownloadSource:
        if download.hub is None:
            url = download.url or ""
            return DownloadSource(url, page or url)
        commit = self.commit(download.hub, download.revision, download.hub_path)
        return hub_source(download.hub, commit, download.hub_path)

    def _files(self, source: DownloadSource, downloads: dict[str, Download]) -> list[Path]:
        """Fetch what a source holds of one or, from an archive, several files; return temporary names."""
        partial, members = self.root / PARTIAL, [download.member for download in downloads.values()]
        try:
            partial.mkdir(exist_ok=True)
            if members == [None]:
                return [self._download(source, partial / "file", next(iter(downloads)))]
            if source not in self._archives:
                target = partial / f"archive-{len(self._archives)}"
                self._archives[source] = self._download(source, target, source.address)
            targets = [partial / f"member-{number}" for number in range(len(members))]
            wanted = {member or "": target for member, target in zip(members, targets, strict=True)}
            extract(self._archives[source], wanted, source.address)
            return targets
        except OSError as error:
            raise write_error(error, self.root) from error

    def _download(self, source: DownloadSource, target: Path, label: str) -> Path:
        host = urlsplit(source.address).netloc
        if host in self._unreachable:
            raise self._unreachable[host]
        target.unlink(missing_ok=True)
        try:
            if source.repo is None:
                download_url(source, target, label, self.report)
            else:
                download_hub_file(source, target, label, self.report, force=self.force)
        except UnreachableError as error:
            self._unreachable[host] = error
            raise
        return target

    def _place(self, task: str, download: Download, source: DownloadSource, path: Path) -> FetchedFile:
        """Check a complete file, move it to its name, and record it."""
        name, digest, size = download.to, sha256(path), path.stat().st_size
        self._check(name, digest, source)
        target = self.root / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
        except OSError as error:
            raise write_error(error, target) from error
        self.record.files[name] = FileRecord(
            sha256=digest,
            bytes=size,
            source=source.address,
            member=download.member,
            commit=source.commit,
            date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        self._save_record()
        return FetchedFile(task, name, size, digest, source.address, source.commit, "fetched")

    def _check(self, name: str, digest: str, source: DownloadSource) -> None:
        """Refuse a file that is not the official one, or not the one of the first fetch."""
        official, before = official_checksums().get(name), self.record.files.get(name)
        if official is not None and digest != official:
            what = f"'{name}' is not the official file: its SHA-256 is {digest}, not {official}"
            raise UserError(f"{what}; it was not kept", source.address, "the publisher may have changed it")
        if official is None and before is not None and digest != before.sha256 and not self.force:
            what = f"'{name}' is no longer the file of {before.date}; it was not kept"
            raise UserError(what, source.address, "--force takes the new one")

    def _present(self, spec: Declaration, name: str) -> FetchedFile | None:
        """Return a file that a data root holds, the one to fill first."""
        roots = dict.fromkeys([self.root, *candidate_roots()])
        path = next((root / name for root in roots if (root / name).is_file()), None)
        if path is None:
            return None
        own = path == self.root / name
        digest, record = sha256(path), self.record.files.get(name) if own else None
        expected = official_checksums().get(name) or (record and record.sha256)
        if expected is not None and digest != expected:
            fix = "fetch again with --force, which replaces it" if own else "move it away and fetch again"
            what = f"'{name}' of task '{spec.id}' is there but is not the file that it should be"
            raise UserError(what, str(path), fix)
        source, commit = (record.source, record.commit) if record else (str(path), None)
        return FetchedFile(spec.id, name, path.stat().st_size, digest, source, commit, "present")

    def _save_record(self) -> None:
        try:
            write_atomically(self.root / RECORD_FILE, self.record.model_dump_json(indent=1) + "\n")
        except UserError as error:
            raise UserError(error.what, error.where, f"make room, then {AGAIN}") from error


def _read_record(path: Path) -> FetchRecord:
    try:
        return FetchRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return FetchRecord()
    except (OSError, ValueError) as error:
        fix = "move it away; the files are then recorded anew"
        raise UserError("the records of earlier fetches cannot be read", str(path), fix) from error


def fetch_hub_files(
    repo: str, revision: str, paths: Sequence[str], root: Path, report: Report = no_report
) -> tuple[str, list[Path]]:
    """Fetch files of a data set on the hub that no task declares into ``hub/owner/name/<commit>/``.

    Returns:
        The commit and the local files, in the order of ``paths``.

    Raises:
        UserError: The hub cannot be reached, refuses, or has no such file.
    """
    with open_fetcher(root, report=report) as fetcher:
        commit = fetcher.commit(repo, revision, paths[0] if paths else None)
        files = []
        for path in paths:
            name = f"hub/{repo}/{commit[:12]}/{path}"
            if any(part in ("", ".", "..") for part in name.split("/")):
                raise UserError(f"'{path}' is no path of a file", hub_page(repo))
            file, record = root / name, fetcher.record.files.get(name)
            if not (record and file.is_file() and sha256(file) == record.sha256):
                download = Download.model_construct(to=name, hub=repo, revision=commit, path=path)
                list(fetcher.fetch(repo, [download]))
            files.append(file)
    return commit, files


def downloads_of(spec: Declaration, split: str | None = None, language: str | None = None) -> list[Download]:
    """List the downloads of a task, or of one split or language of it, without placeholders, one a file.

    A language's file that no split names is left out; a file for all languages that no split names (a
    licence) belongs to the whole task only.
    """
    names = set(files_of(spec, split, language))
    codes = [spec.codes.get(code, code) for code in spec.languages]
    found: dict[str, Download] = {}
    for declared in spec.fetch:
        for code in codes if declared.per_language else [""]:
            download = declared.for_language(code)
            if download.to in names or not (declared.per_language or split or language):
                found.setdefault(download.to, download)
    return list(found.values())


@lru_cache(maxsize=1)
def official_checksums() -> dict[str, str]:
    """Return the SHA-256 of the official files of the package's tasks, by name under a data root."""
    lines = lines_of_text(CHECKSUMS.read_text(encoding="utf-8"))
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines if line)}
