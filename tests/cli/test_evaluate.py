"""``evaluate --task`` and ``predict``."""

import json
import math

import pytest

from metaxcr.evaluation.predictions import Predictions

QUESTION = {"premise": "El vaso cayó.", "question": "effect", "choices": ["Se rompió.", "Se llenó.", "Nada."]}


@pytest.fixture(autouse=True)
def _toy(toy_command):
    """All commands here load the toy encoder."""


def test_evaluate_a_task_agrees_with_the_run(call, toy_run):
    done = call("evaluate", toy_run, "--task", "starter_target", "--language", "sw", "--json")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    folder = toy_run / "predictions"
    for row, name in zip(found["rows"], ("similarity.seedall", "few-shot-finetune-k16.seed0"), strict=True):
        kept = Predictions.read(folder / f"starter_target.sw.{name}.jsonl")
        assert math.isclose(row["acc"], kept.correct.mean(), abs_tol=1e-6)
    assert [row["method"] for row in found["rows"]] == ["similarity", "target.starter_target.sw"]
    gap = found["rows"][1]["acc"] - found["rows"][0]["acc"]
    assert math.isclose(found["difference"]["mean"], gap, abs_tol=2e-6)
    assert found["difference"]["ci95"][0] <= gap <= found["difference"]["ci95"][1]
    assert found["trained_on"] is False


def test_evaluate_prints_a_table_and_says_what_is_no_test(call, toy_run):
    words = ["evaluate", toy_run, "--task", "starter_target", "--language", "en", "--split", "shots"]
    done = call(*words)
    assert done.status == 0
    assert "similarity" in done.out
    assert "meta" in done.out
    assert "this is no test" in done.err
    assert "note: no adapter for 'en': adapters/meta is used" in done.err


def test_evaluate_in_a_language_that_the_run_did_not_know(call, toy_run):
    done = call("evaluate", toy_run, "--task", "starter_target", "--language", "it")
    assert done.status == 0
    assert "no adapter for 'it', a language that was not trained on: adapters/meta is used" in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--task", "starter_target"], "name one of en, es"),
        (["--task", "starter_target", "--language", "xx"], "There are en, es"),
        (["--language", "es"], "belong to --task"),
        (["--task", "starter_sense", "--split", "train"], "cannot be scored by a dual encoder"),
    ],
)
def test_evaluate_names_what_is_wrong(call, toy_run, words, told):
    done = call("evaluate", toy_run, *words)
    assert done.status == 2
    assert told in done.line


def test_predict_answers_json_lines(call, toy_run, tmp_path):
    file = tmp_path / "questions.jsonl"
    named = {**QUESTION, "id": "glass", "choices": QUESTION["choices"][:2]}
    file.write_text(f"{json.dumps(QUESTION)}\n\n{json.dumps(named)}\n")
    done = call("predict", toy_run, file, "--language", "es")
    assert done.status == 0, done.err
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [answer["id"] for answer in answers] == ["1", "glass"]
    assert [len(answer["probabilities"]) for answer in answers] == [3, 2]
    for answer in answers:
        assert math.isclose(sum(answer["probabilities"]), 1, abs_tol=1e-5)
        assert answer["probabilities"][answer["choice"]] == max(answer["probabilities"])


def test_predict_answers_a_table_the_same(call, toy_run, tmp_path):
    (tmp_path / "q.jsonl").write_text(json.dumps(QUESTION))
    table = "premise,question,choice1,choice2,choice3\nEl vaso cayó.,effect,Se rompió.,Se llenó.,Nada.\n"
    (tmp_path / "q.csv").write_text(table)
    lines = json.loads(call("predict", toy_run, tmp_path / "q.jsonl", "--language", "es").out)
    done = call(
        "predict", toy_run, tmp_path / "q.csv", "--language", "es", "--out", tmp_path / "a" / "out.jsonl"
    )
    assert done.status == 0
    assert done.out == ""
    assert json.loads((tmp_path / "a" / "out.jsonl").read_text())["probabilities"] == lines["probabilities"]


def test_predict_refuses_an_unknown_language(call, toy_run, tmp_path):
    (tmp_path / "q.jsonl").write_text(json.dumps(QUESTION))
    done = call("predict", toy_run, tmp_path / "q.jsonl", "--language", "fr")
    assert done.status == 2
    assert "the model knows en, es, sw" in done.line


def test_predict_needs_a_trained_folder(call, tmp_path):
    (tmp_path / "q.jsonl").write_text(json.dumps(QUESTION))
    done = call("predict", tmp_path, tmp_path / "q.jsonl", "--language", "es")
    assert done.status == 2
    assert "no config.yaml" in done.line
