"""Files are whole or absent; a full disk is told apart from other failures."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metaxcr import files
from metaxcr.config.io import load_config
from metaxcr.errors import UserError
from metaxcr.files import (
    disk_error,
    disk_is_full,
    lock_folder,
    remove_leftovers,
    temporary_folder,
    user_cache,
    write_atomically,
)
from metaxcr.runs.run_dir import open_folder


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_atomically(path, "one\n")
    write_atomically(path, "zwölf\n")
    assert path.read_bytes() == "zwölf\n".encode()
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"the disk is full.*file\.txt.*--resume"):
        write_atomically(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file.txt"]


def test_a_lock_keeps_others_out_until_its_process_ends(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, metaxcr.files as files\n"
        "lock = files.lock_folder(pathlib.Path(sys.argv[1]), 'taken')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"locked\n"
        with pytest.raises(UserError, match="another process works here"):
            lock_folder(tmp_path, "another process works here")
        other.kill()
    lock = lock_folder(tmp_path, "taken")
    with pytest.raises(UserError, match="taken"):
        lock_folder(tmp_path, "taken")
    lock.release()
    lock_folder(tmp_path, "taken").release()


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (ValueError("I/O error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
    ],
)
def test_a_full_disk_is_recognised(error: Exception, full: bool) -> None:
    assert disk_is_full(error) is full
    assert ("the disk is full" in str(disk_error(error, Path("f")))) is full


def test_the_cache_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "metaxcr"


KILLED = """
import os, signal, sys
from pathlib import Path
from metaxcr.files import atomic_writer, temporary_folder, temporary_path
with temporary_folder() as folder, atomic_writer(Path(sys.argv[1])) as stream:
    stream.write("half")
    stream.flush()
    temporary_path(Path(sys.argv[2])).mkdir()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_a_writer(path: Path, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, path, folder], timeout=60)
    assert done.returncode == -9


def test_what_a_killed_process_left_goes_at_the_next_start(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "system"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "system"))
    (tmp_path / "system").mkdir()
    inner = tmp_path / "run" / "inner"
    kill_a_writer(inner / "costs.json", inner / "model")
    kept = inner / ".notes.tmp"  # nobody's
    kept.write_text("mine")
    assert len(os.listdir(inner)) == 3 and len(os.listdir(tmp_path / "system")) == 1
    remove_leftovers(tmp_path / "run")
    assert os.listdir(inner) == [kept.name]
    with temporary_folder() as folder:
        assert os.listdir(tmp_path / "system") == [Path(folder).name]


def test_only_the_leftovers_of_a_name_go_in_a_foreign_folder(tmp_path: Path) -> None:
    kill_a_writer(tmp_path / "a.json", tmp_path / "a.json.b")
    kill_a_writer(tmp_path / "b.json", tmp_path / "b.json.b")
    write_atomically(tmp_path / "a.json", "{}")
    left = sorted(name.split(".json")[0] for name in os.listdir(tmp_path))
    assert left == [".a", ".b", ".b", "a"] and (tmp_path / "a.json").read_text() == "{}"


def test_leftovers_of_living_processes_and_other_machines_stay_for_a_day(tmp_path: Path) -> None:
    us, gone = os.getpid(), 2**22 + 1  # more than any process has
    names = [f".costs.json.{us}.tmp", f".costs.json.{gone}-00000000-1.tmp", f".costs.json.{os.getppid()}.tmp"]
    for name in names:
        (tmp_path / name).write_text("half")
    (tmp_path / f".costs.json.{gone}.tmp").write_text("half")  # as earlier versions named them
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    for name in names:
        os.utime(tmp_path / name, (0, 0))
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_file_of_our_own_number_from_before_us_is_a_leftover(tmp_path: Path) -> None:
    path = tmp_path / f".costs.json.{os.getpid()}.tmp"  # in containers processes have the same numbers
    path.write_text("half")
    before = files._STARTED - 1
    os.utime(path, (before, before))
    remove_leftovers(tmp_path)
    assert not path.exists()


@pytest.mark.parametrize("arrived", [True, False])
def test_what_was_moved_out_of_the_way_goes_back_unless_the_new_has_come(tmp_path: Path, arrived) -> None:
    gone = 2**22 + 1
    old = tmp_path / f".model.{gone}.old"
    old.mkdir()
    (old / "weights").write_text("old")
    if arrived:
        (tmp_path / "model").mkdir()
    remove_leftovers(tmp_path, "model")
    assert not old.exists() and (tmp_path / "model" / "weights").exists() is not arrived


def test_a_run_that_is_resumed_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    config, machine = load_config("starter"), {"cpu": "x", "device": "cpu", "dtype": "float32"}
    open_folder(tmp_path / "run", config, machine, resume=False).close()
    for path in (tmp_path / "run" / "costs.json", tmp_path / "run" / "predictions" / "a.jsonl"):
        kill_a_writer(path, path.with_name("folder"))
    config = config.model_copy(update={"encoder": config.encoder.model_copy(update={"dtype": "float32"})})
    open_folder(tmp_path / "run", config, machine, resume=True).close()
    assert not [path for path in (tmp_path / "run").rglob(".*") if path.suffix == ".tmp"]
