"""Data sets on the Hugging Face hub: which commit a name means, which files it has, where they lie."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from metaxcr.data.fetching.sources import ELSEWHERE, DownloadSource, not_allowed, unreachable
from metaxcr.data.fetching.transfer import TIMEOUT
from metaxcr.errors import UserError

CONVERTED = "refs/convert/parquet"  # where the hub keeps data sets in a format that needs no program
DATA = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".xml", ".txt", ".lst", ".gz", ".zip", ".tar")
NO_DATA = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "requirements.txt")


def endpoint() -> str:
    """Return the hub's address: ``$HF_ENDPOINT`` as it is now, or the public one."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def page(repo: str) -> str:
    """Return the address of a data set's page."""
    return f"{endpoint()}/datasets/{repo}"


def resolve(repo: str, revision: str) -> str:
    """Return the commit that a branch or tag means now; a commit is returned as it is.

    Args:
        repo: ``owner/name``.
        revision: Branch, tag or commit.

    Raises:
        UserError: The hub cannot be reached, or has no such data set or revision.
    """
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub import HfApi

    with _hub_errors(repo, revision):
        commit = HfApi(endpoint=endpoint()).dataset_info(repo, revision=revision, timeout=TIMEOUT).sha
    if not commit:
        raise UserError(f"{endpoint()} names no commit of '{revision}'", page(repo), "give a commit")
    return commit


def hub_files(repo: str, revision: str = "main") -> tuple[str, list[str]]:
    """List the files of a data set.

    Where a repository holds a program in place of data, the hub's own conversion to Parquet is listed: the
    program is never run.

    Args:
        repo: ``owner/name``.
        revision: Branch, tag or commit.

    Returns:
        The commit, and the paths at it, sorted.

    Raises:
        UserError: The hub cannot be reached, or has no such data set or revision.
    """
    commit = resolve(repo, revision)
    paths = _listed(repo, commit)
    if any(is_data(path) for path in paths) or revision == CONVERTED:
        return commit, paths
    try:
        converted = resolve(repo, CONVERTED)
    except UserError:  # there is no conversion
        return commit, paths
    return converted, _listed(repo, converted)


def is_data(path: str) -> bool:
    """Whether a file of a repository may hold examples, by its name."""
    name = path.rsplit("/", 1)[-1].lower()
    return name.endswith(DATA) and name not in NO_DATA and not path.startswith(".")


def source(repo: str, commit: str, path: str) -> DownloadSource:
    """Return where a file of a data set lies.

    Args:
        repo: ``owner/name``.
        commit: From :func:`resolve`.
        path: Inside the repository.
    """
    from huggingface_hub import constants, get_token, hf_hub_url

    address = hf_hub_url(repo, path, repo_type="dataset", revision=commit, endpoint=endpoint())
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return DownloadSource(address, page(repo), commit=commit, headers=headers, hub=True)


def offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` forbids to ask the hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def cached(repo: str, revision: str, path: str) -> tuple[str, Path] | None:
    """Find a file that another program has already brought into the hub's own cache.

    Returns:
        Its commit and the file, or None.
    """
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, path, revision=revision, repo_type="dataset")
    if not isinstance(found, str):
        return None
    parts = Path(found).parts
    return parts[len(parts) - parts[::-1].index("snapshots")], Path(found)


def forbidden(repo: str) -> UserError:
    """Return the message for a hub that must not be asked."""
    fix = f"unset it, or {ELSEWHERE}"
    return UserError(f"HF_HUB_OFFLINE is set and '{repo}' is not in the hub's cache", None, fix)


def _listed(repo: str, commit: str) -> list[str]:
    from huggingface_hub import HfApi

    with _hub_errors(repo, commit):
        return sorted(HfApi(endpoint=endpoint()).list_repo_files(repo, revision=commit, repo_type="dataset"))


@contextmanager
def _hub_errors(repo: str, revision: str) -> Iterator[None]:
    """Turn what the hub's library raises into a message."""
    from huggingface_hub import errors

    # The base is an error of the HTTP library, which is not the same in all versions.
    network_error: type[Exception] = errors.HfHubHTTPError.__bases__[0]
    try:
        yield
    except errors.OfflineModeIsEnabled as error:
        raise forbidden(repo) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"'{repo}' has no revision '{revision}'", page(repo), "see the page") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status == 403 or isinstance(error, errors.GatedRepoError):
            raise not_allowed(DownloadSource("", page(repo), hub=True), status) from error
        if status in (401, 404):  # a stranger is not told whether it does not exist or is private
            fix = "check the name; if it is private or has terms to accept, do so and set HF_TOKEN"
            raise UserError(f"the hub shows no data set '{repo}' ({status})", page(repo), fix) from error
        raise UserError(f"the hub says {status}", page(repo), "try again later") from error
    except (network_error, OSError) as error:
        raise unreachable(urlsplit(endpoint()).netloc, error) from error
    except ValueError as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise UserError(f"no answer of a hub: {reason}", page(repo), "check HF_ENDPOINT") from error
