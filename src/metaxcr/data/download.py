"""Files from the network: from plain addresses with pooch, from the Hugging Face hub through its cache."""

import os
import re
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from metaxcr.errors import UserError

if TYPE_CHECKING:
    from requests import Response

TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 4
PAUSE = 1.0  # seconds before the second attempt; doubles with each
CHUNK = 1 << 18  # bytes
LIMIT = 64 << 30  # bytes of one file
BUSY = (408, 425, 429, 500, 502, 503, 504)  # status codes after which another attempt may succeed

CONVERTED = "refs/convert/parquet"  # the hub's own conversion of data sets that consist of a program
DATA = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".xml", ".txt", ".lst", ".gz", ".zip", ".tar")
NO_DATA = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "requirements.txt")

ELSEWHERE = (
    "fetch on another machine ('metaxcr tasks fetch ID --to DIR') and give the copied folder as --data"
)
AGAIN = "run the command again; complete files are not fetched again"

Report = Callable[[str, int, int | None], None]
"""Called during a download with a label, the bytes received, and the bytes in all if known."""


def no_report(label: str, done: int, total: int | None) -> None:
    """Report nothing."""


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
        cause = _root_cause(error)
        what, fix = f"cannot reach {host}: {_reason(cause)}", f"check the network, or {ELSEWHERE}"
        if isinstance(cause, ssl.SSLCertVerificationError):
            what = f"the certificate of {host} cannot be verified"
            fix = "set SSL_CERT_FILE to the file of your certificates"
        super().__init__(what, None, fix)


def _root_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _reason(error: BaseException) -> str:
    """Return what an error says, on one line."""
    said = getattr(error, "strerror", None) or str(error).split("\n")[0]
    return " ".join(said.split()) or type(error).__name__


def download_url(source: DownloadSource, target: Path, label: str, report: Report = no_report) -> None:
    """Download a file from a plain address, in several attempts if the connection breaks.

    ``target`` appears when it is complete; ``label`` is the name of the file in the progress report.

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
            cause, problem = _root_cause(error), _reason(_root_cause(error))
            if not transfer.status and not isinstance(cause, ConnectionResetError):
                raise UnreachableError(urlsplit(source.address).netloc, cause) from error
        except (requests.RequestException, ValueError) as error:  # too many redirects, headers that are none
            raise UserError(f"no download: {_reason(error)}", source.address, f"see {source.page}") from error
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

        address, page, size = self.source.address, self.source.page, path.stat().st_size
        with path.open("rb") as file:
            begin = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        if not size:
            raise UserError("the server sent an empty file", address, f"see {page}")
        if self.total not in (0, size):  # older versions of urllib3 do not check this
            raise ChunkedEncodingError(f"{size} of {self.total} bytes were received")
        html = begin.startswith((b"<!doctype html", b"<html"))
        html |= self.kind == "text/html" and begin.startswith(b"<") and not begin.startswith(b"<?xml")
        if html and not address.lower().endswith((".html", ".htm")):
            raise UserError("the address gave a web page, not data", address, _by_hand(page))


def _refusal(status: int, source: DownloadSource) -> UserError:
    """Return the message for a status code after which another attempt is useless."""
    if status in (401, 403):
        what = f"{urlsplit(source.address).netloc} refuses ({status})"
        return UserError(what, source.address, _by_hand(source.page))
    what = f"there is no such file ({status})" if status in (404, 410) else f"the server says {status}"
    return UserError(what, source.address, f"see {source.page}")


def _by_hand(page: str) -> str:
    return f"download by hand from {page} and give the folder as --data"


def hub_source(repo: str, commit: str, path: str) -> DownloadSource:
    """Return where a file of a data set is at a commit."""
    from huggingface_hub import hf_hub_url

    address = hf_hub_url(repo, path, repo_type="dataset", revision=commit, endpoint=_endpoint())
    return DownloadSource(address, hub_page(repo), repo, commit, path)


def hub_page(repo: str) -> str:
    """Return the address of a data set's page."""
    return f"{_endpoint()}/datasets/{repo}"


def resolve_revision(repo: str, revision: str, path: str | None = None) -> str:
    """Return the commit that a branch or tag of a data set means now; a commit is returned as it is.

    When the hub must not be asked, it is the commit of ``path`` in the hub's cache.
    """
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub import HfApi, try_to_load_from_cache

    if path and _offline():
        found = try_to_load_from_cache(repo, path, revision=revision, repo_type="dataset")
        if isinstance(found, str):
            parts = Path(found).parts
            return parts[len(parts) - parts[::-1].index("snapshots")]
    with _hub_errors(repo, revision):
        commit = HfApi(endpoint=_endpoint()).dataset_info(repo, revision=revision, timeout=TIMEOUT).sha
    if not commit:
        raise UserError(f"the hub names no commit of '{revision}'", hub_page(repo), "give a commit")
    return commit


def list_hub_files(repo: str, revision: str = "main") -> tuple[str, list[str]]:
    """List the files of a data set: the commit, and the paths at it, sorted.

    Where a repository holds a program in place of data, the hub's own conversion to Parquet is listed; the
    program is never run.
    """
    from huggingface_hub import HfApi

    commit = resolve_revision(repo, revision)
    with _hub_errors(repo, commit):
        api = HfApi(endpoint=_endpoint())
        paths = sorted(api.list_repo_files(repo, revision=commit, repo_type="dataset"))
    if revision != CONVERTED and not any(map(_may_hold_data, paths)):
        with suppress(UserError):  # there is no conversion
            return list_hub_files(repo, CONVERTED)
    return commit, paths


def download_hub_file(
    source: DownloadSource, target: Path, label: str, report: Report = no_report, *, force: bool = False
) -> None:
    """Copy a file from the hub's cache, into which it is downloaded if it is missing there or with ``force``.

    The arguments are those of :func:`download_url`.

    Raises:
        UserError: The hub cannot be reached, refuses, or has no such file.
        OSError: The file cannot be written.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        """Passes the progress on and draws nothing."""

        def __init__(self, *args: Any, total: int | None = None, initial: int = 0, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]
            self.received, self.expected = initial, total

        def update(self, n: float | None = 1) -> None:
            self.received += int(n or 0)
            report(label, self.received, self.expected)

    repo = source.repo or ""
    with _hub_errors(repo, source.commit, source.address):
        cached = hf_hub_download(
            repo, source.path, repo_type="dataset", revision=source.commit, endpoint=_endpoint(),
            force_download=force and not _offline(), tqdm_class=Bar,
        )  # fmt: skip
    shutil.copyfile(cached, target)


def _endpoint() -> str:
    """Return the hub's address: ``$HF_ENDPOINT`` as it is now, or the public one."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def _offline() -> bool:
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def _may_hold_data(path: str) -> bool:
    name = path.rsplit("/", 1)[-1].lower()
    return name.endswith(DATA) and name not in NO_DATA and not path.startswith(".")


@contextmanager
def _hub_errors(repo: str, revision: str | None, address: str | None = None) -> Iterator[None]:
    """Turn what huggingface_hub raises into a message."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    # The base is an error of the HTTP library, which is not the same in all versions.
    network_error: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        yield
    except (network_error, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
            raise  # the disk is full
        cause: BaseException = error
        if isinstance(error, LocalEntryNotFoundError | ValueError) and error.__cause__:
            cause = error.__cause__  # why a file that is not in the cache was not downloaded
        known = isinstance(cause, HfHubHTTPError | OfflineModeIsEnabled)
        if isinstance(cause, network_error | OSError) and not known:
            raise UnreachableError(urlsplit(_endpoint()).netloc, cause) from error
        raise _hub_error(cause, repo, revision, address) from error


def _hub_error(error: BaseException, repo: str, revision: str | None, address: str | None) -> UserError:
    from huggingface_hub import errors

    page = hub_page(repo)
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else 0
    if isinstance(error, errors.OfflineModeIsEnabled):
        what = f"HF_HUB_OFFLINE is set and '{repo}' is not in the hub's cache"
        return UserError(what, None, f"unset it, or {ELSEWHERE}")
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"'{repo}' has no revision '{revision}'", page, "see the page")
    if isinstance(error, errors.EntryNotFoundError):
        return UserError(f"there is no such file ({status})", address, f"see {page}")
    if status == 403 or isinstance(error, errors.GatedRepoError):
        fix = f"accept the terms on {page} if it has some, and set HF_TOKEN to your token"
        return UserError(f"access denied: gated data set ({status})", None, fix)
    if status in (401, 404):  # without a token, the hub does not tell a private data set from none
        fix = "check the name; if it is private or has terms to accept, do so and set HF_TOKEN"
        return UserError(f"the hub shows no data set '{repo}' ({status})", page, fix)
    if status:
        return UserError(f"the hub says {status}", page, "try again later")
    return UserError(f"no answer of a hub: {_reason(error)}", page, "check HF_ENDPOINT")
