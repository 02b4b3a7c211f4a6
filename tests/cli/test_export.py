"""``export``: a model without the run around it."""

import shutil

import pytest

import metaxcr


@pytest.fixture(autouse=True)
def _toy(toy_command):
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
