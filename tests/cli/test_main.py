"""Exit status and the one line, whatever happens."""

import errno
import os
import subprocess
import sys

import pytest

from metaxcr import UserError, __version__
from metaxcr.cli import explain


def test_help_lists_the_commands_and_an_example(call):
    done = call("--help")
    assert done.status == 0
    for name in ("run", "train", "adapt", "evaluate", "predict", "report", "diagnose", "tasks", "configs"):
        assert f"\n  {name} " in done.out
    assert "metaxcr run starter" in done.out


@pytest.mark.parametrize(
    "words",
    [["run"], ["train"], ["adapt"], ["evaluate"], ["predict"], ["report"]]
    + [["tasks", name] for name in ("ls", "show", "check")]
    + [["configs", name] for name in ("ls", "cp", "check")],
)
def test_every_help_teaches_by_an_example(call, words):
    done = call(*words, "--help")
    assert done.status == 0
    assert f"\n    metaxcr {' '.join(words)}" in done.out.split("For example:")[1]


def test_no_words_print_the_help(call):
    assert call().out == call("--help").out


def test_version(call):
    assert call("--version").out == f"metaxcr {__version__}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rn"], "Did you mean 'run'?"),
        (["run"], "Missing argument 'CONFIG'"),
        (["run", "starter", "--rezume"], "--resume"),
        (["tasks"], "Missing command"),
    ],
)
def test_a_mistyped_command_is_one_line_and_2(call, words, told):
    done = call(*words)
    assert done.status == 2
    assert done.out == ""
    assert done.err.startswith("metaxcr: ")
    assert done.err.count("\n") == 1
    assert told in done.err
    assert "--help'" in done.err


def test_debug_shows_the_traceback_wherever_it_stands(call):
    assert "Traceback" not in call("report", "nowhere").err
    for words in (["--debug", "report", "nowhere"], ["report", "nowhere", "--debug"]):
        done = call(*words)
        assert done.status == 2
        assert "Traceback" in done.err


def test_explain_tells_the_user_from_the_program():
    assert explain(UserError("a", "b:1", "c")) == (2, "a (b:1): c")
    assert explain(KeyboardInterrupt())[0] == 130
    status, line = explain(ZeroDivisionError("two\nlines"))
    assert status == 1
    assert line == "ZeroDivisionError: two lines; run again with --debug for the traceback"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/x/y"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_a_line_and_2(error):
    status, line = explain(error)
    assert status == 2
    assert "the disk is full" in line
    assert "--resume" in line


def test_an_unexpected_error_is_one_line_and_1(call, monkeypatch):
    def fail(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr("metaxcr.data.registry.task_ids", fail)
    done = call("tasks", "ls")
    assert done.status == 1
    assert done.err == "metaxcr: RuntimeError: broken; run again with --debug for the traceback\n"


@pytest.mark.parametrize("words", [["--help"], ["tasks", "ls"], ["configs", "ls"]])
def test_light_commands_import_no_torch(words):
    code = (
        "import sys; from metaxcr.cli import main; status = main(sys.argv[1:]);"
        "sys.exit(status or 10 * ('torch' in sys.modules or 'transformers' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_has_seen_enough_is_no_error():
    read, write = os.pipe()
    command = [sys.executable, "-m", "metaxcr", "tasks", "ls"]
    with subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE) as process:
        os.close(read)
        os.close(write)
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_importing_the_package_is_light():
    code = "import sys, metaxcr; assert 'MetaXCR' in dir(metaxcr); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
