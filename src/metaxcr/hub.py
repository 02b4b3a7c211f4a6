"""Models to and from folders and the Hugging Face hub."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from metaxcr.errors import UserError


def upload(folder: Path, repo_id: str, *, private: bool | None, token: str | None, message: str) -> str:
    """Upload a folder to a model repository, which is created if missing; return the commit's address.

    Raises:
        UserError: The hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with _hub_errors(f"cannot upload to {repo_id!r}", "see 'hf auth login', and that the owner is you"):
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message)
    return str(commit.commit_url)


def download(name: str, revision: str | None, wanted: Sequence[str]) -> Path:
    """Fetch files of a repository on the hub; return their folder.

    Args:
        name: ``owner/name``.
        revision: Commit, tag or branch.
        wanted: Names or patterns of the files.

    Raises:
        UserError: It is no such name, or the hub does not give it.
    """
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UserError(f"there is no folder {name!r}", None, "give a folder, or owner/name on the hub")
    from huggingface_hub import snapshot_download

    with _hub_errors(f"there is no folder {name!r}, and the hub did not give it", "check name and network"):
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(wanted)))


@contextmanager
def _hub_errors(what: str, fix: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError

    network_error: type[Exception] = HfHubHTTPError.__bases__[
        0
    ]  # of the HTTP library, which is not the same in all versions
    try:
        yield
    except (OSError, ValueError, network_error) as error:
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise UserError(f"{what}: {reason}", None, fix) from error
