from pathlib import Path

import huggingface_hub
import pytest

from metaxcr.errors import UserError
from metaxcr.hub import download, upload


@pytest.mark.parametrize("name", ["model", "./model", "/tmp/model", "a/b/c", "~/model"])
def test_a_name_that_no_repository_can_have_is_taken_for_a_missing_folder(name: str) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        download(name, None, ["*"])


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **named: object) -> str:
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(UserError, match="cannot be downloaded from the hub: no route to host") as told:
        download("owner/name", None, ["*"])
    assert "\n" not in str(told.value) and "and more" not in str(told.value)


def test_an_upload_creates_the_repository_and_gives_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    class Api:
        def __init__(self, token: str | None) -> None:
            calls.append(("token", token))

        def create_repo(self, name: str, **options: object) -> None:
            calls.append((name, options))

        def upload_folder(self, **options: object) -> object:
            calls.append(("upload", options["folder_path"]))
            return type("Commit", (), {"commit_url": "https://hub/commit"})()

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert upload(tmp_path, "me/mine", private=True, token="t", message="m") == "https://hub/commit"
    assert calls == [
        ("token", "t"), ("me/mine", {"private": True, "exist_ok": True}), ("upload", tmp_path),
    ]  # fmt: skip
