import os
import time

import pytest
import yaml

from metaxcr.data.registry import (
    cache_root,
    candidate_roots,
    data_fingerprint,
    load,
    missing_files,
    split_files,
    task_ids,
    task_spec,
    user_specs,
)
from metaxcr.errors import UserError

# rows of the official files
COUNTS = {
    "balanced_copa": {"train": 1000, "mirrored": 400},
    "codah": {"train": 1665, "dev": 556, "test": 555, "full": 2776},
    "commonsenseqa": {"train": 9741, "dev": 1221, "test": 1140},
    "comve": {"train": 10000, "dev": 997, "test": 1000},
    "copa": {"train": 400, "val": 100, "test": 500},
    "ecare": {"train": 14928, "dev": 2132},
    "openbookqa": {"train": 4957, "dev": 500, "test": 500},
    "qasc": {"train": 8134, "dev": 926},
    "socialiqa": {"train": 33410, "dev": 1954},
    "winogrande": {
        "train": 10234,
        "train_xs": 160,
        "train_s": 640,
        "train_m": 2558,
        "train_l": 10234,
        "dev": 1267,
    },
    "xcopa": {"val": 100, "test": 500},
    "xcopa_en": {"val": 100, "test": 500},
    "xstorycloze": {"train": 360, "test": 1511},
}
CHOICES = {"codah": 4, "commonsenseqa": 5, "openbookqa": 4, "qasc": 8, "socialiqa": 3}  # the others offer 2


# declared, too; test_official.py and test_layouts.py read them
FURTHER = """alphanli arc comve_b cosmosqa dream global_piqa global_piqa_parallel hellaswag mcsqa piqa
    storycloze swag xcodah xcopa_gmt xcsqa xwinograd"""


def held(spec, split, root):
    """Languages of which the development data hold the files of a split."""
    return [
        language
        for language in spec.split_languages(split)
        if all((root / name).is_file() for name in spec.files_of(split, language))
    ]


def test_all_tasks_are_there():
    starter = ["causes", "facts", "sense", "social", "stories", "target"]
    assert task_ids() == sorted([*COUNTS, *FURTHER.split(), *(f"starter_{name}" for name in starter)])


@pytest.mark.real
@pytest.mark.parametrize("task_id", COUNTS)
def test_official_files_are_read_whole(data_root, task_id):
    spec = task_spec(task_id)
    assert {split for split in spec.splits if held(spec, split, data_root)} >= set(COUNTS[task_id])
    for split, count in COUNTS[task_id].items():
        assert spec.splits[split].n == count
        for language in held(spec, split, data_root):
            examples = load(task_id, split, language=language, root=data_root).examples
            assert len(examples) == count
            assert {len(example.choices) for example in examples} == {CHOICES.get(task_id, 2)}
            assert {example.language for example in examples} == {language}
            hidden = (task_id, split) in {("copa", "test"), ("commonsenseqa", "test")}
            assert all((example.label is None) == hidden for example in examples)


@pytest.mark.real
@pytest.mark.parametrize("task_id", ["xcopa", "xstorycloze"])
def test_parallel_sets_agree_in_ids_and_labels(data_root, task_id):
    spec = task_spec(task_id)
    for split in spec.splits:
        keys = {
            tuple(
                (e.id, e.label, e.question)
                for e in load(task_id, split, language=language, root=data_root).examples
            )
            for language in held(spec, split, data_root)
        }
        assert len(keys) == 1


@pytest.mark.real
def test_copa_and_xcopa_name_the_same_items(data_root):
    for split in ("val", "test"):
        copa = load("copa", split, root=data_root).examples
        english = load("xcopa_en", split, root=data_root).examples
        thai = load("xcopa", split, language="th", root=data_root).examples
        assert [(e.id, e.context) for e in copa] == [(e.id, e.context) for e in english]
        assert [(e.id, e.label, e.question) for e in english] == [(e.id, e.label, e.question) for e in thai]


@pytest.mark.real
@pytest.mark.parametrize(
    ("task_id", "split", "language", "identity", "label", "choice"),
    [
        ("copa", "train", "en", "train-0", 0, "The sun was rising."),
        ("ecare", "train", "en", "train-0", 0, "The roots of many plants are not moistened by rain."),
        ("socialiqa", "train", "en", "train-1", 0, "like attending"),
        ("commonsenseqa", "train", "en", "075e483d21c29a511267ef62bedc0461", 0, "ignore"),
        ("winogrande", "dev", "en", "3FCO4VKOZ4BJQ6IFC0VAIBK4KTWE7U-2", 1, "Maria"),
        ("codah", "full", "en", "full-1", 3, "tempted to snack when I feel this way."),
        ("openbookqa", "train", "en", "7-980", 3, "plants sprouting, blooming and wilting"),
        ("comve", "train", "en", "0", 0, "He poured orange juice on his cereal."),
        ("qasc", "train", "en", "train-1", 5, "beads"),
        ("qasc", "dev", "en", "3NGI5ARFTT4HNGVWXAMLNBMFA0U1PG", 5, "local weather conditions"),
        ("xcopa", "val", "zh", "val-0", 1, "水从水龙头喷口流出。"),
        ("xstorycloze", "train", "en", "138d5bfb-05cc-41e3-bf2c-fa85ebad14e2", 0, "He is happy now."),
        ("balanced_copa", "train", "en", "1001", 0, "The grass was cut."),
    ],
)
def test_labels_point_at_the_choice_they_should(data_root, task_id, split, language, identity, label, choice):
    examples = {
        example.id: example for example in load(task_id, split, language=language, root=data_root).examples
    }
    assert examples[identity].label == label
    assert examples[identity].choices[label] == choice


@pytest.mark.real
def test_the_largest_set_is_read_fast(data_root):
    start = time.process_time()
    load("socialiqa", "train", root=data_root)
    assert time.process_time() - start < 5  # 0.4 s on an ordinary machine; the margin is for busy ones


def test_names_that_do_not_exist_get_the_nearest():
    for call, near in (
        (lambda: task_spec("xcoppa"), "'xcopa'"),
        (lambda: load("starter_target", "tset"), "'test'"),
        (lambda: load("starter_target", "test", language="xx"), "There are en, es"),
    ):
        with pytest.raises(UserError) as caught:
            call()
        assert caught.value.fix is not None and near in caught.value.fix


def test_a_malformed_line_of_an_official_file_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    path = tmp_path / "copa" / "train.jsonl"
    path.parent.mkdir()
    good = '{"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": 0, "idx": 0}\n'
    path.write_text(good + good.replace('"label": 0, "idx": 0', '"label": 7, "idx": 1'))
    with pytest.raises(UserError, match=r"label 7 is out of range for 2 choices \(.*copa/train\.jsonl:2\)"):
        load("copa", "train", root=tmp_path)


ROW = '{"id": "1", "premise": "p", "a": "b", "b": "c", "label": 0}\n'


@pytest.fixture
def mine(tmp_path, monkeypatch, make_spec):
    """Declare a task of the user's own, and write its data file; return the function that does."""
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("METAXCR_TASKS", str(tmp_path / "tasks"))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "data.jsonl").write_text(ROW)

    def declare(task="mine", **changes):
        splits = {"train": {"files": {"data": str(tmp_path / "data.jsonl")}}}
        spec = make_spec(**{"id": task, "splits": splits, **changes})
        body = spec.model_dump(mode="json", by_alias=True)
        path = tmp_path / "tasks" / f"{task}.yaml"
        path.write_text(yaml.safe_dump(body, allow_unicode=True))
        return path

    return declare


def test_tasks_of_ones_own(mine, tmp_path):
    assert user_specs() == tmp_path / "tasks"
    before = task_ids()
    path = mine()
    assert task_ids() == sorted([*before, "mine"])
    loaded = load("mine", "train")
    assert [example.id for example in loaded.examples] == ["1"] and loaded.files == [tmp_path / "data.jsonl"]
    assert (loaded.lines, loaded.repairs, loaded.skipped) == ([1], {}, [])
    mine(title="Changed meanwhile")
    os.utime(path, ns=(1, 1))
    assert task_spec("mine").title == "Changed meanwhile"


def test_the_folder_of_ones_own_tasks(monkeypatch, tmp_path):
    monkeypatch.delenv("METAXCR_TASKS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert user_specs() == tmp_path / "metaxcr" / "tasks"
    monkeypatch.setenv("METAXCR_TASKS", "~/mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_specs() == tmp_path / "mine" and "copa" in task_ids()  # a folder that is not there holds none


def test_a_task_of_the_package_cannot_be_replaced(mine):
    mine("copa")
    assert task_spec("copa").title != "Toy"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"id: [", "not YAML"),
        (b"id: 2026-13-45", "task key"),
        (b"a: " + b"[" * 10**4, "not YAML.*nested too deeply"),
        (b"- 1", "task key ''"),
        (b"", "task key ''"),
        (b"\xff", "not UTF-8"),
        (b"a: \x01", "not YAML"),
        (b"{}", "task key 'id'"),
    ],
)
def test_a_declaration_that_cannot_be_read_is_one_line(mine, content, what):
    path = mine()
    path.write_bytes(content)
    with pytest.raises(UserError, match=what) as caught:
        task_spec("mine")
    assert str(path) in str(caught.value.where)


def test_a_declaration_that_is_gone_is_one_line(mine):
    path = mine()
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(UserError, match="leads nowhere"):
        task_spec("mine")
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="a folder"):
        task_spec("mine")


def test_a_split_may_have_fewer_languages_than_the_task(mine, tmp_path):
    file = str(tmp_path / "data.jsonl")
    splits = {
        "train": {"files": {"data": file}, "languages": ["sw"]},
        "test": {"files": {"data": {"en": file}}},
        "dev": {"files": {"data": file}},
    }
    mine(languages=["en", "sw"], splits=splits)
    assert [task_spec("mine").split_languages(split) for split in splits] == [["sw"], ["en"], ["en", "sw"]]
    assert load("mine", "train", language="sw").examples[0].language == "sw"
    for split, language in (("train", "en"), ("test", "sw")):
        with pytest.raises(UserError, match=f"unknown language of 'mine' {split} '{language}'"):
            load("mine", split, language=language)


def test_steps_are_switched_off_by_name(mine, tmp_path):
    step = {"step": "question", "to": "cause", "ids": {"train": {"en": ["1"]}}}
    fields = {"id": "{id}", "context": "premise", "question": "q", "choices": ["a", "b"], "label": "label"}
    mine(repairs=[step, {"step": "repeated-ids"}], fields=fields, relation="question")
    row = ROW.replace("}", ', "q": "effect"}')
    (tmp_path / "data.jsonl").write_text("\ufeff" + row + row)
    loaded = load("mine", "train")
    assert [example.question for example in loaded.examples] == ["cause", "effect"]
    assert loaded.repairs == {"byte-order-mark": 1, "question": 1, "repeated-ids": 1} and loaded.repaired == 2
    raw = load("mine", "train", raw=True)
    assert raw.repaired == 1 and [example.id for example in raw.examples] == ["1", "1#2"]
    with pytest.raises(UserError, match="also on line 1"):
        load("mine", "train", off=["repeated-ids"])
    with pytest.raises(UserError, match="unknown repair step 'x'"):
        load("mine", "train", off=["x"])


def test_rows_that_are_left_out_are_told(mine, tmp_path):
    mine(skip_bad=True)
    (tmp_path / "data.jsonl").write_text("{\n" + ROW)
    loaded = load("mine", "train")
    assert loaded.lines == [2] and [reason.split(": ")[0] for reason in loaded.skipped] == [
        f"{tmp_path}/data.jsonl:1"
    ]


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """No data root but those that a test makes."""
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def filled(root, name="copa/train.jsonl", content="{}\n"):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)
    return root


def test_roots_are_searched_in_order(bare, tmp_path, monkeypatch):
    assert candidate_roots() == []
    cache_root().mkdir(parents=True)
    assert cache_root() == tmp_path / "cache" / "metaxcr" / "data"
    variable, explicit = tmp_path / "variable", tmp_path / "explicit"
    variable.mkdir()
    explicit.mkdir()
    monkeypatch.setenv("METAXCR_DATA", str(variable))
    assert candidate_roots(explicit) == [explicit, variable, cache_root()]
    assert candidate_roots() == [variable, cache_root()]
    filled(variable)
    filled(cache_root())
    assert split_files(task_spec("copa"), "train", "en", explicit)[0] == variable / "copa" / "train.jsonl"


def test_a_root_that_is_no_folder_is_refused(bare, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"--data"):
        candidate_roots(tmp_path / "nowhere")
    monkeypatch.setenv("METAXCR_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="METAXCR_DATA"):
        candidate_roots()


def test_without_a_root_the_message_says_how_to_get_one(bare):
    with pytest.raises(UserError) as caught:
        split_files(task_spec("copa"), "train", "en")
    assert (
        "--data" in str(caught.value)
        and "METAXCR_DATA" in str(caught.value)
        and "'copa'" in str(caught.value)
    )


def test_a_missing_file_is_named_with_the_roots(bare, tmp_path):
    with pytest.raises(UserError) as caught:
        split_files(task_spec("copa"), "val", "en", filled(tmp_path))
    assert "'copa/val.jsonl'" in caught.value.what and caught.value.where == str(tmp_path)


def test_both_files_come_from_one_root(bare, tmp_path):
    root = filled(tmp_path / "a", "winogrande/dev.jsonl")
    with pytest.raises(UserError, match=r"dev-labels\.lst"):
        split_files(task_spec("winogrande"), "dev", "en", root)
    filled(cache_root(), "winogrande/dev-labels.lst")
    with pytest.raises(UserError, match=r"dev-labels\.lst"):
        split_files(task_spec("winogrande"), "dev", "en", root)
    filled(root, "winogrande/dev-labels.lst")
    assert len(split_files(task_spec("winogrande"), "dev", "en", root)) == 2


def test_file_names_may_spell_a_language_differently(bare, tmp_path, make_spec):
    spec = make_spec(languages=["ja"], codes={"ja": "jp"})
    root = filled(tmp_path, "toy/jp.jsonl")
    assert split_files(spec, "train", "ja", root)[0].name == "jp.jsonl"


def test_missing_files_are_listed(bare, tmp_path):
    assert missing_files(task_spec("copa"), filled(tmp_path)) == ["copa/test.jsonl", "copa/val.jsonl"]
    assert missing_files(task_spec("starter_causes")) == []


def test_the_fingerprint_sees_contents_and_not_folders(bare, tmp_path):
    first, second = filled(tmp_path / "a"), filled(tmp_path / "b")
    one, two = first / "copa" / "train.jsonl", second / "copa" / "train.jsonl"
    assert data_fingerprint([one]) == data_fingerprint([two]) == data_fingerprint([one, two])
    assert len(data_fingerprint([one])) == 64
    two.write_text("{} \n")
    assert data_fingerprint([one]) != data_fingerprint([two])
    assert data_fingerprint([one, two]) == data_fingerprint([two, one])
    renamed = one.rename(one.with_name("val.jsonl"))
    two.write_bytes(renamed.read_bytes())
    assert data_fingerprint([renamed]) != data_fingerprint([two])


def test_a_users_own_files_need_no_root(bare, tmp_path, make_spec):
    files = {"data": str(tmp_path / "{language}.jsonl"), "labels": "labels.lst"}
    spec = make_spec(splits={"train": {"files": files}})
    found = split_files(spec, "train", "en")
    assert found == [tmp_path / "en.jsonl", tmp_path / "labels.lst"]
    assert sorted(missing_files(spec)) == sorted([str(tmp_path / "en.jsonl"), "labels.lst"])
    by_language = {"data": {"en": str(tmp_path / "{x}.jsonl")}, "labels": str(tmp_path / "l.lst")}
    spec = make_spec(splits={"train": {"files": by_language}})
    found = split_files(spec, "train", "en")
    assert found == [tmp_path / "{x}.jsonl", tmp_path / "l.lst"]


def test_what_is_no_plain_file_is_missing(bare, tmp_path, make_spec):
    (tmp_path / "toy" / "en.jsonl").mkdir(parents=True)
    with pytest.raises(UserError, match=r"'toy/en\.jsonl' of task 'toy' is missing"):
        split_files(make_spec(), "train", "en", tmp_path)
    assert missing_files(make_spec(), tmp_path) == ["toy/en.jsonl"]
