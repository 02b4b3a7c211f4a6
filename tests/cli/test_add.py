"""``tasks add``."""

import json
import shlex
from itertools import pairwise

import pytest
from tests.server import Repository

from metaxcr.config.io import load_config
from metaxcr.evaluation.predictions import Predictions
from metaxcr.runs.raw_data import read_data


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("METAXCR_TASKS", str(tmp_path / "tasks"))
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def lines(n=60) -> str:
    return "".join(
        json.dumps(
            {"premise": f"Tukio {i}.", "choice1": f"Moja {i}.", "choice2": f"Mbili {i}.", "idx": i,
             "question": ("cause", "effect")[i // 2 % 2], "label": i % 2, "changed": False}
        ) + "\n" for i in range(n)
    )  # fmt: skip


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "test.sw.jsonl"
    path.write_text(lines())
    return path


def overrides(command: str) -> list[str]:
    words = shlex.split(command.strip().removeprefix("next:"))
    return [word for before, word in pairwise(words) if before == "--set"]


def test_what_is_understood_is_shown_and_written(call, file, tmp_path):
    done = call("tasks", "add", file, "--name", "mine", "--language", "swh")
    assert done.status == 0, done.err
    assert f"test (sw): {file}" in done.out
    assert "jsonl, 60 rows, 60 examples, labels 30/30" in done.out
    assert "label     label, counted from 0 (30 are 0)" in done.out
    assert "unused    changed" in done.out
    assert "test-1: Tukio 1. | cause | Moja 1. / *Mbili 1." in done.out
    assert f"written: {tmp_path / 'tasks' / 'mine.yaml'}" in done.out
    assert "next: metaxcr tasks check mine" in done.out
    assert "'swh' is kept as 'sw'" in done.err
    shown = call("tasks", "show", "mine")
    assert shown.status == 0 and "Tukio 0." in shown.out


def test_dry_run_writes_nothing(call, file, tmp_path):
    done = call("tasks", "add", file, "--name", "mine", "--language", "sw", "--dry-run")
    assert done.status == 0 and "nothing written" in done.out
    assert not (tmp_path / "tasks").exists()


def test_as_json(call, file, tmp_path):
    done = call("tasks", "add", file, "--name", "mine", "--language", "sw", "--json")
    found = json.loads(done.out)
    assert found["written"] == str(tmp_path / "tasks" / "mine.yaml")
    assert found["splits"][0]["labels"] == {"0": 30, "1": 30}
    assert found["splits"][0]["format"] == "jsonl"
    assert found["examples"][0]["relation"] == "cause"
    assert found["next"][0] == "metaxcr tasks check mine"


def test_the_run_that_is_named_passes_the_settings_checks(call, file):
    done = call("tasks", "add", file, "--name", "mine", "--language", "sw")
    command = next(line for line in done.out.splitlines() if "metaxcr run" in line)
    config = load_config("xcopa-embedded", overrides(command))
    assert (config.target.task, config.target.languages, config.target.k) == ("mine", ["sw"], 10)
    assert (config.target.shots_split, config.evaluate.split, config.evaluate.english) == (
        "test",
        "test",
        None,
    )
    assert config.target.parallel is None and config.ctml.alignment == 0  # there is no parallel text here


@pytest.mark.real
@pytest.mark.parametrize("language", ["sw", "hi"])
def test_the_run_that_is_named_reads_its_data(call, file, tmp_path, data_root, language):
    val = tmp_path / "val.jsonl"
    val.write_text(lines(40).replace("Tukio", "Jambo"))
    words = ["--name", "mine", "--language", language, "--data", data_root]
    done = call("tasks", "add", val, file, *words)
    command = next(line for line in done.out.splitlines() if "metaxcr run" in line)
    assert f"--data {data_root}" in command
    config = load_config("xcopa-embedded", overrides(command))
    assert language not in config.target.auxiliary.languages
    loaded = read_data(config, data_root)
    assert [len(split.examples) for split in loaded.evaluation.values()] == [60]
    assert {len(ids) for ids in loaded.shots.values()} == {16}


def test_no_run_without_labels(call, tmp_path):
    few = tmp_path / "few.jsonl"
    few.write_text(lines(8))
    done = call("tasks", "add", few, "--name", "mine", "--language", "sw")
    assert done.status == 0 and "metaxcr run" not in done.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--name", "xcopa"], "'xcopa' is a task of the package"),
        (["--name", "a b"], "cannot name a task"),
        (["--language", "jp"], "write 'ja'"),
        (["--map", "premise"], "write ROLE=FIELD"),
        (["--map", "tail=x"], "write ROLE=FIELD"),
        (["--map", "premise=x"], "there is no column 'x'; the columns are 'premise', 'choice1'"),
        (["--labels", "two"], "give one of zero, one"),
        (["--relation", "why"], "give one of question"),
        (["--repair", "all"], "give one of repeated-ids, choices"),
        (["--group", "both"], "group"),
        (["--split", "a", "--split", "b"], "2 splits for 1 files"),
    ],
)
def test_mistakes_are_one_line_and_2(call, file, words, told):
    given = {"--name": "mine", "--language": "sw"}
    for flag, value in given.items():
        words = words if flag in words else [*words, flag, value]
    done = call("tasks", "add", file, *words)
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert told in done.err


def test_a_data_set_of_the_hub(call, server, tmp_path):
    commit = "d" * 40
    server.hub["o/n"] = Repository({"main": commit}, {commit: {"data/test.sw.jsonl": lines().encode()}})
    done = call("tasks", "add", "o/n", "--name", "mine", "--language", "sw")
    assert done.status == 0, done.err
    text = (tmp_path / "tasks" / "mine.yaml").read_text()
    assert f"revision: {commit}" in text and "hub: o/n" in text
    assert "https://huggingface.co/datasets/o/n" in text
    assert call("tasks", "show", "mine").status == 0
    assert call("tasks", "fetch", "mine").status == 0
    assert call("tasks", "add", "o/n", "x.csv", "--name", "m", "--language", "sw").status == 2


@pytest.mark.parametrize("separators", ["\u2028\u2029\x85", "\x1c\x1d\x1e\x0b\x0c", "\n\r"])
def test_a_run_reads_its_predictions_whatever_the_ids_hold(
    call, toy_command, monkeypatch, tmp_path, tiny_settings, separators
):
    monkeypatch.chdir(tmp_path)  # the ledger of openings of test splits belongs to the working folder
    monkeypatch.setenv("METAXCR_TASKS", str(tmp_path / "tasks"))
    rows = [{**json.loads(line), "idx": f"x{separators}{n}"} for n, line in enumerate(lines().splitlines())]
    path = tmp_path / "test.sw.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert call("tasks", "add", path, "--name", "mine", "--language", "sw").status == 0
    settings = tiny_settings(
        target__task="mine", target__languages="[sw]", target__parallel="null", target__auxiliary="null",
        target__shots_split="test", target__k="4", evaluate__split="test", evaluate__english="null",
        ctml__alignment="0",
    )  # fmt: skip
    words = ["run", "starter", *settings, "--out", tmp_path / "run", "--quiet", "--allow-leaks"]
    done = call(*words)
    assert done.status == 0, done.err
    found = [Predictions.read(p) for p in (tmp_path / "run" / "predictions").glob("mine.sw.*.jsonl")]
    assert found and all(f"x{separators}" in name for one in found for name in one.ids)
    assert call(*words, "--resume").status == 0
    assert call("evaluate", tmp_path / "run").status == 0
