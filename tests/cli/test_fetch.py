"""``tasks fetch``, against a server on this machine."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from tests.server import Repository

COMMIT = "a" * 40
ROW = b'{"id": "1", "premise": "a", "a": "b", "b": "c", "label": 0}\n'


@pytest.fixture(autouse=True)
def tasks(server, monkeypatch, tmp_path):
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


def test_as_json(call, tmp_path, server):
    done = call("tasks", "fetch", "mine_b", "--to", tmp_path / "to", "--json")
    (row,) = json.loads(done.out)
    assert (row["task"], row["file"], row["bytes"]) == ("mine_b", "mine_b/train.jsonl", len(ROW))
    assert (row["commit"], row["status"], row["error"]) == (COMMIT, "fetched", None)
    assert row["source"] == f"{server.url}/datasets/own/set/resolve/{COMMIT}/b.jsonl"
    assert (tmp_path / "to" / row["file"]).read_bytes() == ROW


def test_a_failure_is_named_and_stops_no_other_task(call, server):
    server.refusals["/a.jsonl"] = [404]
    done = call("tasks", "fetch", "mine_a", "mine_b", "--json")
    assert done.status == 2
    assert [(row["task"], row["status"]) for row in json.loads(done.out)] == [
        ("mine_a", "failed"), ("mine_b", "fetched"),
    ]  # fmt: skip
    assert "mine_a: there is no such file (404)" in done.err
    assert done.line == "metaxcr: 1 of 2 tasks were not fetched: mine_a: see above"


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


def test_all_of_them(call, monkeypatch):
    monkeypatch.setattr(
        "metaxcr.data.registry.task_ids", lambda: ["mine_a", "mine_b", "mine_c", "starter_target"]
    )
    monkeypatch.setattr("metaxcr.data.corpora.corpus_ids", list)
    done = call("tasks", "fetch", "--all")
    assert done.status == 0, done.err
    assert "note: 'mine_c/train.jsonl'" in done.err and "starter_target" not in done.out
    assert call("tasks", "fetch", "--all", "--split", "test").line.startswith("0 files fetched, 0 already")


def test_packaged_tasks_need_nothing(call):
    done = call("tasks", "fetch", "starter_target")
    assert done.status == 0
    assert "starter_target: ships with the package, nothing to fetch" in done.out


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


def test_without_a_network(call, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    done = call("tasks", "fetch", "mine_b")
    assert done.status == 2
    assert (
        done.line.startswith("metaxcr: cannot reach 127.0.0.1:9: ")
        and "fetch on another machine" in done.line
    )


def test_a_slow_download_says_so_now_and_then(call, server, monkeypatch):
    monkeypatch.setattr("metaxcr.cli.fetch.SECONDS_BETWEEN_LINES", 0.04)
    server.files["/a.jsonl"] = ROW * 40_000
    server.pauses["/a.jsonl"] = 0.05
    done = call("tasks", "fetch", "mine_a")
    assert "of 2.4 MB, about 0 s left" in done.err
    assert "left" not in call("tasks", "fetch", "mine_a", "--force", "--quiet").err


def test_a_bar_on_a_terminal(call, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(
        "metaxcr.cli.fetch.console", lambda **_: Console(stderr=True, force_terminal=True, width=99)
    )
    done = call("tasks", "fetch", "mine_a", "mine_b")
    assert done.status == 0 and "train.jsonl" in done.err and "bytes" in done.err


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
