"""Data sets on the Hugging Face hub: commits, lists of files, and files through the hub's cache."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from metaxcr.data.download import (
    ELSEWHERE,
    TIMEOUT,
    DownloadSource,
    Report,
    UnreachableError,
    no_report,
    reason,
)
from metaxcr.errors import UserError

CONVERTED = "refs/convert/parquet"  # the hub's own conversion of data sets that consist of a program
DATA = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".xml", ".txt", ".lst", ".gz", ".zip", ".tar")
NO_DATA = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "requirements.txt")


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

    Raises:
        UserError: The hub cannot be reached, or has no such data set or revision.
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

    Raises:
        UserError: The hub cannot be reached, or has no such data set or revision.
    """
    commit = resolve_revision(repo, revision)
    paths = _paths(repo, commit)
    if revision == CONVERTED or any(map(_may_hold_data, paths)):
        return commit, paths
    try:
        converted = resolve_revision(repo, CONVERTED)
    except UserError:  # there is no conversion
        return commit, paths
    return converted, _paths(repo, converted)


def download_hub_file(
    source: DownloadSource, target: Path, label: str, report: Report = no_report, *, force: bool = False
) -> None:
    """Copy a file from the hub's cache, into which it is downloaded if it is missing there or with ``force``.

    The arguments are those of :func:`metaxcr.data.download.download_url`.

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
            repo,
            source.path,
            repo_type="dataset",
            revision=source.commit,
            endpoint=_endpoint(),
            force_download=force and not _offline(),
            tqdm_class=Bar,
        )
    shutil.copyfile(cached, target)


def _endpoint() -> str:
    """Return the hub's address: ``$HF_ENDPOINT`` as it is now, or the public one."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def _offline() -> bool:
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def _paths(repo: str, commit: str) -> list[str]:
    from huggingface_hub import HfApi

    with _hub_errors(repo, commit):
        return sorted(HfApi(endpoint=_endpoint()).list_repo_files(repo, revision=commit, repo_type="dataset"))


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
    return UserError(f"no answer of a hub: {reason(error)}", page, "check HF_ENDPOINT")
