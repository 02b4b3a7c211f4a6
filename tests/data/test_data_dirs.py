import pytest

from metaxcr.data.data_dirs import cache_root, candidate_roots, data_fingerprint, missing_files, split_files
from metaxcr.data.registry import task_spec
from metaxcr.errors import UserError


@pytest.fixture(autouse=True)
def bare(tmp_path, monkeypatch):
    """No data root but those that a test makes."""
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def filled(root, name="copa/train.jsonl", content="{}\n"):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)
    return root


def test_roots_are_searched_in_order(tmp_path, monkeypatch):
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
    assert split_files(task_spec("copa"), "train", "en", explicit).data == variable / "copa" / "train.jsonl"


def test_a_root_that_is_no_folder_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"--data"):
        candidate_roots(tmp_path / "nowhere")
    monkeypatch.setenv("METAXCR_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="METAXCR_DATA"):
        candidate_roots()


def test_without_a_root_the_message_says_how_to_get_one():
    with pytest.raises(UserError) as caught:
        split_files(task_spec("copa"), "train", "en")
    assert (
        "--data" in str(caught.value)
        and "METAXCR_DATA" in str(caught.value)
        and "'copa'" in str(caught.value)
    )


def test_a_missing_file_is_named_with_the_roots(tmp_path):
    with pytest.raises(UserError) as caught:
        split_files(task_spec("copa"), "val", "en", filled(tmp_path))
    assert "'copa/val.jsonl'" in caught.value.what and caught.value.where == str(tmp_path)


def test_both_files_come_from_one_root(tmp_path):
    root = filled(tmp_path / "a", "winogrande/dev.jsonl")
    with pytest.raises(UserError, match=r"dev-labels\.lst"):
        split_files(task_spec("winogrande"), "dev", "en", root)
    filled(cache_root(), "winogrande/dev-labels.lst")
    with pytest.raises(UserError, match=r"dev-labels\.lst"):
        split_files(task_spec("winogrande"), "dev", "en", root)
    filled(root, "winogrande/dev-labels.lst")
    assert len(split_files(task_spec("winogrande"), "dev", "en", root).all()) == 2


def test_file_names_may_spell_a_language_differently(tmp_path, make_spec):
    spec = make_spec(languages=["ja"], codes={"ja": "jp"})
    root = filled(tmp_path, "toy/jp.jsonl")
    assert split_files(spec, "train", "ja", root).data.name == "jp.jsonl"


def test_missing_files_are_listed(tmp_path):
    assert missing_files(task_spec("copa"), filled(tmp_path)) == ["copa/test.jsonl", "copa/val.jsonl"]
    assert missing_files(task_spec("starter_causes")) == []


def test_the_fingerprint_sees_contents_and_not_folders(tmp_path):
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


def test_a_users_own_files_need_no_root(tmp_path, make_spec):
    files = {"data": str(tmp_path / "{language}.jsonl"), "labels": "labels.lst"}
    spec = make_spec(splits={"train": {"files": files}})
    found = split_files(spec, "train", "en")
    assert found.all() == [tmp_path / "en.jsonl", tmp_path / "labels.lst"]
    assert sorted(missing_files(spec)) == sorted([str(tmp_path / "en.jsonl"), "labels.lst"])
    by_language = {"data": {"en": str(tmp_path / "{x}.jsonl")}, "labels": str(tmp_path / "l.lst")}
    spec = make_spec(splits={"train": {"files": by_language}})
    found = split_files(spec, "train", "en")
    assert found.all() == [tmp_path / "{x}.jsonl", tmp_path / "l.lst"]


def test_what_is_no_plain_file_is_missing(tmp_path, make_spec):
    (tmp_path / "toy" / "en.jsonl").mkdir(parents=True)
    with pytest.raises(UserError, match=r"'toy/en\.jsonl' of task 'toy' is missing"):
        split_files(make_spec(), "train", "en", tmp_path)
    assert missing_files(make_spec(), tmp_path) == ["toy/en.jsonl"]
