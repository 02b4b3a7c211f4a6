"""Damaged files through the library: one clear line each, nothing dropped in silence, in bounded time."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from tests.damaged import CASES, Damaged

from metaxcr.data.registry import load
from metaxcr.errors import UserError

SECONDS = 5


@pytest.fixture(autouse=True)
def _bounded():
    """A case that hangs fails."""

    def stop(*_):
        raise AssertionError("this takes far too long")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    folder = tmp_path / "tasks"
    monkeypatch.setenv("METAXCR_TASKS", str(folder))
    return folder


def test_the_names_of_the_cases_tell_them_apart():
    assert len({case.name for case in CASES}) == len(CASES) >= 80


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_damaged_file_is_one_clear_line(tmp_path, tasks, case: Damaged):
    if case.name == "unreadable" and os.geteuid() == 0:
        pytest.skip("the superuser reads everything")
    place = case.write(tmp_path)
    where = f"{place}:{case.line}" if case.line else str(place)
    started = time.process_time()
    with pytest.raises(UserError) as caught:
        load(case.declare(tmp_path, tasks), "train")
    assert case.told in caught.value.what
    assert caught.value.where == where and caught.value.fix
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000
    name = case.declare(tmp_path, tasks, skip_bad=True, title="Rows are skipped")
    if case.left is None:
        with pytest.raises(UserError, match=re.escape(str(tmp_path))):
            load(name, "train")
    else:
        loaded = load(name, "train")
        assert (len(loaded.examples), len(loaded.skipped)) == (case.left, case.skipped)
        assert loaded.skipped[0].startswith(f"{where}: ") and case.told in loaded.skipped[0]
    assert time.process_time() - started < SECONDS


@pytest.mark.parametrize("name", ["Parquet that unpacks to 100 GB", "Parquet with a row of 100 GB"])
def test_a_file_that_unpacks_to_too_much_takes_little_memory(tmp_path, name):
    case = next(case for case in CASES if case.name == name)
    path = case.write(tmp_path)
    program = (
        "import sys; from pathlib import Path; import pyarrow\n"
        "from metaxcr.data.file_formats import parquet_batches\n"
        "try: list(parquet_batches(Path(sys.argv[1])))\n"
        "except Exception as error: print(error)\n"
        "print(pyarrow.default_memory_pool().max_memory())"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    told, most = done.stdout.splitlines()
    assert "unpacks to" in told and int(most) < 2 * 10**8
