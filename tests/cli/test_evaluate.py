"""``evaluate --task`` and ``predict``: what they answer, calibrated, withheld and explained."""

import json
import math

import pytest
import torch

import metaxcr
from metaxcr.data.registry import load
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


FACTS = load("starter_facts", "train").examples
UNRELIABLE = {"state": "unknown", "temperature": None, "sentence": "The probabilities are not reliable."}


def set_calibration(folder, **found):
    path = folder / "adaptation.json"
    summary = json.loads(path.read_text())
    summary["calibration"] |= found
    path.write_text(json.dumps(summary))


def test_unreliable_probabilities_are_not_calibrated_and_allow_no_threshold(adapt, call, tmp_path):
    assert adapt().status == 0
    folder, questions = tmp_path / "model", tmp_path / "q.csv"
    questions.write_text("premise,choice1,choice2\nMvua ilinyesha.,Nililowa.,Nililala.\n")
    words = ["predict", folder, questions, "--language", "sw"]
    found = {}
    for name, state in (("known", {"state": "fitted", "temperature": 3.0}), ("unknown", UNRELIABLE)):
        set_calibration(folder, **state)
        found[name] = call(*words)
        assert found[name].status == 0, found[name].err
    known, unknown = (json.loads(found[name].out) for name in ("known", "unknown"))
    assert known["calibrated"] is True and unknown["calibrated"] is False
    assert max(known["probabilities"]) < max(unknown["probabilities"])  # flatter at temperature 3
    assert known["choice"] == unknown["choice"]  # in the same order
    assert "the probabilities in 'sw' are not reliable" in found["unknown"].err
    assert "not reliable" not in found["known"].err
    refused = call(*words, "--abstain", "0.6")
    assert refused.status == 2 and refused.out == "" and "leave out --abstain" in refused.line
    with pytest.warns(metaxcr.MetaXCRWarning, match="not reliable") as warned:
        model = metaxcr.MetaXCR.from_pretrained(folder)
        for _ in range(2):
            model.rank("Mvua ilinyesha.", ["Nililowa.", "Nililala."], language="sw")
    assert len([w for w in warned if "not reliable" in str(w.message)]) == 1
    assert not model.calibrated("sw") and model.unreliable("sw") == UNRELIABLE["sentence"]


def test_answers_can_be_withheld_and_explained(adapt, call, tmp_path):
    from metaxcr.fewshot.nearest_examples import write_index

    assert adapt().status == 0
    folder = tmp_path / "model"
    set_calibration(folder, state="fitted", temperature=2.0)
    write_index(folder, torch.eye(16), [("starter_facts", "train", e.id) for e in FACTS[:16]])
    questions, out = tmp_path / "q.csv", tmp_path / "answers.jsonl"
    rows = "".join(f"Mvua {n} ilinyesha.,Nililowa.,Nililala.\n" for n in range(5))
    questions.write_text("premise,choice1,choice2\n" + rows)
    words = ["--language", "sw", "--abstain", "1", "--explain", "2", "--out", out]
    done = call("predict", folder, questions, *words)
    assert done.status == 0 and "withheld: 5 of 5" in done.err, done.err
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert [a["choice"] for a in answers] == [None] * 5
    assert all(len(a["nearest"]) == 2 and "→" in a["nearest"][0]["text"] for a in answers)
    without = call("predict", folder, questions, "--language", "sw")
    assert [json.loads(line)["choice"] for line in without.out.splitlines()] != [None] * 5


def test_a_mistake_in_the_last_line_shows_before_any_answer(adapt, call, tmp_path):
    assert adapt().status == 0
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"premise": "a", "choices": ["b", "c"]}\n' * 3 + '{"premise": "a"}\n')
    done = call("predict", tmp_path / "model", questions, "--language", "sw")
    assert done.status == 2 and done.out == "" and "q.jsonl:4" in done.line
