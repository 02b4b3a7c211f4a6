"""``predict``: calibrated, withheld and explained answers of an adapted model."""

import json

import pytest
import torch

import metaxcr
from metaxcr.data.registry import load

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
