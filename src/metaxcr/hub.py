"""Models to and from the Hugging Face hub."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from metaxcr.errors import UserError


def upload(folder: Path, repo_id: str, *, private: bool | None, token: str | None, message: str) -> str:
    """Upload a folder to a model repository, which is created if missing; return the commit's URL."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with _hub_errors(f"cannot upload to {repo_id!r}", "see 'hf auth login', and that the owner is you"):
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message)
    return str(commit.commit_url)


def download(name: str, revision: str | None, wanted: Sequence[str]) -> Path:
    """Download files, by name or pattern, of the repository ``owner/name``; return their folder."""
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UserError(f"there is no folder {name!r}", None, "give a folder, or owner/name on the hub")
    from huggingface_hub import snapshot_download

    what = f"there is no folder {name!r}, and it cannot be downloaded from the hub"
    with _hub_errors(what, "check name and network"):
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(wanted)))


@contextmanager
def _hub_errors(what: str, fix: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError

    # The base class belongs to the HTTP library, which differs between versions.
    network_error: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        yield
    except (OSError, ValueError, network_error) as error:
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise UserError(f"{what}: {reason}", None, fix) from error
