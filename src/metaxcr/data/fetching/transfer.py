"""Bytes over HTTP: a download that stopped goes on where it stopped, and no page passes for data."""

import hashlib
import http.client
import json
import shutil
import time
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from metaxcr.data.fetching.sources import DownloadSource, check_kind, check_page, reason, refused, unreachable
from metaxcr.errors import UserError
from metaxcr.files import disk_error

CHUNK = 1 << 18  # bytes
HEAD = 512  # bytes that tell what kind of file it is
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 4  # in a row without anything new
PAUSE = 1.0  # seconds before the second attempt; doubles with each
LIMIT = 64 << 30  # bytes of one file; more is a server that does not know when to stop

Report = Callable[[str, int, int | None], None]
"""Hears what is transferred: a label, the bytes that are there, the bytes in all if known."""


class _LostError(Exception):
    """The transfer stopped for a reason that may be gone at the next attempt."""


class _Redirects(HTTPRedirectHandler):
    """Follows few redirects, none out of https, and takes no token to another host."""

    max_redirections = 5
    max_repeats = 2

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        """Return the next request."""
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme == "http"):
            raise UserError(
                f"{old.netloc} redirects from {old.scheme} to {new.scheme}, which is not followed",
                req.full_url,
                "give the right address in the task's file",
            )
        request = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        if request is not None and (old.scheme, old.netloc) != (new.scheme, new.netloc):
            request.remove_header("Authorization")
        return request


class Transfer:
    """Downloads into a folder; a host that cannot be reached is asked once only.

    Args:
        folder: Where parts lie, named after their addresses.
        report: Hears of every piece.
    """

    def __init__(self, folder: Path, report: Report | None = None) -> None:
        self.folder = folder
        self._report = report or (lambda label, done, total: None)
        self._unreachable: dict[str, UserError] = {}
        self._opener = build_opener(_Redirects)

    def part(self, source: DownloadSource) -> Path:
        """Return the name of what is there of a file."""
        return self.folder / f"{hashlib.sha256(source.address.encode()).hexdigest()[:24]}.part"

    def forget(self, source: DownloadSource) -> None:
        """Remove what is there of a file."""
        for path in (self.part(source), _state(self.part(source))):
            path.unlink(missing_ok=True)

    def get(self, source: DownloadSource, label: str) -> Path:
        """Bring a file, or the rest of it.

        Args:
            source: Where from.
            label: What the report calls it.

        Returns:
            The whole file, under its name in the folder; the caller moves it to its place or forgets it.

        Raises:
            UserError: The host cannot be reached, refuses, sends a web page or stops midway, or the disk is
                full.
        """
        part, host = self.part(source), urlsplit(source.address).netloc
        if host in self._unreachable:
            raise self._unreachable[host]
        failures, best = 0, _size(part)
        while True:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._attempt(source, part, label)
                return part
            except UserError:
                if not _size(part):
                    self.forget(source)
                raise
            except _LostError as lost:
                failures, best = (0 if _size(part) > best else failures + 1), max(best, _size(part))
                if failures >= ATTEMPTS:
                    fix = "the same command continues where it stopped"
                    raise UserError(f"the download stopped: {lost}", source.address, fix) from lost
                time.sleep(PAUSE * 2 ** max(0, failures - 1))
            except URLError as error:
                self._unreachable[host] = unreachable(host, error.reason)
                raise self._unreachable[host] from error
            except OSError as error:
                full = disk_error(error, part)
                raise UserError(full.what, full.where, "make room; the same command continues") from error

    def _attempt(self, source: DownloadSource, part: Path, label: str) -> None:
        """Ask for the part of the file that is missing, and write what comes."""
        offset, validator = _resumable(part)
        request = Request(quote(source.address, safe=":/?#[]@!$&'()*+,;=%~"), headers=dict(source.headers))
        request.add_header("Accept-Encoding", "identity")  # otherwise sizes and offsets are of something else
        if offset:
            request.add_header("Range", f"bytes={offset}-")
            request.add_header("If-Range", validator)  # a file that changed comes as a whole
        try:
            response = self._opener.open(request, timeout=TIMEOUT)
        except HTTPError as error:
            error.close()
            if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{offset}":
                return  # there is nothing beyond what is there
            if error.code == 416:
                part.unlink(missing_ok=True)
                raise _LostError("the file changed") from error
            message = refused(error, source)
            raise message or _LostError(f"the server says {error.code} {error.reason}") from error
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            raise _LostError(reason(error)) from error
        with response:
            if response.status != 206 or not _continues(response, offset):
                if response.status == 206:
                    part.unlink(missing_ok=True)
                    raise _LostError("the server continues elsewhere than asked")
                offset = 0
            self._receive(response, source, part, offset, label)

    def _receive(self, response: Any, source: DownloadSource, part: Path, offset: int, label: str) -> None:
        """Write a response behind the first ``offset`` bytes."""
        length = response.headers.get("Content-Length")
        total = offset + int(length) if length and length.isdigit() else None
        check_kind(response.headers, source)
        _check_room(part, total, offset, source)
        if not offset:
            validator = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
            part.unlink(missing_ok=True)  # a part never lies beside the state of another
            state = {"address": source.address, "validator": "" if validator.startswith("W/") else validator}
            _state(part).write_text(json.dumps(state), encoding="utf-8")
        done = offset
        with part.open("ab") as file:
            while chunk := _read(response, whole=not done):
                if not done:
                    check_page(chunk, response.headers, source)
                file.write(chunk)
                done += len(chunk)
                if done > LIMIT:
                    raise UserError(f"more than {LIMIT >> 30} GiB come from there", source.address)
                self._report(label, done, total)
        if total is not None and done < total:
            raise _LostError(f"{done} of {total} bytes came")
        if not done:
            raise UserError("the server sent an empty file", source.address, f"see {source.page}")


def _check_room(part: Path, total: int | None, offset: int, source: DownloadSource) -> None:
    """Refuse to begin what cannot end."""
    free = shutil.disk_usage(part.parent).free
    if total is not None and total > LIMIT:
        raise UserError(f"the file has {total} bytes, more than {LIMIT >> 30} GiB", source.address)
    if total is not None and total - offset > free:
        what = f"the disk is too full: {total - offset} bytes are needed, {free} are free"
        raise UserError(what, str(part.parent), "make room; the same command continues")


def _read(response: Any, *, whole: bool) -> bytes:
    """Read what has come, or as much as tells data from a page."""
    try:
        return bytes(response.read(HEAD) if whole else response.read1(CHUNK))
    except (OSError, http.client.HTTPException) as error:
        raise _LostError(reason(error)) from error


def _continues(response: Any, offset: int) -> bool:
    """Whether a partial answer begins where the part ends."""
    return bool(offset) and str(response.headers.get("Content-Range", "")).startswith(f"bytes {offset}-")


def _resumable(part: Path) -> tuple[int, str]:
    """How many bytes are there, and what tells whether they are still of the same file."""
    try:
        validator = json.loads(_state(part).read_text(encoding="utf-8"))["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""
    return (_size(part), str(validator)) if validator else (0, "")


def _state(part: Path) -> Path:
    return part.with_suffix(".json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
