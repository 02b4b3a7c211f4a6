"""``tasks add``, and ``tasks fetch`` against a server on this machine."""

import json
import os
import shlex
import subprocess
import sys
from itertools import pairwise

import pytest
import yaml
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


COMMIT = "a" * 40
ROW = b'{"id": "1", "premise": "a", "a": "b", "b": "c", "label": 0}\n'


@pytest.fixture
def published(server, monkeypatch, tmp_path):
    """Tasks of a user: one from an address, one from the hub, one for a person; and no data root."""
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("METAXCR_TASKS", str(tmp_path / "tasks"))
    server.files["/a.jsonl"] = ROW
    server.hub["own/set"] = Repository({"main": COMMIT}, {COMMIT: {"b.jsonl": ROW}})
    write(tmp_path, "mine_a", [{"to": "mine_a/train.jsonl", "url": f"{server.url}/a.jsonl"}])
    write(tmp_path, "mine_b", [{"to": "mine_b/train.jsonl", "hub": "own/set", "path": "b.jsonl"}])
    write(tmp_path, "mine_c", [])


def write(folder, task: str, fetch: list[dict[str, str]]) -> None:
    declared = {
        "id": task, "version": 1, "title": "Mine", "group": "source", "languages": ["en"], "format": "jsonl",
        "fields": {"id": "{id}", "context": "premise", "choices": ["a", "b"], "label": "label"},
        "splits": {"train": {"files": {"data": f"{task}/train.jsonl"}}}, "relation": "effect",
        "licence": "CC BY 4.0", "citation": "Nobody (2026)", "url": "https://example.org/form",
        "fetch": fetch,
    }  # fmt: skip
    (folder / "tasks").mkdir(exist_ok=True)
    (folder / "tasks" / f"{task}.yaml").write_text(yaml.safe_dump(declared))


@pytest.mark.usefixtures("published")
def test_fetched_tasks_can_be_read(call, tmp_path):
    done = call("tasks", "fetch", "mine_a", "mine_b")
    assert done.status == 0, done.err
    assert "mine_a: 1 file to fetch; licence: CC BY 4.0" in done.out and "Nobody (2026)" in done.out
    assert "  mine_b/train.jsonl  60 bytes" in done.out
    assert f"2 files fetched, 0 already there; folder: {tmp_path}/user/metaxcr/data" in done.err
    assert "1: a | effect | *b / c" in call("tasks", "show", "mine_a").out
    again = call("tasks", "fetch", "mine_a", "mine_b")
    assert "mine_a: 1 file already there" in again.out and "licence" not in again.out
    assert again.line.startswith("0 files fetched, 2 already there")


@pytest.mark.usefixtures("published")
def test_fetch_as_json(call, tmp_path, server):
    done = call("tasks", "fetch", "mine_b", "--to", tmp_path / "to", "--json")
    (row,) = json.loads(done.out)
    assert (row["task"], row["file"], row["bytes"]) == ("mine_b", "mine_b/train.jsonl", len(ROW))
    assert (row["commit"], row["status"], row["error"]) == (COMMIT, "fetched", None)
    assert row["source"] == f"{server.url}/datasets/own/set/resolve/{COMMIT}/b.jsonl"
    assert (tmp_path / "to" / row["file"]).read_bytes() == ROW


@pytest.mark.usefixtures("published")
def test_a_failure_is_named_and_stops_no_other_task(call, server):
    server.refusals["/a.jsonl"] = [404]
    done = call("tasks", "fetch", "mine_a", "mine_b", "--json")
    assert done.status == 2
    assert [(row["task"], row["status"]) for row in json.loads(done.out)] == [
        ("mine_a", "failed"), ("mine_b", "fetched"),
    ]  # fmt: skip
    assert "mine_a: there is no such file (404)" in done.err
    assert done.line == "metaxcr: 1 of 2 tasks were not fetched: mine_a: see above"


@pytest.mark.usefixtures("published")
def test_what_cannot_be_fetched_is_one_line(call, server):
    done = call("tasks", "fetch", "mine_c")
    assert done.status == 2 and not done.out
    assert done.err.count("\n") == 1
    assert (
        "'mine_c/train.jsonl' of task 'mine_c' cannot be fetched: get it from https://example.org/form"
        in done.line
    )
    server.refusals["/a.jsonl"] = [403]
    done = call("tasks", "fetch", "mine_a")
    assert done.status == 2 and "download by hand from https://example.org/form" in done.line


@pytest.mark.usefixtures("published")
def test_all_of_them(call, monkeypatch):
    monkeypatch.setattr(
        "metaxcr.data.registry.task_ids", lambda: ["mine_a", "mine_b", "mine_c", "starter_target"]
    )
    monkeypatch.setattr("metaxcr.data.corpora.corpus_ids", list)
    done = call("tasks", "fetch", "--all")
    assert done.status == 0, done.err
    assert "note: 'mine_c/train.jsonl'" in done.err and "starter_target" not in done.out
    assert call("tasks", "fetch", "--all", "--split", "test").line.startswith("0 files fetched, 0 already")


@pytest.mark.usefixtures("published")
def test_packaged_tasks_need_nothing(call):
    done = call("tasks", "fetch", "starter_target")
    assert done.status == 0
    assert "starter_target: ships with the package, nothing to fetch" in done.out


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to fetch is named: give either tasks"),
        (["mine_a", "--all"], "--all and names of tasks: give either"),
        (["mine"], "unknown task 'mine'"),
        (["mine_a", "--split", "test"], "task 'mine_a' has no split 'test': it has train"),
        (["mine_a", "--language", "et"], "task 'mine_a' has no language 'et': it has en"),
    ],
)
def test_what_cannot_be_asked(call, server, words, message):
    done = call("tasks", "fetch", *words)
    assert done.status == 2 and message in done.line
    assert not server.log


@pytest.mark.usefixtures("published")
def test_without_a_network(call, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    done = call("tasks", "fetch", "mine_b")
    assert done.status == 2
    assert (
        done.line.startswith("metaxcr: cannot reach 127.0.0.1:9: ")
        and "fetch on another machine" in done.line
    )


@pytest.mark.usefixtures("published")
def test_a_slow_download_says_so_now_and_then(call, server, monkeypatch):
    monkeypatch.setattr("metaxcr.cli.console.SECONDS_BETWEEN_LINES", 0.04)
    server.files["/a.jsonl"] = ROW * 40_000
    server.pauses["/a.jsonl"] = 0.05
    done = call("tasks", "fetch", "mine_a")
    assert "of 2.4 MB, about 0 s left" in done.err
    assert "left" not in call("tasks", "fetch", "mine_a", "--force", "--quiet").err


@pytest.mark.usefixtures("published")
def test_a_bar_on_a_terminal(call, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(
        "metaxcr.cli.console.console", lambda **_: Console(stderr=True, force_terminal=True, width=99)
    )
    done = call("tasks", "fetch", "mine_a", "mine_b")
    assert done.status == 0 and "train.jsonl" in done.err and "bytes" in done.err


@pytest.mark.usefixtures("published")
def test_as_a_program_with_another_hub(server, tmp_path):
    """The hub's library reads its environment when it is imported."""
    own = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "metaxcr", "tasks", "fetch", "mine_b"]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "user/metaxcr/data/mine_b/train.jsonl").read_bytes() == ROW
    for path in (tmp_path / "user").rglob("*.json*"):
        path.unlink()
    offline = os.environ | own | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=offline, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "HF_HUB_OFFLINE is set" in done.stderr
