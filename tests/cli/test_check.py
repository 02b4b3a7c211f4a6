"""``tasks check``."""

import json

import pytest
from tests.cli.conftest import write_copa

pytestmark = pytest.mark.usefixtures("no_data")


def test_check_reads_everything_that_is_there(call):
    done = call("tasks", "check", "starter_target", "--json")
    assert done.status == 0
    found = json.loads(done.out)
    assert found["problems"] == []
    assert len(found["splits"]) == 24
    assert "24 splits read" in done.err
    narrow = json.loads(call("tasks", "check", "--language", "sw", "--split", "test", "--json").out)
    assert [row["language"] for row in narrow["splits"]] == ["sw"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", ":2"),
        ('{"premise": "a", "choice1": "b", "choice2": "c", "question": "why", "label": 0, "idx": 1}', ":2"),
        (
            '{"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 0, "idx": 1}',
            "400",
        ),
    ],
)
def test_check_reports_problems_with_2(call, tmp_path, line, told):
    write_copa(tmp_path, line)
    done = call("tasks", "check", "copa", "--data", tmp_path)
    assert done.status == 2
    assert "PROBLEM" in done.out
    assert told in done.err
    assert done.line.startswith("metaxcr: 1 problems in the data")


@pytest.mark.real
def test_the_official_files_have_no_problems(call, data_root):
    done = call("tasks", "check", "xcopa", "--data", data_root)
    assert done.status == 0, done.err
    assert "250" in next(line for line in done.out.splitlines() if " test " in line and " th " in line)
