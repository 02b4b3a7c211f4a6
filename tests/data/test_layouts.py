"""Sets that the development data lack: small files in the official layout, with invented rows."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from metaxcr.data.contamination import find_leaks, identity
from metaxcr.data.phrasing import phrase
from metaxcr.data.registry import load, task_ids, task_spec
from metaxcr.errors import UserError
from metaxcr.model.batch import texts_of


@pytest.fixture(autouse=True)
def _no_other_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def place(root: Path, name: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_csv(root: Path, name: str, rows: Sequence[Sequence[object]], delimiter: str = ",") -> None:
    with place(root, name).open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows(rows)


def write_jsonl(root: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    place(root, name).write_text(text, encoding="utf-8")


def write_parquet(root: Path, name: str, rows: list[dict[str, Any]]) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(rows), place(root, name))


SWAG = ["", "video-id", "fold-ind", "startphrase", "sent1", "sent2", "gold-source"]
SWAG += ["ending0", "ending1", "ending2", "ending3", "label"]


def test_swag(tmp_path: Path) -> None:
    endings = ["opens it, then waves.", "eats the door.", "flies off.", "is a lamp."]
    row = [0, "film-1", 7, "Someone finds a door. He", "Someone finds a door.", "He", "gold", *endings]
    write_csv(tmp_path, "swag/val.csv", [SWAG, [*row, 0], [*row[:3], "It rains. She", *row[4:], 2]])
    write_csv(tmp_path, "swag/test.csv", [SWAG[:-1], row])
    first, second = load("swag", "val", root=tmp_path).examples
    assert (first.id, first.context, first.choices, first.label) == (
        "val-2",
        "Someone finds a door. He",
        tuple(endings),
        0,
    )
    assert (second.id, second.label) == ("val-3", 2)
    assert load("swag", "test", root=tmp_path).examples[0].label is None
    assert phrase(first, task_spec("swag")).relation == "effect"


def options(*texts: str) -> list[dict[str, str]]:
    return [{"label": "ABCDE"[n], "text": text} for n, text in enumerate(texts)]


def test_xcsqa(tmp_path: Path) -> None:
    question = {"stem": "どこ?", "choices": options("銀行", "店", "家", "海", "山")}
    row = {"id": "be19", "lang": "jap", "question": question}
    write_jsonl(tmp_path, "xcsr/X-CSQA/jap/dev.jsonl", [{**row, "answerKey": "D"}])
    write_jsonl(tmp_path, "xcsr/X-CSQA/jap/test.jsonl", [row])
    (example,) = load("xcsqa", "dev", language="ja", root=tmp_path).examples
    assert (example.id, example.question, example.choices[3], example.label) == ("be19", "どこ?", "海", 3)
    assert identity(example) == ("xcsqa", "be19")
    phrased = phrase(example, task_spec("xcsqa"))
    assert (phrased.context, phrased.relation) == ("どこ?", "answer")
    assert load("xcsqa", "test", language="ja", root=tmp_path).examples[0].label is None


def test_x_csqa_in_english_is_commonsenseqa_by_its_wording(tmp_path: Path) -> None:
    question = {"stem": "Where is money kept?", "choices": options("bank", "sea", "sky", "sun", "egg")}
    write_jsonl(tmp_path, "xcsr/X-CSQA/en/dev.jsonl", [{"id": "a", "question": question, "answerKey": "A"}])
    write_jsonl(
        tmp_path,
        "commonsenseqa/train_rand_split.jsonl",
        [{"id": "b", "question": question, "answerKey": "A"}],
    )
    source = load("commonsenseqa", "train", root=tmp_path).examples
    (leak,) = find_leaks(source, load("xcsqa", "dev", root=tmp_path).examples)
    assert leak.kind == "same wording"


def test_xcodah_has_no_context_and_needs_cross_scoring(tmp_path: Path) -> None:
    scenes = [f"Ana sees a cat. She {rest}." for rest in ("pets it", "is it", "eats the sun", "rains")]
    row = {
        "id": "b8",
        "lang": "de",
        "question_tag": "o",
        "question": {"stem": " ", "choices": options(*scenes)},
    }
    write_jsonl(tmp_path, "xcsr/X-CODAH/de/dev.jsonl", [{**row, "answerKey": "A"}])
    (example,) = load("xcodah", "dev", language="de", root=tmp_path).examples
    assert (example.context, example.choices, example.label) == ("", tuple(scenes), 0)
    phrased = phrase(example, task_spec("xcodah"))
    assert (phrased.context, phrased.relation) == ("", "none")
    assert texts_of(phrased, "cross")[0] is None
    with pytest.raises(UserError, match="dual"):
        texts_of(phrased, "dual")


def test_mcsqa(tmp_path: Path) -> None:
    choices = {"label": list("ABCDE"), "text": ["Haus", "Baum", "Hund", "Brot", "Rad"]}
    row = {"id": "q1", "question": "Was bellt?", "question_concept": "Hund", "choices": choices}
    write_parquet(
        tmp_path,
        "mcsqa/de/train-00000-of-00001.parquet",
        [{**row, "answerKey": "C", "hard": False}],
    )
    (example,) = load("mcsqa", "train", language="de", root=tmp_path).examples
    assert (example.question, example.choices[2], example.label) == ("Was bellt?", "Hund", 2)


def test_arc_train_and_test_are_parquet(tmp_path: Path) -> None:
    row = {"id": "NY_1", "question": "What falls?", "answerKey": "2"}
    row |= {"choices": {"text": ["light", "a stone", "heat"], "label": ["1", "2", "3"]}}
    write_parquet(tmp_path, "arc/ARC-Challenge/test-00000-of-00001.parquet", [row])
    (example,) = load("arc", "challenge_test", root=tmp_path).examples
    assert (example.id, example.choices, example.label) == ("NY_1", ("light", "a stone", "heat"), 1)


STORY = ["InputStoryid", *(f"InputSentence{n}" for n in range(1, 5))]
STORY += ["RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2", "AnswerRightEnding"]


def test_storycloze_and_xstorycloze_name_the_same_items(tmp_path: Path) -> None:
    told = ["abc-1", "Ben woke up.", "He was hungry.", "He cooked, of course.", "It smelled good."]
    row = [*told, "He ate.", "He starved.", 1]
    (name,) = task_spec("storycloze").files_of("val", "en")
    assert name == "storycloze/cloze_test_val__spring2016 - cloze_test_ALL_val.csv"
    write_csv(tmp_path, name, [STORY, row])
    (story,) = load("storycloze", "val", root=tmp_path).examples
    assert story.context == "Ben woke up. He was hungry. He cooked, of course. It smelled good."
    assert (story.choices, story.label) == (("He ate.", "He starved."), 0)
    for language in ("te", "my"):
        file = f"xstorycloze/spring2016.val.{language}.tsv.split_20_80_eval.tsv"
        place(tmp_path, file).write_text(
            "\t".join(STORY) + "\nabc-1\ta.\tb.\tc.\td.\te.\tf.\t1\n", encoding="utf-8"
        )
        (translated,) = load("xstorycloze", "test", language=language, root=tmp_path).examples
        assert translated.context == ("a.b.c.d." if language == "my" else "a. b. c. d.")
        (leak,) = find_leaks([story], [translated])
        assert leak.kind == "same item id"


def test_story_cloze_cannot_be_fetched(tmp_path: Path) -> None:
    assert task_spec("storycloze").fetch == []
    with pytest.raises(UserError) as caught:
        load("storycloze", "val", root=tmp_path)
    assert caught.value.fix is not None
    assert "fetch" not in caught.value.fix and task_spec("storycloze").url in caught.value.fix


def test_dream(tmp_path: Path) -> None:
    asked = [
        {"question": "What will she do next?", "choice": ["Sleep.", "Run.", "Sing."], "answer": "Run."},
        {"question": "Why is he late?", "choice": ["Rain.", "Snow.", "Fog."], "answer": "Fog."},
        {"question": "Who is he?", "choice": ["Al.", "Bo.", "Cy."], "answer": "Al."},
    ]
    document = [[["M: You are here.", "W: I am off."], asked, "4-349"]]
    place(tmp_path, "dream/dev.json").write_text(json.dumps(document), encoding="utf-8")
    examples = load("dream", "dev", root=tmp_path).examples
    assert [(e.id, e.label) for e in examples] == [("4-349-0", 1), ("4-349-1", 2), ("4-349-2", 0)]
    phrased = [phrase(e, task_spec("dream")) for e in examples]
    assert phrased[0].context == "M: You are here. W: I am off. What will she do next?"
    assert [p.relation for p in phrased] == ["effect", "cause", "answer"]


def test_global_piqa(tmp_path: Path) -> None:
    head = ["prompt", "solution0", "solution1", "label", "language", "example_id"]
    rows = [head, ["Um Reis zu kochen,", 'nimmt man "Wasser".', "nimmt man Sand.", 0, "deu_latn", "x"]]
    write_csv(tmp_path, "global_piqa/nonparallel_deu_latn.tsv", rows, "\t")
    loaded = load("global_piqa", "test", language="de", root=tmp_path)
    (example,) = loaded.examples
    assert (example.context, example.choices[0], example.label) == (
        "Um Reis zu kochen,",
        'nimmt man "Wasser".',
        0,
    )
    assert phrase(example, loaded.spec).relation == "cause" and identity(example) is None
    assert "forbids training" in loaded.spec.licence


def test_global_piqa_parallel(tmp_path: Path) -> None:
    head = ["prompt", *(f"solution{n}" for n in range(4)), "label", "language", "eng_prompt"]
    for code, prompt in (("eng_latn", "To cook rice,"), ("ekk_latn", "Riisi keetmiseks")):
        write_csv(
            tmp_path,
            f"global_piqa/parallel_{code}.tsv",
            [head, [prompt, "a", "b", "c", "d", 3, code, "To cook rice,"]],
            "\t",
        )
    (english,), (estonian,) = (
        load("global_piqa_parallel", "test", language=code, root=tmp_path).examples for code in ("en", "et")
    )
    assert estonian.context == "Riisi keetmiseks" and estonian.label == 3
    assert identity(english) == identity(estonian) == ("global_piqa_parallel", "test-2")


def test_winogrande_xl(tmp_path: Path) -> None:
    row = {"qID": "Q-1", "sentence": "The cup fit in the bag because the _ was big.", "option1": "cup"}
    write_jsonl(tmp_path, "winogrande/train_xl.jsonl", [{**row, "option2": "bag", "answer": "2"}])
    place(tmp_path, "winogrande/train_xl-labels.lst").write_text("2\n")
    (example,) = load("winogrande", "train_xl", root=tmp_path).examples
    assert (example.choices, example.label) == (("cup", "bag"), 1)


def test_a_blank_that_comes_first_leaves_the_sentence_as_context(make_example: Any) -> None:
    example = make_example(context="_ was too big for the bag.", question="", choices=("The cup", "The bag"))
    phrased = phrase(example, task_spec("winogrande"))
    assert phrased.context == "_ was too big for the bag."
    assert phrased.choices[0] == "The cup was too big for the bag."
    assert texts_of(phrased, "dual")[0] is not None


def test_socialiqa_with_letters(tmp_path: Path) -> None:
    row = {"context": "Jo fell.", "question": "Why?", "answerA": "x", "answerB": "y", "answerC": "z"}
    write_jsonl(tmp_path, "socialiqa/socialIQa_v1.4/socialIQa_v1.4_trn.jsonl", [{**row, "correct": "C"}])
    assert load("socialiqa", "v14_train", root=tmp_path).examples[0].label == 2


def test_cosmosqa_test_is_jsonl_without_labels(tmp_path: Path) -> None:
    row = {
        "id": "t",
        "context": "It rained.",
        "question": "Why ?",
        **{f"answer{n}": str(n) for n in range(4)},
    }
    write_jsonl(tmp_path, "cosmosqa/test.jsonl", [row])
    (example,) = load("cosmosqa", "test", root=tmp_path).examples
    assert (example.choices, example.label) == (("0", "1", "2", "3"), None)


@pytest.mark.parametrize(
    ("question", "relation"),
    [
        ("Why did I go home ?", "cause"),
        ("What may be the reason for the call ?", "cause"),
        ("What might have caused the fire ?", "cause"),
        ("What may have happened before I wrote this ?", "cause"),
        ("What will happen after the party ?", "effect"),
        ("What would have happened had you stayed ?", "effect"),
        ("What might I do about my housing problems ?", "effect"),
        ("Who was Paul to me ?", "answer"),
        ("What may be true about the hotel ?", "answer"),
    ],
)
def test_the_wording_of_a_cosmosqa_question_tells_its_direction(
    make_example: Any, question: str, relation: str
) -> None:
    assert phrase(make_example(question=question), task_spec("cosmosqa")).relation == relation


@pytest.mark.parametrize("task_id", [name for name in task_ids() if task_spec(name).fetch])
def test_what_is_fetched_is_what_the_splits_name(task_id: str) -> None:
    spec = task_spec(task_id)
    named = {
        name
        for split in spec.splits
        for language in spec.split_languages(split)
        for name in spec.files_of(split, language)
    }
    codes = [spec.codes.get(language, language) for language in spec.languages]
    assert {download.to.format(language=code) for download in spec.fetch for code in codes} == named
    for download in spec.fetch:
        pinned = download.hub is None or len(download.revision) == 40
        assert pinned and (download.url or "https://").startswith("https://")
        if "raw.githubusercontent.com" in (download.url or "") and task_id != "swag":
            commit = str(download.url).split("/")[5]
            assert len(commit) == 40 and set(commit) <= set("0123456789abcdef")
