"""``adapt FILE``: from a user's file to a model that ``predict`` and Python take; mistakes are one line."""

import csv
import json
from html import unescape

import pytest

import metaxcr
from metaxcr.data.registry import load

pytestmark = pytest.mark.usefixtures("toy_command")


def test_from_the_file_to_answers(adapt, call, tmp_path):
    done = adapt()
    assert done.status == 0, done.err
    for word in ("similarity", "unadapted", "adapted", "minus", "model is kept"):
        assert word in done.out
    folder = tmp_path / "model"
    summary = json.loads((folder / "adaptation.json").read_text())
    assert summary["examples"] == 20 and summary["language"] == "sw" and summary["sentence"] in done.out
    page = (folder / "report.html").read_text()
    assert "<svg" in page and summary["sentence"] in page.replace("&#39;", "'") and "src=" not in page
    assert "20 own examples (sw)" in (folder / "README.md").read_text()
    questions = tmp_path / "q.jsonl"
    questions.write_text(
        '{"premise": "Mvua ilinyesha.", "question": "effect", "choices": ["Nililowa.", "Nililala."]}\n'
    )
    answered = call("predict", folder, questions, "--language", "sw")
    assert answered.status == 0, answered.err
    p = json.loads(answered.out)["probabilities"]
    assert sum(p) == pytest.approx(1, abs=1e-5)
    model = metaxcr.MetaXCR.from_pretrained(folder)
    assert model.rank("Mvua ilinyesha.", ["Nililowa.", "Nililala."], question="effect", language="sw") == p
    copy = metaxcr.MetaXCR.from_pretrained(model.save_pretrained(tmp_path / "copy"))
    assert copy.adaptation == copy.account == summary
    assert (tmp_path / "copy/README.md").read_text() == (folder / "README.md").read_text()


def test_unreliable_probabilities_are_reported_everywhere(adapt, user_file, toy_run, tmp_path):
    """Labels that every second answer agrees with: terminal, JSON, report and card say the same."""
    rows = list(csv.reader(user_file.read_text().splitlines()))
    asked = [
        {"context": context, "question": question, "choices": choices, "language": "sw"}
        for context, question, *choices, _ in rows[1:]
    ]
    answers = metaxcr.MetaXCR.from_pretrained(toy_run).rank_many(asked)
    for place, n in enumerate(sorted(range(20), key=lambda n: max(answers[n]))):
        best = answers[n].index(max(answers[n]))
        rows[n + 1][-1] = str((1 - best if place % 2 else best) + 1)
    with user_file.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    done = adapt()
    assert done.status == 0, done.err
    folder = tmp_path / "model"
    summary = json.loads((folder / "adaptation.json").read_text())
    assert summary["calibration"]["temperature"] is None and summary["kept"] == "unadapted"
    sentence = summary["calibration"]["sentence"]
    assert sentence.startswith("The probabilities are not reliable: 20 held-out examples")
    assert sentence in done.out and sentence in (folder / "README.md").read_text()
    assert sentence in unescape((folder / "report.html").read_text())
    assert "reliable threshold" not in done.out and "temperature 9" not in done.out


def test_json_is_the_summary_and_nothing_else(adapt, tmp_path):
    done = adapt("--json", "--accuracy", "0.7", "--seed", "3")
    found = json.loads(done.out)
    assert found == json.loads((tmp_path / "model/adaptation.json").read_text())
    assert (found["settings"]["target_accuracy"], found["settings"]["seed"]) == (0.7, 3)
    assert "report:" in done.err


def test_a_folder_that_is_there_is_replaced_only_by_force(adapt, tmp_path):
    assert adapt().status == 0
    before = (tmp_path / "model/adaptation.json").read_text()
    refused = adapt()
    assert refused.status == 2 and "--force" in refused.line
    assert (tmp_path / "model/adaptation.json").read_text() == before
    assert adapt("--force", "--seed", "1").status == 0
    assert [p.name for p in tmp_path.iterdir() if ".tmp" in p.name or ".old" in p.name] == []
    other = tmp_path / "precious"
    other.mkdir()
    assert adapt("--force", out=other).status == 2 and other.is_dir()


def test_python_is_as_short(toy_run, user_file):
    model = metaxcr.MetaXCR.from_pretrained(toy_run)
    examples = [
        {"context": e.context, "question": e.question, "choices": list(e.choices), "label": e.label}
        for e in load("starter_target", "shots", language="sw").examples[:20]
    ]
    adapted, same = model.adapt(examples, language="sw"), model.adapt(user_file, "sw")
    assert adapted.adaptation["systems"] == same.adaptation["systems"]
    question = ("Mvua ilinyesha.", ["Nililowa.", "Nililala."])
    assert adapted.rank(*question, question="effect", language="sw") == same.rank(
        *question, question="effect", language="sw"
    )
    assert model.adaptation is None


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("premise,choice1,choice2,label\n" + "a,b,c,0\n" * 3, [], "different examples are too few"),
        ("premise,choice1,choice2,label\na,b,c,7\na,b,d,0\n", [], "label"),
        ("premise,choice1\na,b\n", [], "choice"),
        ("", [], "empty"),
        (
            "premise,choice1,choice2,label\na,b,c,0\nd,e,f,1\n",
            ["--task", "cause-effect"],
            "neither cause nor effect",
        ),
        ("premise,choice1,choice2\na,b,c\nd,e,f\n", [], "label"),
    ],
)
def test_wrong_files_are_one_line(adapt, tmp_path, content, words, message):
    path = tmp_path / "wrong.csv"
    path.write_text(content)
    done = adapt(*words, what=path)
    assert done.status == 2, done.err
    assert message in done.line and "Traceback" not in done.err
    assert not (tmp_path / "model").exists()


def test_wrong_words_are_one_line(adapt, call, user_file, toy_run, tmp_path):
    assert "--language" in adapt(language=None).line
    missing = adapt(what=tmp_path / "nothing.csv")
    assert missing.status == 2 and "nothing.csv" in missing.line
    with_folder = call("adapt", toy_run, "--language", "sw")
    assert with_folder.status == 2 and "--language belongs to a FILE" in with_folder.line
    assert "xx" in adapt(language="xx").line
    assert adapt("--accuracy", "2").status == 2
