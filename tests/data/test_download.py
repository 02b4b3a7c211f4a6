"""Files and the hub's interface, against a server on this machine."""

import socket
from types import SimpleNamespace

import pytest
import requests
from tests.server import Repository

from metaxcr.data import download
from metaxcr.data.download import (
    CONVERTED,
    DownloadSource,
    UnreachableError,
    _may_hold_data,
    download_url,
    list_hub_files,
    resolve_revision,
)
from metaxcr.errors import UserError

OLD, NEW, PARQUET = "a" * 40, "b" * 40, "c" * 40
DATA = bytes(range(256)) * 4000


@pytest.fixture
def get(server, tmp_path):
    """Download a path of the server."""

    def run(path: str = "/f.jsonl", **report) -> bytes:
        (tmp_path / "parts").mkdir(exist_ok=True)
        target = tmp_path / "parts" / "f"
        target.unlink(missing_ok=True)
        download_url(DownloadSource(server.url + path, "https://page.example"), target, "f", **report)
        return target.read_bytes()

    return run


def test_a_file_arrives_complete_and_as_it_is(server, get):
    server.files["/a b/f.jsonl"] = DATA
    heard = []
    assert get("/a b/f.jsonl", report=lambda *what: heard.append(what)) == DATA
    assert server.log[0][2]["accept-encoding"] == "identity"
    assert heard[-1] == ("f", len(DATA), len(DATA)) and 0 < heard[0][1] <= len(DATA)
    assert [done for _, done, _ in heard] == sorted(done for _, done, _ in heard)


def test_a_file_of_unknown_size(server, get):
    server.files["/f.jsonl"] = DATA
    server.chunked = True
    heard = []
    assert get(report=lambda *what: heard.append(what)) == DATA
    assert heard[-1][1] >= len(DATA) and heard[-1][2] is None


def test_a_broken_connection_is_tried_again(server, get, tmp_path):
    server.files["/f.jsonl"] = DATA
    server.drops["/f.jsonl"] = [300_000, 0, 1000]
    assert get() == DATA
    assert len(server.log) == 4
    server.drops["/f.jsonl"] = [5000] * 4
    with pytest.raises(UserError, match=r"the download stopped: .*5000.*run the command again"):
        get()
    assert not list((tmp_path / "parts").iterdir())


def test_a_busy_server_is_asked_again(server, get):
    server.files["/f.jsonl"] = DATA
    server.refusals["/f.jsonl"] = [503, 429]
    assert get() == DATA
    server.refusals["/f.jsonl"] = [503] * 9
    with pytest.raises(UserError, match="the download stopped: the server says 503"):
        get()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, r"there is no such file \(404\).*see https://page"),
        (403, r"refuses \(403\).*download by hand from https://page"),
        (401, r"refuses \(401\)"),
        (418, "the server says 418"),
    ],
)
def test_a_refusal_is_one_line(server, get, status, message):
    server.refusals["/f.jsonl"] = [status]
    with pytest.raises(UserError, match=message):
        get()
    assert len(server.log) == 1


@pytest.mark.parametrize(
    ("content", "kind"), [(b"\n<!DOCTYPE html><p>log in", "x/y"), (b"<!-- hm --><p>", "text/html")]
)
def test_a_web_page_is_refused(server, get, tmp_path, content, kind):
    server.files["/f.jsonl"] = content
    server.headers["/f.jsonl"] = {"Content-Type": kind}
    with pytest.raises(UserError, match="a web page, not data"):
        get()
    assert not list((tmp_path / "parts").iterdir())


def test_xml_is_no_web_page(server, get):
    server.files["/f.jsonl"] = b"<?xml version='1.0'?><a/>"
    server.headers["/f.jsonl"] = {"Content-Type": "text/html"}
    assert get().startswith(b"<?xml")


def test_an_empty_or_compressed_answer_is_an_error(server, get):
    server.files["/f.jsonl"] = b""
    with pytest.raises(UserError, match="empty file"):
        get()
    server.files["/g"] = b"x"
    server.headers["/g"] = {"Content-Encoding": "gzip"}
    with pytest.raises(UserError, match="as gzip"):
        get("/g")


def test_a_damaged_header_is_one_line(server, get):
    server.files["/f.jsonl"] = DATA
    server.headers["/f.jsonl"] = {"Content-Length": "many"}
    with pytest.raises(UserError, match="no download: "):
        get()


def test_redirects_are_followed_but_not_forever(server, get):
    server.files["/f.jsonl"] = DATA
    server.redirects |= {"/here": "/f.jsonl", "/round": "/round"}
    assert get("/here") == DATA
    with pytest.raises(UserError, match="redirects"):
        get("/round")


@pytest.mark.parametrize("goal", ["ftp://host/f", "file:///etc/passwd"])
def test_redirects_stay_with_http(server, get, goal):
    server.redirects["/f.jsonl"] = goal
    with pytest.raises(UserError, match="not followed"):
        get()


def test_no_redirect_out_of_https(tmp_path):
    transfer = download._Transfer(
        DownloadSource("https://a.example/f", ""), tmp_path, "f", download.no_report
    )
    answer = requests.Response()
    answer.url, answer.status_code = "https://a.example/f", 302
    answer.headers["Location"] = "http://a.example/f"
    with pytest.raises(UserError, match="from https to http"):
        transfer.check_response(answer)


def test_a_host_that_cannot_be_reached(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = DownloadSource(f"http://127.0.0.1:{port}/f", "")
    with pytest.raises(
        UnreachableError, match=rf"cannot reach 127.0.0.1:{port}: .*refused.*--to DIR.*--data"
    ):
        download_url(source, tmp_path / "f", "f")


def test_silence_ends(server, get, monkeypatch):
    server.files["/f.jsonl"] = DATA
    server.pauses["/f.jsonl"] = 0.5
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    with pytest.raises(UserError, match="timed out"):
        get()


def test_a_file_that_does_not_fit_is_refused(server, get, monkeypatch):
    server.files["/f.jsonl"] = DATA
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match="too full: 1024000 bytes are needed, 1000 are free"):
        get()


def test_a_file_that_never_ends_is_refused(server, get, monkeypatch):
    server.files["/f.jsonl"] = DATA
    monkeypatch.setattr(download, "LIMIT", 1000)
    with pytest.raises(UserError, match="1024000 bytes, more than"):
        get()
    server.chunked = True
    with pytest.raises(UserError, match="GiB were received"):
        get()


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
def test_a_refusal_of_the_hub_is_one_line(repository, closed, message):
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
