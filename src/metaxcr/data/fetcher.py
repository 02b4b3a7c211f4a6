"""The files of declared tasks in a data root: what is missing is fetched, unpacked, checked and recorded.

``fetched.json`` in the data root says what was fetched: source, commit, SHA-256 and date of every file.
"""

import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from metaxcr.data.download import (
    AGAIN,
    DownloadSource,
    Report,
    UnreachableError,
    download_hub_file,
    download_url,
    hub_page,
    hub_source,
    no_report,
    resolve_revision,
)
from metaxcr.data.registry import candidate_roots, downloads_of, files_of, official_checksums, sha256
from metaxcr.data.spec import RECORD_FILE, Declaration, Download
from metaxcr.errors import UserError
from metaxcr.files import disk_error, lock_folder, write_atomically

PARTIAL = ".partial"  # folder under the root for files that are not complete
MAKE_ROOM = f"make room, then {AGAIN}"
MEMBER_LIMIT = 8 << 30  # bytes of one member of an archive
ARCHIVE_LIMIT = 64 << 30  # bytes of a tar, unpacked: it is read until the members are found
UNPACK_CHUNK = 1 << 20
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


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
    """What was fetched into a data root."""

    files: dict[str, FileRecord] = {}  # name under the root -> how it was fetched
    revisions: dict[str, str] = {}  # owner/name@revision -> the commit that it meant at the first fetch


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
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = lock_folder(root, "another fetch fills this folder", ".fetch.lock")
    except OSError as error:
        raise disk_error(error, root, "give another folder with --to") from error
    try:
        shutil.rmtree(root / PARTIAL, ignore_errors=True)  # of a process that was killed
        yield Fetcher(root, force, report)
    finally:
        shutil.rmtree(root / PARTIAL, ignore_errors=True)
        lock.release()


class Fetcher:
    """Fills one data root; see :func:`open_fetcher`."""

    def __init__(self, root: Path, force: bool, report: Report) -> None:
        self.root, self.force, self.report = root, force, report
        self.record = _read_record(root / RECORD_FILE)
        self._archives: dict[DownloadSource, Path] = {}  # kept for other members until the end
        self._unreachable: dict[str, UnreachableError] = {}  # hosts, which are tried once only
        self._resolved: set[str] = set()  # revisions that were looked up in this fetch

    def plan(self, spec: Declaration, split: str | None = None, language: str | None = None) -> FetchPlan:
        """Compare the files of a task, of one split or one language of it, with what is there."""
        downloads = {download.to: download for download in downloads_of(spec, split, language)}
        plan = FetchPlan(spec, [], [], [])
        for name in {**dict.fromkeys(files_of(spec, split, language)), **downloads}:
            if not (self.force and name in downloads) and (present := self._present(spec, name)):
                plan.present.append(present)
            elif name in downloads:
                plan.missing.append(downloads[name])
            else:
                plan.manual.append(name)
        return plan

    def fetch(
        self, task: str, downloads: Sequence[Download], page: str | None = None
    ) -> Iterator[FetchedFile]:
        """Fetch files, one after the other; those that are complete stay when a later one fails."""
        groups: dict[object, dict[str, Download]] = {}  # an archive is read once for all of its members
        for download in downloads:
            archive = (download.url, download.hub, download.revision, download.path)
            groups.setdefault(archive if download.member else download.to, {})[download.to] = download
        for group in groups.values():
            first = next(iter(group.values()))
            if first.hub is None:
                source = DownloadSource(str(first.url), page or str(first.url))
            else:
                commit = self.commit(first.hub, first.revision, first.hub_path)
                source = hub_source(first.hub, commit, first.hub_path)
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
            wanted = {member or "": partial / f"member-{number}" for number, member in enumerate(members)}
            extract(self._archives[source], wanted, source.address)
            return [wanted[member or ""] for member in members]
        except OSError as error:
            raise disk_error(error, self.root, MAKE_ROOM) from error

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
            raise disk_error(error, target, MAKE_ROOM) from error
        self.record.files[name] = FileRecord(
            sha256=digest, bytes=size, source=source.address, member=download.member, commit=source.commit,
            date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )  # fmt: skip
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
            raise UserError(error.what, error.where, MAKE_ROOM) from error


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


def extract(archive: Path, wanted: Mapping[str, Path], name: str) -> None:
    """Write members of a zip or tar archive to files; names inside the archive never become paths.

    ``wanted`` maps members to the files to write, ``name`` is the archive's name in messages.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                _extract_zip(opened, wanted, name)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                _extract_tar(tar, wanted, name)
        else:
            raise UserError("the file is neither a zip nor a tar archive", name, "see the task's page")
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the archive cannot be read: {reason}", name, "fetch again") from error


def _extract_zip(archive: zipfile.ZipFile, wanted: Mapping[str, Path], name: str) -> None:
    entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
    for member, target in wanted.items():
        if member not in entries:
            raise _missing(member, entries, name)
        with archive.open(entries[member]) as stream:
            _copy(stream, entries[member].file_size, target, member, name)


def _extract_tar(archive: tarfile.TarFile, wanted: Mapping[str, Path], name: str) -> None:
    """Read up to the last wanted entry: a tar has no table of contents."""
    left, seen = dict(wanted), []
    for entry in archive:
        if entry.offset_data + entry.size > ARCHIVE_LIMIT:
            raise UserError(f"the archive unpacks to more than {ARCHIVE_LIMIT} bytes", name)
        member = entry.name.removeprefix("./")
        seen.append(member)
        if (target := left.pop(member, None)) is not None:
            stream = archive.extractfile(entry) if entry.isreg() else None  # a link may point anywhere
            if stream is None:
                raise UserError(f"'{member}' in the archive is no plain file", name)
            with stream:
                _copy(stream, entry.size, target, member, name)
        if not left:
            return
    raise _missing(next(iter(left)), seen, name)


def _copy(stream: IO[bytes], size: int, target: Path, member: str, name: str) -> None:
    """Copy and count: a member may be larger than the ``size`` that the archive says."""
    error = UserError(f"'{member}' unpacks to more than {MEMBER_LIMIT} bytes", name)
    if size > MEMBER_LIMIT:
        raise error
    with target.open("wb") as file:
        while chunk := stream.read(UNPACK_CHUNK):
            if file.tell() + len(chunk) > MEMBER_LIMIT:
                raise error
            file.write(chunk)


def _missing(member: str, entries: Collection[str], name: str) -> UserError:
    last = member.rsplit("/", 1)[-1]
    similar = [entry for entry in entries if entry.rsplit("/", 1)[-1] == last]
    found = f"it has '{similar[0]}'" if similar else f"it has {len(entries)} others"
    return UserError(f"there is no '{member}' in the archive", name, f"{found}; correct 'member'")
