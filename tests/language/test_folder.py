"""The folder of a training: one process at a time, whole files or none."""

from pathlib import Path

import pytest
import torch

from metaxcr.errors import UserError
from metaxcr.language.folder import CHECKPOINT, RESULT, open_folder

SETTINGS = {"steps": 3, "rate": 0.1}


def test_a_checkpoint_comes_back_and_goes_when_all_is_done(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "sw", SETTINGS, resume=False)
    assert folder.checkpoint() is None and folder.result() is None
    state, notes = {"a": torch.arange(3.0)}, {"head": {"step": 2, "looks": [[0, 1.5]]}}
    folder.save_checkpoint(state, notes)
    folder.close()
    folder = open_folder(tmp_path / "sw", SETTINGS, resume=True)
    again = folder.checkpoint()
    assert again is not None and torch.equal(again[0]["a"], state["a"]) and again[1] == notes
    folder.finish({"found": 1})
    assert folder.result() == {"found": 1} and not (tmp_path / "sw" / CHECKPOINT).exists()
    assert not list((tmp_path / "sw").glob(".*.tmp"))
    folder.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first = open_folder(tmp_path / "sw", SETTINGS, resume=False)
    with pytest.raises(UserError, match="another process works in the folder"):
        open_folder(tmp_path / "sw", SETTINGS, resume=True)
    first.close()
    open_folder(tmp_path / "sw", SETTINGS, resume=True).close()


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "sw", SETTINGS, resume=False)
    (tmp_path / "sw" / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match=r"cannot read the checkpoint.*start anew elsewhere"):
        folder.checkpoint()
    folder.close()


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    open_folder(tmp_path / "sw", SETTINGS, resume=False).close()
    for settings, named in (({"steps": 4, "rate": 0.1}, "steps"), ({"steps": 3}, "rate")):
        with pytest.raises(UserError, match=f"these differ: {named}"):
            open_folder(tmp_path / "sw", settings, resume=True)
    with pytest.raises(UserError, match="the folder exists"):
        open_folder(tmp_path / "sw", SETTINGS, resume=False)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="the folder exists"):
        open_folder(tmp_path / "file", SETTINGS, resume=False)
    assert not (tmp_path / "sw" / RESULT).exists()
