"""``tasks ls``, ``show`` and ``check``."""

import json

import pytest
from tests.cli.conftest import write_copa

from metaxcr.data.registry import task_ids

pytestmark = pytest.mark.usefixtures("no_data")


def test_ls_tells_what_is_there(call, tmp_path):
    done = call("tasks", "ls")
    assert done.status == 0
    lines = {line.split()[0]: line for line in done.out.splitlines() if line.strip()}
    assert set(task_ids()) <= set(lines)
    assert " all " in lines["starter_target"]
    assert " none " in lines["copa"]
    assert "no data root" in done.out
    write_copa(tmp_path, "")
    assert "1 of 3" in call("tasks", "ls", "--data", tmp_path).out


def test_ls_as_json(call):
    rows = {row["id"]: row for row in json.loads(call("tasks", "ls", "--json").out)}
    assert rows["copa"]["missing"] == ["copa/test.jsonl", "copa/train.jsonl", "copa/val.jsonl"]
    assert rows["starter_target"]["missing"] == []
    assert rows["starter_target"]["splits"]["shots"] == 36
    assert rows["starter_causes"]["splits"]["train"] > 0  # counted where it is not declared


def test_show_prints_examples_as_the_encoder_sees_them(call):
    done = call("tasks", "show", "starter_target", "--language", "es", "-n", "2", "--json")
    shown = json.loads(done.out)
    assert shown["language"] == "es"
    assert len(shown["examples"]) == 2
    first = shown["examples"][0]
    assert first["relation"] in ("cause", "effect")
    line = next(
        x for x in call("tasks", "show", "starter_target", "--language", "es").out.splitlines() if "| " in x
    )
    assert "context | relation | choices" in line
    text = call("tasks", "show", "starter_target", "--language", "es").out
    assert f"{first['context']} | {first['relation']} | " in text
    assert f"*{first['choices'][first['label']]}" in text


def test_show_without_data_still_describes(call):
    done = call("tasks", "show", "xcopa")
    assert done.status == 0
    assert "22, 22 missing" in done.out
    assert "question: to 'cause' in val id 5" in done.out and "test th 250" in done.out
    assert "no examples: no data root" in done.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "xcoppa"], "did you mean 'xcopa'?"),
        (["show", "xcopa", "--language", "fr"], "There are et, ht"),
        (["check", "starter_target", "--language", "xx"], "There are en, es"),
        (["check", "--language", "xx"], "no task that is there has language 'xx'"),
        (["check", "copa"], "no data root for task 'copa'"),
        (["check", "xcopa", "--language", "et", "--split", "val"], "no data root"),
    ],
)
def test_what_is_not_there_is_one_line_and_2(call, words, told):
    done = call("tasks", *words)
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert told in done.err


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
