"""The hub's interface, against a server on this machine."""

import pytest
from tests.server import Repository

from metaxcr.data.hub_data import CONVERTED, _may_hold_data, list_hub_files, resolve_revision
from metaxcr.errors import UserError

OLD, NEW, PARQUET = "a" * 40, "b" * 40, "c" * 40


@pytest.fixture
def repository(server):
    server.hub["own/set"] = Repository(
        {"main": OLD, CONVERTED: PARQUET},
        {
            OLD: {"README.md": b"#", "set.py": b"evil()", "dataset_infos.json": b"{}"},
            NEW: {"README.md": b"#", "data/test.jsonl": b"{}\n"},
            PARQUET: {"default/train/0000.parquet": b"PAR1"},
        },
    )
    return server.hub["own/set"]


def test_a_branch_is_resolved_and_a_commit_is_not_asked_for(server, repository):
    assert resolve_revision("own/set", "main") == OLD
    asked = len(server.log)
    assert resolve_revision("own/set", NEW) == NEW
    assert len(server.log) == asked


def test_without_data_the_hubs_own_conversion_is_listed(repository):
    assert list_hub_files("own/set") == (PARQUET, ["default/train/0000.parquet"])
    repository.revisions["main"] = NEW
    assert list_hub_files("own/set") == (NEW, ["README.md", "data/test.jsonl"])
    assert list_hub_files("own/set", OLD)[0] == PARQUET
    del repository.revisions[CONVERTED]
    assert list_hub_files("own/set", OLD) == (OLD, ["README.md", "dataset_infos.json", "set.py"])


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("a/b.JSONL", True),
        ("t.csv.gz", True),
        ("dataset_infos.json", False),
        ("x.py", False),
        (".c/a.json", False),
    ],
)
def test_data_are_told_by_name(path, data):
    assert _may_hold_data(path) is data


@pytest.mark.parametrize(
    ("closed", "message"),
    [
        ((401, ""), r"no data set 'own/set' \(401\).*HF_TOKEN"),
        ((401, "GatedRepo"), r"\(401\): accept the terms on .*/datasets/own/set.*HF_TOKEN"),
        ((403, "GatedRepo"), r"\(403\): accept the terms"),
        ((500, ""), "the hub says 500"),
    ],
)
def test_a_refusal_is_one_line(repository, closed, message):
    repository.closed = closed
    with pytest.raises(UserError, match=message):
        resolve_revision("own/set", "main")


def test_a_token_opens(repository, server, monkeypatch):
    repository.closed = (403, "GatedRepo")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert resolve_revision("own/set", "main") == OLD


def test_what_is_not_there(repository, server, monkeypatch):
    with pytest.raises(UserError, match="'own/set' has no revision 'v2'"):
        resolve_revision("own/set", "v2")
    with pytest.raises(UserError, match=r"no data set 'own/other'"):
        resolve_revision("own/other", "main")
    with pytest.raises(UserError, match="hub"):
        resolve_revision("not//valid", "main")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot reach 127.0.0.1:9.*--data"):
        resolve_revision("own/set", "main")


def test_offline_by_order(repository, server, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        resolve_revision("own/set", "main")
    assert not server.log
