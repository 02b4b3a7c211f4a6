"""Members out of archives, hostile ones included."""

import io
import socket
import tarfile
import zipfile
from types import SimpleNamespace

import pytest
import requests
from pydantic import ValidationError

from metaxcr.data import download
from metaxcr.data.download import Download, DownloadSource, UnreachableError, download_url, extract
from metaxcr.errors import UserError

HELD = {"data/a.jsonl": b"a\n" * 2000, "data/b.jsonl": b"b\n", "../../evil.jsonl": b"evil\n"}


def pack(path, kind: str):
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in HELD.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
        for name, content in HELD.items():
            entry = tarfile.TarInfo(f"./{name}" if name.startswith("data/a") else name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("data/link.jsonl")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path


@pytest.fixture(params=["zip", "tar", "tar.gz"])
def archive(request, tmp_path):
    return pack(tmp_path / "archive", request.param)


def test_only_what_is_named_is_written(archive, tmp_path):
    targets = {name: tmp_path / f"{n}.member" for n, name in enumerate(HELD)}
    extract(archive, targets, "here")
    assert {name: target.read_bytes() for name, target in targets.items()} == HELD
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "0.member", "1.member", "2.member"}
    assert not (tmp_path.parent.parent / "evil.jsonl").exists()


def test_a_missing_member_is_named_with_one_like_it(archive, tmp_path):
    with pytest.raises(UserError, match=r"no 'a.jsonl' in the archive \(here\): it has 'data/a.jsonl'"):
        extract(archive, {"a.jsonl": tmp_path / "x"}, "here")


def test_a_huge_member_is_refused(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "MEMBER_LIMIT", 1000)
    with pytest.raises(UserError, match=r"'data/a.jsonl' unpacks to more than 1000"):
        extract(archive, {"data/a.jsonl": tmp_path / "x"}, "here")
    assert not (tmp_path / "x").exists()
    extract(archive, {"data/b.jsonl": tmp_path / "x"}, "here")


def test_a_zip_that_understates_a_member(tmp_path, monkeypatch):
    path = pack(tmp_path / "archive", "zip")
    monkeypatch.setattr(download, "MEMBER_LIMIT", 1000)
    lied = path.read_bytes().replace((4000).to_bytes(4, "little"), (40).to_bytes(4, "little"))
    path.write_bytes(lied)
    with pytest.raises(UserError, match=r"cannot be read|more than"):
        extract(path, {"data/a.jsonl": tmp_path / "x"}, "here")


def test_a_tar_that_never_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "ARCHIVE_LIMIT", 3000)
    with pytest.raises(UserError, match="unpacks to more than 3000"):
        extract(pack(tmp_path / "archive", "tar.gz"), {"data/b.jsonl": tmp_path / "x"}, "here")


def test_a_link_is_no_data(tmp_path):
    with pytest.raises(UserError, match="no plain file"):
        extract(pack(tmp_path / "archive", "tar"), {"data/link.jsonl": tmp_path / "x"}, "here")


def test_what_is_no_archive(archive, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b'{"a": 1}\n')
    with pytest.raises(UserError, match="neither a zip nor a tar"):
        extract(other, {"a": tmp_path / "x"}, "here")
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 3])
    with pytest.raises(UserError, match=r"cannot be read|neither a zip"):
        extract(archive, {"data/a.jsonl": tmp_path / "x"}, "here")


DATA = bytes(range(256)) * 4000


def test_a_language_has_a_file_of_its_own():
    declared = Download(to="x/{language}.tsv", url="https://h/{language}.zip", member="a/{language}.tsv")
    assert declared.per_language
    one = declared.for_language("et")
    assert (one.to, one.url, one.member) == ("x/et.tsv", "https://h/et.zip", "a/et.tsv")
    assert Download(to="x/{language}.tsv", hub="a/b").for_language("et").hub_path == "et.tsv"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"to": "a"}, "either 'url' or 'hub'"),
        ({"to": "a", "url": "https://h/a", "hub": "a/b"}, "either 'url' or 'hub'"),
        ({"to": "a", "url": "file:///etc/passwd"}, "does not begin with"),
        ({"to": "a", "hub": "a/b/c"}, "owner/name"),
        ({"to": "a", "url": "https://h/a", "path": "x"}, "'path' goes with 'hub'"),
        ({"to": "a", "hub": "a/b", "member": "x"}, "needs 'path'"),
        ({"to": "../a", "url": "https://h/a"}, "below the data root"),
        ({"to": "/a", "url": "https://h/a"}, "below the data root"),
        ({"to": "a/.b", "url": "https://h/a"}, "below the data root"),
        ({"to": "a\\b", "url": "https://h/a"}, "below the data root"),
        ({"to": "fetched.json", "url": "https://h/a"}, "below the data root"),
        ({"to": "{lang}", "url": "https://h/a"}, "may name only"),
        ({"to": "a", "url": "https://h/{language}"}, "or in neither"),
        ({"to": "{language}/a.json", "hub": "a/b"}, "or in neither"),
    ],
)
def test_invalid_downloads_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        Download(**fields)


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
