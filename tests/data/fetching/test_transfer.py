"""Downloads from a server that misbehaves; no other machine is asked."""

import socket
from pathlib import Path

import pytest

from metaxcr.data.fetching import transfer
from metaxcr.data.fetching.sources import DownloadSource
from metaxcr.data.fetching.transfer import Transfer
from metaxcr.errors import UserError

DATA = bytes(range(256)) * 4000


@pytest.fixture
def get(server, tmp_path):
    """Download a path of the server."""
    moved = Transfer(tmp_path / "parts")

    def run(path: str = "/f.jsonl", transfer: Transfer = moved, **headers: str) -> bytes:
        source = DownloadSource(server.url + path, "https://page.example", headers=headers)
        return transfer.get(source, "f").read_bytes()

    return run


def test_a_file_comes_whole(server, get):
    server.files["/a b/f.jsonl"] = DATA
    assert get("/a b/f.jsonl") == DATA
    assert server.log[0][2]["accept-encoding"] == "identity"


def test_a_broken_connection_goes_on_where_it_broke(server, get):
    server.files["/f.jsonl"] = DATA
    server.drops["/f.jsonl"] = [300_000, 0, 1000]
    assert get() == DATA
    assert [h.get("range") for h in server.asked("/f.jsonl")] == [
        None, "bytes=300000-", "bytes=300000-", "bytes=301000-",
    ]  # fmt: skip


def test_a_stopped_download_goes_on_later(server, get, tmp_path):
    server.files["/f.jsonl"] = DATA
    server.drops["/f.jsonl"] = [5000, *[0] * 4]
    with pytest.raises(
        UserError, match=r"the download stopped: 5000 of 1024000 .*the same command continues"
    ):
        get()
    seen = []
    later = Transfer(tmp_path / "parts", lambda *what: seen.append(what))
    assert get(transfer=later) == DATA
    assert server.log[-1][2]["range"] == "bytes=5000-"
    assert seen[-1] == ("f", len(DATA), len(DATA)) and seen[0][1] > 5000


def test_a_whole_part_is_not_fetched_again(server, get):
    server.files["/f.jsonl"] = DATA
    assert get() == get() == DATA
    assert server.log[-1][2]["range"] == f"bytes={len(DATA)}-"


def test_a_file_that_changed_meanwhile_starts_over(server, get):
    server.files["/f.jsonl"] = DATA
    server.drops["/f.jsonl"] = [5000, *[0] * 4]
    with pytest.raises(UserError):
        get()
    server.files["/f.jsonl"] = new = DATA[::-1]
    assert get() == new


def test_without_a_validator_a_part_is_not_trusted(server, get):
    server.plain = True
    server.files["/f.jsonl"] = DATA
    server.drops["/f.jsonl"] = [5000]
    assert get() == DATA
    assert "range" not in server.log[-1][2]


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
def test_a_page_is_no_data(server, get, tmp_path, content, kind):
    server.files["/f.jsonl"] = content
    server.headers["/f.jsonl"] = {"Content-Type": kind}
    with pytest.raises(UserError, match="a web page, not data"):
        get()
    assert not list((tmp_path / "parts").iterdir())


def test_xml_is_no_page(server, get):
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


def test_redirects_are_few_and_carry_no_token_elsewhere(server, get):
    server.files["/f.jsonl"] = DATA
    server.redirects |= {
        "/here": "/f.jsonl",
        "/there": server.url.replace("127.0.0.1", "localhost") + "/f.jsonl",
    }
    assert get("/here", Authorization="Bearer secret") == DATA
    assert server.log[-1][2]["authorization"] == "Bearer secret"
    assert get("/there", Authorization="Bearer secret") == DATA
    assert "authorization" not in server.log[-1][2]
    server.redirects["/round"] = "/round"
    with pytest.raises(UserError, match="302"):
        get("/round")
    assert len(server.asked("/round")) <= 6


@pytest.mark.parametrize("goal", ["ftp://host/f", "file:///etc/passwd"])
def test_redirects_stay_with_http(server, get, goal):
    server.redirects["/f.jsonl"] = goal
    with pytest.raises(UserError, match=r"not followed|not allowed"):
        get()


def test_no_redirect_out_of_https():
    handler, request = transfer._Redirects(), transfer.Request("https://a.example/f")
    with pytest.raises(UserError, match="from https to http"):
        handler.redirect_request(request, None, 302, "", {}, "http://a.example/f")


def test_a_host_that_cannot_be_reached_is_asked_once(tmp_path, server, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    moved = Transfer(tmp_path)
    for _ in range(2):
        with pytest.raises(UserError, match=rf"cannot reach 127.0.0.1:{port}: .*refused.*--to DIR.*--data"):
            moved.get(DownloadSource(f"http://127.0.0.1:{port}/f", ""), "f")
        monkeypatch.setattr(moved, "_attempt", None)


def test_silence_ends(server, get, monkeypatch):
    server.files["/f.jsonl"] = DATA
    server.pauses["/f.jsonl"] = 0.5
    monkeypatch.setattr(transfer, "TIMEOUT", 0.05)
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    with pytest.raises(UserError, match="timed out"):
        get()


def test_a_full_disk_is_one_line(server, get, monkeypatch):
    server.files["/f.jsonl"] = DATA
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: type("Use", (), {"free": 1000}))
    with pytest.raises(UserError, match="too full: 1024000 bytes are needed, 1000 are free"):
        get()
    monkeypatch.undo()

    def full(self: Path, *mode: str, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UserError, match=r"the disk is full.*the same command continues"):
        get()


def test_no_end_is_an_error(server, get, monkeypatch):
    server.files["/f.jsonl"] = DATA
    monkeypatch.setattr(transfer, "LIMIT", 1000)
    with pytest.raises(UserError, match="1024000 bytes, more than"):
        get()
