"""Downloads as tasks declare them: files from plain URLs with pooch, and single files out of archives."""

import lzma
import os
import re
import shutil
import ssl
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Self
from urllib.parse import urljoin, urlsplit

from pydantic import BaseModel, ConfigDict, model_validator

from metaxcr.errors import UserError
from metaxcr.files import disk_error

if TYPE_CHECKING:
    from requests import Response

MEMBER_LIMIT = 8 << 30  # bytes of one member
ARCHIVE_LIMIT = 64 << 30  # bytes of a tar, unpacked: it is read until the members are found
UNPACK_CHUNK = 1 << 20
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


def extract(archive: Path, wanted: Mapping[str, Path], name: str) -> None:
    """Write members of an archive to files; names inside the archive never become paths.

    Args:
        archive: A zip or tar file; a tar may be compressed.
        wanted: Member -> the file to write.
        name: The archive's name in messages.

    Raises:
        UserError: It is no archive, is damaged, lacks a member, or a member is larger than any data set.
    """
    try:
        if zipfile.is_zipfile(archive):
            _extract_zip(archive, wanted, name)
        elif tarfile.is_tarfile(archive):
            _extract_tar(archive, wanted, name)
        else:
            raise UserError("the file is neither a zip nor a tar archive", name, "see the task's page")
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the archive cannot be read: {reason}", name, "fetch again") from error


def _extract_zip(archive: Path, wanted: Mapping[str, Path], name: str) -> None:
    with zipfile.ZipFile(archive) as opened:
        entries = {entry.filename: entry for entry in opened.infolist() if not entry.is_dir()}
        for member, target in wanted.items():
            if member not in entries:
                raise _missing(member, entries, name)
            _check_size(member, entries[member].file_size, name)
            with opened.open(entries[member]) as stream:
                _copy(stream, target, member, name)


def _extract_tar(archive: Path, wanted: Mapping[str, Path], name: str) -> None:
    """Read up to the last wanted entry: a tar has no table of contents."""
    left, seen = dict(wanted), []
    with tarfile.open(archive) as opened:
        for entry in opened:
            if entry.offset_data + entry.size > ARCHIVE_LIMIT:
                raise UserError(f"the archive unpacks to more than {ARCHIVE_LIMIT} bytes", name)
            member = entry.name.removeprefix("./")
            seen.append(member)
            target = left.pop(member, None)
            if target is not None:
                stream = opened.extractfile(entry) if entry.isreg() else None  # a link may point anywhere
                if stream is None:
                    raise UserError(f"'{member}' in the archive is no plain file", name)
                _check_size(member, entry.size, name)
                with stream:
                    _copy(stream, target, member, name)
            if not left:
                return
    raise _missing(next(iter(left)), seen, name)


def _copy(stream: IO[bytes], target: Path, member: str, name: str) -> None:
    """Copy and count: a member may be larger than the archive says."""
    done = 0
    with target.open("wb") as file:
        while chunk := stream.read(UNPACK_CHUNK):
            done += len(chunk)
            _check_size(member, done, name)
            file.write(chunk)


def _check_size(member: str, size: int, name: str) -> None:
    if size > MEMBER_LIMIT:
        raise UserError(f"'{member}' unpacks to more than {MEMBER_LIMIT} bytes", name)


def _missing(member: str, entries: Collection[str], name: str) -> UserError:
    last = member.rsplit("/", 1)[-1]
    similar = [entry for entry in entries if entry.rsplit("/", 1)[-1] == last]
    found = f"it has '{similar[0]}'" if similar else f"it has {len(entries)} others"
    return UserError(f"there is no '{member}' in the archive", name, f"{found}; correct 'member'")


LANGUAGE = "{language}"
RECORD_FILE = "fetched.json"  # in a data root: what was fetched into it

TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 4
PAUSE = 1.0  # seconds before the second attempt; doubles with each
CHUNK = 1 << 18  # bytes
LIMIT = 64 << 30  # bytes of one file
BUSY = (408, 425, 429, 500, 502, 503, 504)  # status codes after which another attempt may succeed

ELSEWHERE = (
    "fetch on another machine ('metaxcr tasks fetch ID --to DIR') and give the copied folder as --data"
)
AGAIN = "run the command again; complete files are not fetched again"

Report = Callable[[str, int, int | None], None]
"""Called during a download with a label, the bytes received, and the bytes in all if known."""


def no_report(label: str, done: int, total: int | None) -> None:
    """Report nothing."""


class Download(BaseModel):
    """Where one file of a data set, or one file a language, is published.

    ``{language}`` in ``to``, ``url``, ``path`` and ``member`` stands for the language's code in file names;
    such a download is repeated for every language of the data set.

    Attributes:
        to: Name under the data root, as a split's files name it.
        url: Address of the file, or of the archive that holds it. Exclusive with ``hub``.
        member: Path inside the archive (zip, tar, tar.gz).
        hub: A data set on the Hugging Face hub, ``owner/name``.
        revision: On the hub. A branch is resolved at the first fetch and pinned from then on.
        path: Path inside the hub repository; default: the last part of ``to``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: str
    url: str | None = None
    member: str | None = None
    hub: str | None = None
    revision: str = "main"
    path: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.url is None) == (self.hub is None):
            raise ValueError("a download has either 'url' or 'hub'")
        if self.url is not None and not re.match(r"https?://[^/\s]", self.url):
            raise ValueError(f"'{self.url}' does not begin with https:// or http://")
        if self.hub is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.hub):
            raise ValueError(f"'{self.hub}' is no data set on the hub: it has the form owner/name")
        if self.path is not None and self.hub is None:
            raise ValueError("'path' goes with 'hub'; the path inside an archive is 'member'")
        if self.member is not None and self.hub is not None and self.path is None:
            raise ValueError("'member' on the hub needs 'path', the archive that holds it")
        hidden = any(part.startswith(".") or not part for part in self.to.split("/"))
        if hidden or "\\" in self.to or self.to == RECORD_FILE:
            raise ValueError(f"'to' is '{self.to}', but must be a plain path below the data root")
        sources = [text for text in (self.url, self.hub and self.hub_path, self.member) if text]
        for text in (self.to, *sources):
            unknown = set(re.findall(r"\{[^{}]*\}", text)) - {LANGUAGE}
            if unknown:
                raise ValueError(f"template '{text}' may name only {LANGUAGE}, not {unknown.pop()}")
        if self.per_language != any(LANGUAGE in text for text in sources):
            raise ValueError(f"{LANGUAGE} stands in 'to' and in where the file comes from, or in neither")
        return self

    @property
    def per_language(self) -> bool:
        """Whether every language has a file of its own."""
        return LANGUAGE in self.to

    @property
    def hub_path(self) -> str:
        """The path inside the hub repository."""
        return self.path or PurePosixPath(self.to).name

    def for_language(self, code: str) -> Self:
        """Put a language's code, as file names spell it, into all templates."""
        templates = self.model_dump(include={"to", "url", "member", "path"}, exclude_none=True)
        return self.model_copy(update={key: text.replace(LANGUAGE, code) for key, text in templates.items()})


@dataclass(frozen=True, slots=True)
class DownloadSource:
    """A file on the network; ``page`` is for a person who cannot get it, the rest is of files on the hub."""

    address: str
    page: str
    repo: str | None = None
    commit: str | None = None
    path: str = ""


class UnreachableError(UserError):
    """Raised when there is no connection to a host."""

    def __init__(self, host: str, error: BaseException) -> None:
        cause = root_cause(error)
        what, fix = f"cannot reach {host}: {reason(cause)}", f"check the network, or {ELSEWHERE}"
        if isinstance(cause, ssl.SSLCertVerificationError):
            what = f"the certificate of {host} cannot be verified"
            fix = "set SSL_CERT_FILE to the file of your certificates"
        super().__init__(what, None, fix)


def download_url(source: DownloadSource, target: Path, label: str, report: Report = no_report) -> None:
    """Download a file from a plain address, in several attempts if the connection breaks.

    Args:
        source: Where the file is.
        target: The file to write; it appears when it is complete.
        label: Name of the file in the progress report.
        report: Called with the progress.

    Raises:
        UserError: The host cannot be reached, refuses, sends a web page or stops, or the disk is too full.
        OSError: The file cannot be written.
    """
    import pooch
    import requests
    from requests.exceptions import ChunkedEncodingError

    pooch.get_logger().setLevel("WARNING")
    for attempt in range(ATTEMPTS):
        transfer = _Transfer(source, target.parent, label, report)
        try:
            pooch.retrieve(source.address, None, target.name, target.parent, downloader=transfer)
            return
        except requests.HTTPError as error:
            if transfer.status not in BUSY:
                raise _refusal(transfer.status, source) from error
            problem = f"the server says {transfer.status}"
        except (requests.ConnectionError, requests.Timeout, ChunkedEncodingError) as error:
            cause, problem = root_cause(error), reason(root_cause(error))
            if not transfer.status and not isinstance(cause, ConnectionResetError):
                raise UnreachableError(urlsplit(source.address).netloc, cause) from error
        except (requests.RequestException, ValueError) as error:  # too many redirects, headers that are none
            raise UserError(f"no download: {reason(error)}", source.address, f"see {source.page}") from error
        if attempt < ATTEMPTS - 1:
            time.sleep(PAUSE * 2**attempt)
    raise UserError(f"the download stopped: {problem}", source.address, AGAIN)


class _Transfer:
    """Downloads and checks one file: for pooch, the downloader and its progress bar."""

    def __init__(self, source: DownloadSource, folder: Path, label: str, report: Report) -> None:
        self.source, self.folder, self.label, self.report = source, folder, label, report
        self.status, self.kind, self.done, self.total = 0, "", 0, 0

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        """Write the file that an address gives."""
        from pooch import HTTPDownloader

        download = HTTPDownloader(
            progressbar=self,
            chunk_size=CHUNK,
            timeout=TIMEOUT,
            headers={"Accept-Encoding": "identity"},  # sizes and checksums are of the file as it is
            hooks={"response": self.check_response},
            verify=os.environ.get("SSL_CERT_FILE", True),
        )
        download(url, output_file, pooch)
        self._check_file(Path(output_file))

    def check_response(self, response: "Response", **_: Any) -> None:
        """Check an answer before its content is read; called for redirects, too."""
        self.status = response.status_code
        address, page = self.source.address, self.source.page
        if response.is_redirect:
            old, new = (urlsplit(urljoin(response.url, u)) for u in ("", response.headers["Location"]))
            if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme == "http"):
                what = f"{old.netloc} redirects from {old.scheme} to {new.scheme}, which is not followed"
                raise UserError(what, response.url, "give the right address in the task's file")
        elif response.ok:
            encoding = response.headers.get("Content-Encoding", "identity").lower()
            if encoding not in ("", "identity"):
                raise UserError(f"the server sends the file as {encoding}", address, f"see {page}")
            self.kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
            size, free = int(response.headers.get("Content-Length", 0)), shutil.disk_usage(self.folder).free
            if size > LIMIT:
                raise UserError(f"the file has {size} bytes, more than {LIMIT >> 30} GiB", address)
            if size > free:
                what = f"the disk is too full: {size} bytes are needed, {free} are free"
                raise UserError(what, str(self.folder), f"make room, then {AGAIN}")

    def update(self, count: int) -> None:
        """Count received bytes; pooch counts the last chunk as a whole one."""
        self.done = min(self.done + count, self.total or self.done + count)
        if self.done > LIMIT:
            raise UserError(f"more than {LIMIT >> 30} GiB were received", self.source.address)
        if count:
            self.report(self.label, self.done, self.total or None)

    def reset(self) -> None:
        """Begin to count anew."""
        self.done = 0

    def close(self) -> None:
        """Do nothing: pooch closes its progress bars."""

    def _check_file(self, path: Path) -> None:
        """Refuse an empty file and a web page: a login, a notice, an error that calls itself a success."""
        from requests.exceptions import ChunkedEncodingError

        address, page = self.source.address, self.source.page
        with path.open("rb") as file:
            begin = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        if not path.stat().st_size:
            raise UserError("the server sent an empty file", address, f"see {page}")
        if self.total not in (0, path.stat().st_size):  # older versions of urllib3 do not check this
            raise ChunkedEncodingError(f"{path.stat().st_size} of {self.total} bytes were received")
        html = begin.startswith((b"<!doctype html", b"<html"))
        html |= self.kind == "text/html" and begin.startswith(b"<") and not begin.startswith(b"<?xml")
        if html and not address.lower().endswith((".html", ".htm")):
            raise UserError("the address gave a web page, not data", address, _by_hand(page))


def _refusal(status: int, source: DownloadSource) -> UserError:
    """Return the message for a status code after which another attempt is useless."""
    what, fix = f"the server says {status}", f"see {source.page}"
    if status in (401, 403):
        what, fix = f"{urlsplit(source.address).netloc} refuses ({status})", _by_hand(source.page)
    elif status in (404, 410):
        what = f"there is no such file ({status})"
    return UserError(what, source.address, fix)


def _by_hand(page: str) -> str:
    return f"download by hand from {page} and give the folder as --data"


def write_error(error: OSError, path: Path) -> UserError:
    """Turn a failed write into a message; complete files stay."""
    failed = disk_error(error, path)
    return UserError(failed.what, failed.where, f"make room, then {AGAIN}")


def root_cause(error: BaseException) -> BaseException:
    """Return the first error of a chain."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def reason(error: BaseException) -> str:
    """Return what an error says, on one line."""
    said = getattr(error, "strerror", None) or str(error).split("\n")[0]
    return " ".join(said.split()) or type(error).__name__
