"""A folder of one process: the lock, tensors, and folders that appear whole or not at all."""

from pathlib import Path

import pytest
import torch

from metaxcr.errors import UserError
from metaxcr.work_dir import WorkDir, new_folder


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first = WorkDir(tmp_path)
    with pytest.raises(UserError, match="another process works in the folder"):
        WorkDir(tmp_path)
    first.close()
    WorkDir(tmp_path).close()


def test_tensors_and_metadata_come_back(tmp_path: Path) -> None:
    folder = WorkDir(tmp_path)
    folder.save_tensors("state.safetensors", {"a": torch.arange(3.0)}, {"step": "2"})
    tensors, metadata = folder.load_tensors("state.safetensors")
    assert torch.equal(tensors["a"], torch.arange(3.0)) and metadata == {"step": "2"}
    (tmp_path / "state.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"cannot read the checkpoint: .*start again in another folder"):
        folder.load_tensors("state.safetensors")
    folder.close()


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fill(text: str, *, fail: bool = False) -> None:
        with new_folder(tmp_path / "model") as folder:
            (folder / "file").write_text(text)
            if fail:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill("first", fail=True)
    assert not list(tmp_path.iterdir())
    fill("second")
    with pytest.raises(KeyboardInterrupt):
        fill("third", fail=True)
    assert (tmp_path / "model" / "file").read_text() == "second"
    fill("fourth")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "file").read_text() == "fourth"
