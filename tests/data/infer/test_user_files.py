"""Files of a task of one's own: formats told from the content, splits, the hub."""

import json

import pytest
from tests.server import Repository

from metaxcr.data.file_formats import FORMATS
from metaxcr.data.infer.user_files import (
    choose_paths,
    hub_name,
    hub_sources,
    local_sources,
    sniff,
    split_name,
)
from metaxcr.data.languages import language_tag
from metaxcr.data.rows import Repairs
from metaxcr.errors import UserError

ONE, TWO = {"premise": "p", "choice1": "a"}, {"premise": "q", "choice1": "b"}
LINES = f"{json.dumps(ONE)}\n{json.dumps(TWO)}\n"


@pytest.mark.parametrize(
    ("content", "form", "rows"),
    [
        (LINES, "jsonl", 2),
        (f"\ufeff{LINES}", "jsonl", 2),
        (f"{json.dumps(ONE)}\n{{broken}}\n{json.dumps(TWO)}\n", "jsonl", 3),
        (json.dumps([ONE, TWO]), "json", 2),
        (json.dumps([ONE, TWO], indent=4), "json", 2),
        (json.dumps([["premise", "choice1"], ["p", "a"], ["q", "b"]]), "json", 2),
        (f"\n{json.dumps(ONE, indent=2)}\n\n{json.dumps(TWO, indent=2)}\n", "json", 2),
        (json.dumps({"data": [ONE, TWO]}, indent=1), "json", 2),
        (json.dumps(ONE), "json", 1),
        ("premise,choice1,choice2\np,a,b\n", "csv", 1),
        ('premise,choice1,choice2\n"p; r; s; t",a,"b\nc"\nq,a,b\n', "csv", 2),
        ("premise;choice1;choice2\np, q, r, s;a;b\n", "csv-semicolon", 1),
        ("premise\tchoice1\tchoice2\np, q\ta, b\tc\n", "tsv", 1),
        ('premise\tchoice1\tchoice2\n"Go," she said.\ta\tb\n', "tsv", 1),
        ('premise\tchoice1\tchoice2\n"A quotation."\ta\tb\nq\ta\tb\n', "tsv", 2),
        ('premise\tchoice1\tchoice2\n"Say ""go""."\ta\tb\n', "tsv-quoted", 1),
        ('premise\tchoice1\tchoice2\n"a\ttab"\ta\tb\n', "tsv-quoted", 1),
        ('"premise"\t"choice1"\t"choice2"\n"p"\t"a"\t"b"\n', "tsv-quoted", 1),
        (f'premise\tchoice1\tchoice2\n{"p" * 3}\t"a\tb\nq\t"a" x\tb\n', "tsv", 2),
    ],
)
def test_the_content_tells_the_format_whatever_the_suffix(tmp_path, content, form, rows):
    for suffix in ("json", "csv", "txt"):
        file = tmp_path / f"file.{suffix}"
        file.write_text(content, encoding="utf-8")
        assert sniff(file) == form
        assert len(list(FORMATS[form](file, None, Repairs()))) == rows


def test_parquet(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "file.json"
    parquet.write_table(arrow.Table.from_pylist([ONE, TWO]), file)
    assert sniff(file) == "parquet"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"PK\x03\x04....", "packed (zip)"),
        (b"\x1f\x8b\x08\x00....", "packed (gzip)"),
        (b'<?xml version="1.0"?><corpus>', "XML or HTML"),
        (b"one sentence\nanother one\n", "begins with 'one sentence'"),
        (b"\xff\xfep\x00", "UTF-16"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, told):
    file = tmp_path / "file.csv"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"file\.csv") as caught:
        sniff(file)
    assert told in str(caught.value)


ROW = {"premise": "p", "choice1": "a", "choice2": "b", "label": 0}
JSON_LINES = "".join(json.dumps({**ROW, "label": n % 2}) + "\n" for n in range(4)).encode()


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("val.qu.json", "val"),
        ("test-mk.jsonl", "test"),
        ("valid-v1.3.json", "valid"),
        ("test_ck.csv", "test"),
        ("train-00000-of-00001.parquet", "train"),
        ("spring2016.val.sw.tsv.split_20_80_train.tsv", "train"),
        ("xcopa_validation.jsonl", "validation"),
        ("mine.csv", None),
        ("contest.csv", None),
        ("retrained.csv", None),
    ],
)
def test_the_split_is_in_the_name(name, split):
    assert split_name(name) == split


def test_splits_of_files(tmp_path):
    files = []
    for name in ("train.jsonl", "mine.jsonl"):
        (tmp_path / name).write_bytes(JSON_LINES)
        files.append(tmp_path / name)
    assert [source.split for source in local_sources(files)] == ["train", "test"]
    assert [source.split for source in local_sources(files, ["a", "b"])] == ["a", "b"]
    with pytest.raises(UserError, match=r"mine\.jsonl and mine\.jsonl are both split 'test'"):
        local_sources([files[1], files[1]])
    with pytest.raises(UserError, match="1 splits for 2 files"):
        local_sources(files, ["a"])
    with pytest.raises(UserError, match="cannot name a split"):
        local_sources(files[:1], ["a/b"])
    with pytest.raises(UserError, match="no such file"):
        local_sources([tmp_path / "none.csv"])


def test_names_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub_name("owner/name") == ("owner/name", None)
    assert hub_name("owner/name:part") == ("owner/name", "part")
    assert hub_name("folder/file.csv") is None
    assert hub_name("/folder/file") is None
    assert hub_name("name") is None
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "name").touch()
    assert hub_name("owner/name") is None


@pytest.mark.parametrize(
    ("paths", "config", "chosen"),
    [
        (
            ["README.md", "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"],
            None,
            {"train": "data/train-00000-of-00001.parquet", "test": "data/test-00000-of-00001.parquet"},
        ),
        (["sw/test.jsonl", "et/test.jsonl"], None, {"test": "sw/test.jsonl"}),
        (["data/test.sw.jsonl", "data/test.et.jsonl"], None, {"test": "data/test.sw.jsonl"}),
        (["copa/test.jsonl", "boolq/test.jsonl"], "copa", {"test": "copa/test.jsonl"}),
        (["copa/train/0000.parquet", "boolq/train/0000.parquet"], "boolq",
         {"train": "boolq/train/0000.parquet"}),
        (["data/copa-test-00000-of-00001.parquet", "data/x-test-00000-of-00001.parquet"], "copa",
         {"test": "data/copa-test-00000-of-00001.parquet"}),
        (["test.csv", "test.jsonl", "dataset_infos.json", "val.csv"], None,
         {"val": "val.csv", "test": "test.jsonl"}),
        (["copal.csv"], None, {"test": "copal.csv"}),
    ],
)  # fmt: skip
def test_paths_of_a_repository(paths, config, chosen):
    assert choose_paths("o/n", paths, config, language_tag("sw")) == chosen


@pytest.mark.parametrize(
    ("paths", "config", "told"),
    [
        (["README.md", "loader.py"], None, "no file that can be read"),
        (["copa/test.jsonl", "boolq/test.jsonl"], None, "several parts: boolq, copa"),
        (["copa/test.jsonl", "boolq/test.jsonl"], "wic", "no such part: boolq, copa"),
        (["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"], None, "2 files of split 'train'"),
    ],
)
def test_a_repository_that_is_not_one_file_a_split(paths, config, told):
    with pytest.raises(UserError, match="o/n") as caught:
        choose_paths("o/n", paths, config, language_tag("sw"))
    assert told in str(caught.value)


def test_a_data_set_of_the_hub_is_fetched_and_pinned(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    commit = "c" * 40
    server.hub["o/n"] = Repository(
        {"main": commit},
        {commit: {"sw/test.jsonl": JSON_LINES, "sw/train.jsonl": JSON_LINES, "et/test.jsonl": JSON_LINES}},
    )
    sources = hub_sources("o/n", None, language_tag("sw"))
    assert [source.split for source in sources] == ["train", "test"]
    download = sources[1].download
    assert (download.hub, download.revision, download.path) == ("o/n", commit, "sw/test.jsonl")
    assert download.to == sources[1].name
    assert sources[1].path.read_bytes() == JSON_LINES
    assert [source.split for source in hub_sources("o/n", "sw", language_tag("sw"), ["test"])] == ["test"]
    with pytest.raises(UserError, match="has no split 'dev'"):
        hub_sources("o/n", "sw", language_tag("sw"), ["dev"])
