"""Tasks declared from files."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from metaxcr.data.contamination import find_leaks, identity
from metaxcr.data.infer.table import ColumnHints
from metaxcr.data.infer.user_files import local_sources
from metaxcr.data.infer.user_task import (
    copa_match,
    number_as_copa,
    own_path,
    read_user_file,
    refuse_equal,
    remarks,
    user_task,
)
from metaxcr.data.languages import language_tag
from metaxcr.data.readers import LoadedSplit
from metaxcr.data.registry import load, split_files, task_spec
from metaxcr.data.validation import check_split
from metaxcr.errors import UserError


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("METAXCR_TASKS", str(tmp_path / "tasks"))
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "tasks"


def rows(n=30, **more):
    return [
        {"premise": f"premise {i}", "choice1": f"one {i}", "choice2": f"two {i}", "label": i % 2,
         "question": ("cause", "effect")[i // 2 % 2], "idx": i, **more} for i in range(n)
    ]  # fmt: skip


def written(path: Path, listed) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in listed), encoding="utf-8")
    return path


def added(*files, name="mine", language="sw", splits=(), force=False, info=None, **hints):
    own = user_task(
        name,
        language_tag(language),
        local_sources(files, splits),
        ColumnHints(**hints),
        force=force,
        **(info or {}),
    )
    own.write()
    return own


def test_a_file_becomes_a_task(tmp_path, own_folder):
    own = added(
        written(tmp_path / "a {b} test.jsonl", rows()), info={"licence": "CC0", "url": "https://x.org"}
    )
    assert own.path == own_folder / "mine.yaml"
    assert "\n" in own.path.read_text()
    spec = task_spec("mine")
    assert spec == own.spec
    assert (spec.licence, spec.citation, spec.group, spec.parallel) == ("CC0", "not given", "target", False)
    loaded = load("mine", "test", language="sw")
    assert [e.label for e in loaded.examples] == [i % 2 for i in range(30)]
    assert loaded.examples[3].id == "test-3"
    assert check_split(loaded)["expected"] == 30
    assert split_files(spec, "test", "sw")[0].is_absolute()


@pytest.mark.parametrize(
    ("name", "told"),
    [("xcopa", "task of the package"), ("a/b", "cannot name a task"), ("", "cannot"), ("1a", "cannot")],
)
def test_names_that_cannot_be_taken(name, told):
    with pytest.raises(UserError, match=told):
        own_path(name)


def test_several_files_are_several_splits_and_one_may_lack_labels(tmp_path):
    own = added(
        written(tmp_path / "train.jsonl", rows()),
        written(tmp_path / "test.jsonl", [{**row, "label": None} for row in rows(5)]),
    )
    assert own.spec.splits["train"].labelled and not own.spec.splits["test"].labelled
    assert own.spec.splits["test"].fields_ is None
    assert [e.label for e in load("mine", "test", language="sw").examples] == [None] * 5


def test_files_of_two_layouts_keep_their_own(tmp_path):
    csv = tmp_path / "val.csv"
    csv.write_text(
        "sentence;1;2;Answer;question\n" + "".join(f"p {n};a;b;{n % 2 + 1};cause\n" for n in range(4))
    )
    own = added(written(tmp_path / "test.jsonl", rows()), csv)
    assert own.spec.splits["val"].format == "csv-semicolon"
    assert load("mine", "val", language="sw").examples[1].label == 1
    assert load("mine", "test", language="sw").examples[1].label == 1


def test_labels_of_one_split_tell_those_of_another(tmp_path):
    ambiguous = written(tmp_path / "val.jsonl", [{**row, "label": 1} for row in rows(4)])
    with pytest.raises(UserError, match="--labels zero or --labels one"):
        added(ambiguous)
    own = added(
        written(tmp_path / "test.jsonl", [{**row, "label": row["label"] + 1} for row in rows()]), ambiguous
    )
    assert own.spec.fields_.label_kind == "one"
    assert {e.label for e in load("mine", "val", language="sw").examples} == {0}


def test_files_that_ask_differently_are_two_tasks(tmp_path):
    other = [{key: value for key, value in row.items() if key != "question"} for row in rows()]
    with pytest.raises(UserError, match="ask in different ways"):
        added(written(tmp_path / "test.jsonl", rows()), written(tmp_path / "val.jsonl", other))


def test_bad_rows_are_refused_with_file_and_line_or_left_out(tmp_path):
    listed = rows()
    listed[6]["label"], listed[8]["choice1"] = None, " "
    file = written(tmp_path / "test.jsonl", listed)
    with pytest.raises(UserError, match=r"test\.jsonl:7\).*--skip-bad"):
        added(file)
    own = added(file, skip_bad=True)
    assert own.spec.skip_bad
    assert len(own.readings[0].examples) == 28
    assert any("2 rows left out, first" in line and "test.jsonl:7" in line for line in own.notes)


def test_equal_choices(tmp_path):
    many = rows(150)
    many[4]["choice2"] = many[4]["choice1"]
    file = written(tmp_path / "test.jsonl", many)
    own = added(file)
    assert any("1 rows offer the same choice twice (line 5)" in line for line in own.notes)
    assert len(own.readings[0].examples) == 150
    few = written(tmp_path / "val.jsonl", many[:15])
    with pytest.raises(UserError, match=r"1 of 15 rows offer the same choice twice .*val\.jsonl:5"):
        added(few, name="other")
    own = added(few, name="other", skip_bad=True)
    assert own.spec.equal_choices == "refuse"
    assert [e.id for e in load("other", "val", language="sw").examples][3:5] == ["val-3", "val-5"]


def test_another_language_is_added_and_found_to_be_parallel(tmp_path):
    added(written(tmp_path / "test.sw.jsonl", rows()))
    words = {"cause": "원인", "effect": "결과"}
    korean = [{**row, "premise": f"원 {row['idx']}", "question": words[row["question"]]} for row in rows()]
    own = added(written(tmp_path / "test.ko.jsonl", korean), language="ko")
    assert (own.spec.languages, own.spec.parallel, own.spec.version) == (["sw", "ko"], True, 1)
    assert {load("mine", "test", language=code).examples[2].question for code in ("sw", "ko")} == {"effect"}
    other = [{**row, "label": 1 - row["label"]} for row in rows()]
    own = added(written(tmp_path / "test.et.jsonl", other), language="et")
    assert not own.spec.parallel  # the labels are others
    own = added(written(tmp_path / "val.sw.jsonl", rows(20)), splits=["val"])
    assert own.spec.split_languages("val") == ["sw"]
    assert own.spec.split_languages("test") == ["sw", "ko", "et"]


def test_what_is_there_needs_force(tmp_path):
    file = written(tmp_path / "test.jsonl", rows())
    added(file)
    with pytest.raises(UserError, match=r"already has test in 'sw'.*--force"):
        added(file)
    written(file, rows(40))
    own = added(file, force=True)
    assert own.spec.version == 2
    assert len(load("mine", "test", language="sw").examples) == 40


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"question": "What is it?"}, "has relation question"),
        ({"label": None}, "labels in one language and none in another"),
        ({"idx": "same"}, "another layout"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, change, told):
    added(written(tmp_path / "test.jsonl", rows()))
    listed = [{**row, **change} for row in rows()]
    if "question" in change:
        listed = [{**row, "question": f"What {row['idx']}?"} for row in listed]
    with pytest.raises(UserError, match=told):
        added(written(tmp_path / "test.et.jsonl", listed), language="et")


def test_rows_of_one_file_in_several_languages(tmp_path):
    listed = [{**row, "lang": code} for row in rows() for code in ("swh", "en")]
    file = written(tmp_path / "test.jsonl", listed)
    added(file)
    own = added(file, language="en")
    assert own.spec.codes == {"sw": "swh"}
    assert own.spec.parallel
    assert [len(load("mine", "test", language=code).examples) for code in ("sw", "en")] == [30, 30]


def test_repeated_ids_and_a_script_that_does_not_fit(tmp_path):
    listed = rows(100)
    listed[9]["idx"] = 8
    own = added(written(tmp_path / "test.jsonl", listed), language="th")
    assert [step.step for step in own.spec.repairs] == ["repeated-ids"]
    assert load("mine", "test", language="th").examples[9].id == "test-8#2"
    assert any(line.startswith("warning") and "Thai" in line for line in own.notes)


def test_a_file_is_read_without_being_added(tmp_path, own_folder):
    loaded, notes = read_user_file(written(tmp_path / "mine.jsonl", rows()), "swh")
    assert notes == []
    assert (loaded.language, loaded.split, len(loaded.examples), loaded.lines[0]) == ("sw", "test", 30, 1)
    assert read_user_file(loaded.files[0], "sw", split="val")[0].split == "val"
    assert not own_folder.exists()


def test_blank_contexts_choices_in_a_cell_and_rows_on_one_line(tmp_path):
    file = tmp_path / "val.csv"
    file.write_text(
        'cite,question,choices,answer\n,Who?,"1. a man\n2. a cat\n",a cat\nIt is.,What?,"1. x y\n2. z",z\n'
    )
    added(file)
    first, second = load("mine", "val", language="sw").examples
    assert (first.context, first.choices, first.label) == ("", ("a man", "a cat"), 1)
    assert second.context == "It is."
    assert [e.id for e in (first, second)] == ["val-2", "val-5"]
    flat = tmp_path / "test.json"
    flat.write_text(json.dumps([{k: v for k, v in row.items() if k != "idx"} for row in rows(4)]))
    added(flat, name="flat")
    assert [e.id for e in load("flat", "test", language="sw").examples] == [f"test-{n}" for n in range(4)]


def real(root: Path, name: str, language: str, official: tuple[str, str], *files: str, **hints):
    """Add official files as if they were foreign, and compare them with the official declaration."""
    own = user_task(
        name,
        language_tag(language),
        local_sources([root / f for f in files]),
        ColumnHints(**hints),
        root=root,
    )
    expected = load(*official, language=language, root=root).examples
    left_out = {int(line.split(":")[1]) for line in own.readings[-1].skipped}
    expected = [e for n, e in enumerate(expected, start=1) if n not in left_out]
    found = own.readings[-1].examples
    assert [(e.context, e.choices) for e in found] == [(e.context, e.choices) for e in expected]
    assert own.spec.relation == task_spec(official[0]).relation
    return own, found, expected


@pytest.mark.real
@pytest.mark.parametrize(
    ("language", "official", "file", "labelled"),
    [
        ("et", ("xcopa", "test"), "xcopa/data/et/test.et.jsonl", True),
        ("th", ("xcopa", "test"), "xcopa/data/th/test.th.jsonl", True),
        ("sw", ("xstorycloze", "test"), "xstorycloze/spring2016.val.sw.tsv.split_20_80_eval.tsv", True),
        ("ar", ("xstorycloze", "train"), "xstorycloze/spring2016.val.ar.tsv.split_20_80_train.tsv", True),
        ("en", ("socialiqa", "v14_dev"), "socialiqa/socialIQa_v1.4/socialIQa_v1.4_dev.jsonl", True),
        ("en", ("socialiqa", "dev"), "socialiqa/socialiqa-train-dev/dev.jsonl", False),
        ("en", ("commonsenseqa", "dev"), "commonsenseqa/dev_rand_split.jsonl", True),
        ("en", ("openbookqa", "test"), "openbookqa/test.jsonl", True),
        ("en", ("qasc", "train"), "qasc/mcq_train.json", True),
        ("en", ("cosmosqa", "valid"), "cosmosqa/valid.csv", True),
        ("en", ("winogrande", "dev"), "winogrande/dev.jsonl", True),
        ("en", ("ecare", "dev"), "ecare/Causal_Reasoning/dev.jsonl", True),
        ("en", ("hellaswag", "val"), "hellaswag/hellaswag_val.jsonl", True),
        ("en", ("piqa", "valid"), "piqa/valid.jsonl", False),
        ("en", ("balanced_copa", "train"), "balanced_copa/balanced-copa-dev-all.xml", True),
    ],
)
def test_official_files_added_as_if_foreign(data_root, language, official, file, labelled):
    own, found, expected = real(data_root, "foreign", language, official, file, skip_bad=True)
    assert [e.label for e in found] == [e.label if labelled else None for e in expected]
    if official[0] != "xcopa" or language == "et":  # the Thai questions are wrong in the file
        assert [e.question for e in found] == [e.question for e in expected]
    if official[0] == "xcopa":
        assert own.spec.origin == "copa"
        assert [e.id for e in found] == [e.id for e in expected]


def reading(make_example, n, equal, language="en", **more):
    examples = [make_example(id=str(i), choices=("a", "a") if i < equal else ("a", "b")) for i in range(n)]
    lines, files = list(range(2, n + 2)), [Path("x.csv")]
    return LoadedSplit(task_spec("copa"), "test", language, examples, files, lines, **more)


@pytest.mark.parametrize(
    ("n", "equal", "refused"), [(100, 5, False), (99, 5, True), (300, 15, False), (5, 0, False)]
)
def test_more_than_one_row_in_twenty_is_too_much(make_spec, make_example, n, equal, refused):
    read = reading(make_example, n, equal)
    skipping = refuse_equal(make_spec(skip_bad=True), [read])
    assert skipping.equal_choices == ("refuse" if refused else "keep")
    if not refused:
        assert refuse_equal(make_spec(), [read]) == make_spec()
        return
    with pytest.raises(UserError, match=r"x\.csv:2.*--skip-bad"):
        refuse_equal(make_spec(), [read])


def test_remarks(make_example):
    read = reading(
        make_example, 3, 1, "th", repairs={"digits": 2, "line-ends": 3}, skipped=["x.csv:9: broken"]
    )
    told = remarks([read])
    assert told[0].startswith("warning: test: the texts are mostly in Latin letters")
    assert told[1:] == [
        "test: 1 rows offer the same choice twice (line 2); kept",
        "test: 1 rows left out, first x.csv:9: broken",
        "test: 2 x repaired: digits",
    ]
    assert remarks([reading(make_example, 3, 0)]) == []


def items(make_example, n=100):
    draw = random.Random(5)
    return [
        make_example(id=f"val-{i}", label=draw.randrange(2), question=draw.choice(["cause", "effect"]))
        for i in range(n)
    ]


def test_labels_in_the_same_order_are_a_translation(make_example):
    copa = {"val": items(make_example)}
    numbered = dict(enumerate(copa["val"]))
    found = copa_match(numbered, copa)
    told = "a translation of COPA's val (100 of 100 labels and 100 of 100 questions are COPA's)"
    assert found == ("val", told)
    wrong = {n: replace(e, question="effect") for n, e in numbered.items()}  # as in XCOPA's Thai file
    assert copa_match(wrong, copa) is not None


@pytest.mark.parametrize("change", ["labels", "few", "order", "more"])
def test_others_are_none(make_example, change):
    copa = {"val": items(make_example)}
    numbered = dict(enumerate(copa["val"]))
    if change == "labels":
        numbered = {n: replace(e, label=1 - e.label if n < 6 else e.label) for n, e in numbered.items()}
    if change == "few":
        numbered = {n: e for n, e in numbered.items() if n < 49}
    if change == "order":
        numbered = {99 - n: e for n, e in numbered.items()}
    if change == "more":
        numbered |= {n + 100: e for n, e in list(numbered.items())[:10]}
    assert copa_match(numbered, copa) is None


def test_questions_tell_where_labels_are_hidden(make_example):
    copa = {"test": items(make_example)}
    hidden = {n: replace(e, label=None) for n, e in enumerate(copa["test"])}
    assert copa_match(hidden, copa) is not None
    assert copa_match({n: replace(e, question="") for n, e in hidden.items()}, copa) is None


@pytest.mark.parametrize(("shown", "split", "template"), [
    (range(100), "val", "{split}-{idx}"), (range(1, 101), "val", "{split}-{position}"),
    (reversed(range(100)), "test", "val-{idx}"),
])  # fmt: skip
def test_ids_become_copas(make_spec, make_example, tmp_path, shown, split, template):
    copa = {"val": items(make_example)}
    file = tmp_path / "file.jsonl"
    numbers = list(shown)
    order = numbers if template.endswith("{idx}") else range(100)
    listed = [copa["val"][n] for n in order]
    lines = [
        json.dumps({"p": "p", "a": f"x {n}", "b": "y", "label": e.label, "question": e.question, "idx": n})
        for n, e in zip(numbers, listed, strict=True)
    ]
    file.write_text("\n".join(lines))
    fields = {"context": "p", "question": "question", "choices": ["a", "b"], "label": "label"}
    spec = make_spec(
        fields={"id": "{split}-{idx}", **fields},
        splits={split: {"files": {"data": {"en": str(file)}}}},
        relation="question",
    )
    source = local_sources([file], [split])[0]
    changed, notes = number_as_copa(spec, [source], copa)
    assert changed.origin == "copa"
    assert changed.split_fields(split).id == template
    assert "translation of COPA's val" in notes[0]


@pytest.mark.real
def test_the_leak_guard_knows_a_translation(data_root, tmp_path, monkeypatch):
    monkeypatch.setenv("METAXCR_TASKS", str(tmp_path))
    file = data_root / "xcopa/data/sw/test.sw.jsonl"
    user_task("leaky", language_tag("sw"), local_sources([file]), ColumnHints(), root=data_root).write()
    mine = load("leaky", "test", language="sw").examples
    assert identity(mine[3]) == ("copa", "test-3")
    held_out = load("xcopa", "test", language="et", root=data_root).examples
    assert [leak.kind for leak in find_leaks(mine, held_out)] == ["same item id"] * 500
