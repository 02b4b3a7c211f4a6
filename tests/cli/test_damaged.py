"""Damaged files through the command line: one line that names the place, status 2, no traceback."""

import os
from pathlib import Path

import pytest
from tests.damaged import CASES, Damaged

# Only their declaration is wrong, or asks for what the file does not have: formats and fields are told from
# the content, ids that are no ids are not used, and one choice of columns is as good as another.
NOT_DAMAGED = {
    "id repeated", "id null", "id blank", "the id is missing", "two blanks", "keys are null",
    "keys that are equal", "a field that tells the language is missing", "Parquet as JSON lines",
    "JSON over several lines", "CSV as JSON lines", "a column is missing", "semicolons declared as commas",
    "commas declared as semicolons", "columns that the file names", "too few columns declared",
    "columns in the wrong order", "JSON as Parquet", "Parquet with numbers", "Parquet with bytes",
    "label a float", "label true", "label a list", "float labels", "Parquet with float labels",
}  # fmt: skip
FILES = [case for case in CASES if not case.labels and case.name not in NOT_DAMAGED]


@pytest.fixture(autouse=True)
def _alone(toy_encoder, monkeypatch, tmp_path):
    """No other data, and an encoder that is there at once."""
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("METAXCR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("METAXCR_TASKS", str(tmp_path / "tasks"))
    monkeypatch.setattr("metaxcr.encoders.loading.load_encoder", lambda *_, **__: toy_encoder)


def skip_unreadable(case: Damaged) -> None:
    if case.name == "unreadable" and os.geteuid() == 0:
        pytest.skip("the superuser reads everything")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_check_of_a_task(call, tmp_path: Path, case: Damaged):
    skip_unreadable(case)
    place = case.write(tmp_path)
    where = f"{place}:{case.line}" if case.line else str(place)
    done = call("tasks", "check", case.declare(tmp_path, tmp_path / "tasks"))
    told = [line for line in done.err.splitlines() if case.told in line]
    assert done.status == 2 and "Traceback" not in done.err
    assert len(told) == 1 and f"({where})" in told[0]
    assert all(line.startswith(("metaxcr: ", "problem: ", "note: ")) for line in done.err.splitlines())


@pytest.mark.parametrize("case", [case for case in CASES if case.left], ids=lambda case: case.name)
def test_check_counts_what_is_left_out(call, tmp_path: Path, case: Damaged):
    case.write(tmp_path)
    done = call("tasks", "check", case.declare(tmp_path, tmp_path / "tasks", skip_bad=True), "--json")
    assert f"{case.skipped} rows left out, first " in done.out


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.name)
def test_add(call, tmp_path: Path, case: Damaged):
    skip_unreadable(case)
    place = case.write(tmp_path)
    done = call("tasks", "add", place, "--name", "mine", "--language", "en")
    assert done.status == 2 and done.err.count("\n") == 1
    assert done.err.startswith("metaxcr: ") and f"({place}" in done.err
    assert not (tmp_path / "tasks" / "mine.yaml").exists()


@pytest.mark.parametrize("case", FILES[::8], ids=lambda case: case.name)
def test_check_of_a_file(call, tmp_path: Path, case: Damaged):
    skip_unreadable(case)
    place = case.write(tmp_path)
    done = call("tasks", "check", place, "--language", "en")
    assert done.status == 2 and done.err.count("\n") == 1 and f"({place}" in done.err
