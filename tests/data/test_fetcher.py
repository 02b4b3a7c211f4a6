"""Files into a data root, from a server on this machine; members out of archives, hostile ones included."""

import hashlib
import io
import json
import tarfile
import zipfile

import pytest
from tests.server import Repository

from metaxcr.data import fetcher as module
from metaxcr.data.fetcher import extract, fetch_hub_files, open_fetcher
from metaxcr.data.registry import downloads_of
from metaxcr.errors import UserError

OLD, NEW = "a" * 40, "b" * 40
ROW = b'{"premise": "a"}\n'


@pytest.fixture(autouse=True)
def bare(tmp_path, monkeypatch):
    """No data root but those that a test makes, and no shipped checksum."""
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr("metaxcr.data.fetcher.official_checksums", dict)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def ship(monkeypatch, **contents: bytes) -> None:
    sums = {f"toy/{name}.jsonl": sha(content) for name, content in contents.items()}
    monkeypatch.setattr("metaxcr.data.fetcher.official_checksums", lambda: sums)


def fetch(root, spec, *, force=False, **only):
    with open_fetcher(root, force=force) as fetcher:
        plan = fetcher.plan(spec, **only)
        return plan, list(fetcher.fetch(spec.id, plan.missing, spec.url))


def records(root) -> dict:
    return json.loads((root / "fetched.json").read_text())


@pytest.fixture
def plain(make_spec, server):
    """A task in two languages, a file each."""
    server.files |= {"/et.jsonl": ROW, "/sw.jsonl": ROW * 2, "/LICENSE": b"free"}
    return make_spec(
        languages=["et", "sw"],
        fetch=[
            {"to": "toy/{language}.jsonl", "url": f"{server.url}/{{language}}.jsonl"},
            {"to": "toy/LICENSE", "url": f"{server.url}/LICENSE"},
        ],
    )


def test_files_come_once_and_are_recorded(plain, root, server):
    plan, fetched = fetch(root, plain)
    assert plan.present == plan.manual == []
    assert [one.file for one in fetched] == ["toy/et.jsonl", "toy/sw.jsonl", "toy/LICENSE"]
    assert (root / "toy/sw.jsonl").read_bytes() == ROW * 2
    record = records(root)["files"]["toy/et.jsonl"]
    assert record["sha256"] == fetched[0].sha256 == sha(ROW) and record["bytes"] == len(ROW)
    assert record["source"] == f"{server.url}/et.jsonl" and record["date"].endswith("Z")
    asked = len(server.log)
    plan, fetched = fetch(root, plain)
    assert fetched == [] and [one.status for one in plan.present] == ["present"] * 3
    assert plan.present[0].source == f"{server.url}/et.jsonl"
    assert len(server.log) == asked
    assert sorted(path.name for path in root.iterdir()) == [".fetch.lock", "fetched.json", "toy"]


def test_one_language_or_split_only(plain, root, make_spec):
    assert [d.to for d in downloads_of(plain, language="sw")] == ["toy/sw.jsonl"]
    assert [d.to for d in downloads_of(plain, split="train")] == ["toy/et.jsonl", "toy/sw.jsonl"]
    fetch(root, plain, language="sw")
    assert [path.name for path in (root / "toy").iterdir()] == ["sw.jsonl"]
    for only, message in (
        ({"split": "x"}, "no split 'x'.*train"),
        ({"language": "xx"}, "no language 'xx'.*et, sw"),
    ):
        with pytest.raises(UserError, match=message):
            fetch(root, plain, **only)


def test_codes_of_file_names_and_languages_without_a_file(make_spec):
    spec = make_spec(
        languages=["et", "sw"],
        codes={"et": "est"},
        splits={"train": {"files": {"data": "toy/{language}.jsonl"}, "languages": ["et"]}},
        fetch=[{"to": "toy/{language}.jsonl", "url": "https://h/{language}"}],
    )
    assert [(d.to, d.url) for d in downloads_of(spec)] == [("toy/est.jsonl", "https://h/est")]


def test_what_lies_in_another_root_is_not_fetched(plain, root, tmp_path, monkeypatch, server):
    other = tmp_path / "other"
    (other / "toy").mkdir(parents=True)
    for name in ("et.jsonl", "sw.jsonl", "LICENSE"):
        (other / "toy" / name).write_bytes(ROW)
    monkeypatch.setenv("METAXCR_DATA", str(other))
    plan, fetched = fetch(root, plain)
    assert not fetched and plan.present[0].source == str(other / "toy/et.jsonl")
    ship(monkeypatch, et=ROW * 9)
    with pytest.raises(
        UserError, match=r"'toy/et.jsonl' of task 'toy' is there but is not.*other.*move it away"
    ):
        fetch(root, plain)
    assert not server.log


def test_a_file_that_is_not_the_official_one_is_not_kept(plain, root, monkeypatch):
    ship(monkeypatch, et=b"official", sw=ROW * 2)
    with pytest.raises(UserError, match=rf"not the official file: its SHA-256 is {sha(ROW)}"):
        fetch(root, plain)
    assert not (root / "toy").exists() and not (root / ".partial").exists()
    assert [one.file for one in fetch(root, plain, language="sw")[1]] == ["toy/sw.jsonl"]


def test_the_first_fetch_decides_where_no_checksum_ships(plain, root, server):
    fetch(root, plain, language="et")
    (root / "toy/et.jsonl").unlink()
    server.files["/et.jsonl"] = b"new"
    with pytest.raises(UserError, match=r"no longer the file of 20.*--force takes the new one"):
        fetch(root, plain, language="et")
    assert not (root / "toy/et.jsonl").exists()
    fetch(root, plain, language="et", force=True)
    assert (root / "toy/et.jsonl").read_bytes() == b"new"
    (root / "toy/et.jsonl").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"is there but is not .*--force"):
        fetch(root, plain, language="et")
    fetch(root, plain, language="et", force=True)
    assert fetch(root, plain, language="et")[0].present[0].sha256 == sha(b"new")


def test_what_came_before_a_failure_stays(plain, root, server):
    server.refusals["/sw.jsonl"] = [404]
    with pytest.raises(UserError, match=r"404.*see https://example.org"):
        fetch(root, plain)
    assert list(records(root)["files"]) == ["toy/et.jsonl"]
    assert [one.file for one in fetch(root, plain)[1]] == ["toy/sw.jsonl", "toy/LICENSE"]


def test_an_interrupted_file_is_fetched_again(plain, root, server):
    server.files["/sw.jsonl"] = ROW * 100_000

    def stop(label: str, done: int, total: int | None) -> None:
        if done > 400_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_fetcher(root, report=stop) as fetcher:
        list(fetcher.fetch("toy", fetcher.plan(plain).missing))
    assert [path.name for path in (root / "toy").iterdir()] == ["et.jsonl"]
    assert not (root / ".partial").exists()
    fetch(root, plain)
    assert len(server.asked("/et.jsonl")) == 1
    assert (root / "toy/sw.jsonl").read_bytes() == ROW * 100_000


def test_files_without_a_download_are_for_a_person(make_spec, root):
    assert fetch(root, make_spec())[0].manual == ["toy/en.jsonl"]


def test_two_fetches_do_not_fill_one_folder(plain, root):
    with open_fetcher(root), pytest.raises(UserError, match="another fetch fills this folder"):
        fetch(root, plain)
    fetch(root, plain)


def test_records_of_earlier_versions_are_read(plain, root):
    (root / "toy").mkdir(parents=True)
    (root / "toy/et.jsonl").write_bytes(ROW)
    record = {
        "sha256": sha(ROW), "bytes": len(ROW), "source": "https://h/all.zip", "member": "et.jsonl",
        "commit": None, "date": "2025-01-31T12:00:00Z",
    }  # fmt: skip
    old = {"files": {"toy/et.jsonl": record}, "revisions": {"own/set@main": OLD}}
    (root / "fetched.json").write_text(json.dumps(old))
    (root / ".partial").mkdir()
    (root / ".partial/0123456789abcdef01234567.part").write_bytes(ROW)
    plan, _ = fetch(root, plain)
    assert [file.source for file in plan.present] == ["https://h/all.zip"]
    assert records(root)["files"]["toy/et.jsonl"] == record and records(root)["revisions"] == old["revisions"]
    assert not (root / ".partial").exists()


def test_records_that_are_none_of_ours(plain, root):
    root.mkdir()
    (root / "fetched.json").write_text("[]")
    with pytest.raises(UserError, match=r"cannot be read.*move it away"):
        fetch(root, plain)
    (root / "fetched.json").unlink()
    fetch(root, plain)  # the lock was given back


@pytest.fixture(params=["zip", "tar.gz"])
def archived(request, make_spec, server):
    """A task in two languages whose files lie in one archive."""
    held = {"in/et.jsonl": ROW, "in/sw.jsonl": ROW * 2, "../../evil": b"evil"}
    memory = io.BytesIO()
    if request.param == "zip":
        with zipfile.ZipFile(memory, "w") as archive:
            for name, content in held.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=memory, mode="w:gz") as archive:
            for name, content in held.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    server.files["/all"] = memory.getvalue()
    return make_spec(
        languages=["et", "sw"],
        fetch=[{"to": "toy/{language}.jsonl", "url": f"{server.url}/all", "member": "in/{language}.jsonl"}],
    )


def test_an_archive_comes_once_for_all_members(archived, root, server):
    _, fetched = fetch(root, archived)
    assert [one.sha256 for one in fetched] == [sha(ROW), sha(ROW * 2)]
    assert len(server.log) == 1
    assert records(root)["files"]["toy/sw.jsonl"]["member"] == "in/sw.jsonl"
    assert sorted(path.name for path in root.iterdir()) == [".fetch.lock", "fetched.json", "toy"]


def test_a_wrong_member_is_not_kept(archived, root, server, monkeypatch):
    ship(monkeypatch, et=ROW, sw=b"official")
    with pytest.raises(UserError, match=r"'toy/sw.jsonl' is not the official file"):
        fetch(root, archived)
    assert [path.name for path in (root / "toy").iterdir()] == ["et.jsonl"]
    assert not (root / ".partial").exists()


def test_what_is_no_archive_is_not_kept(archived, root, server):
    server.files["/all"] = b"{}"
    with pytest.raises(UserError, match="neither a zip nor a tar"):
        fetch(root, archived)
    assert not (root / ".partial").exists()


@pytest.fixture
def on_hub(make_spec, server):
    """A task on the hub, and a branch that will move."""
    commits = {
        OLD: {"data/en.jsonl": ROW, "extra.jsonl": ROW},
        NEW: {"data/en.jsonl": ROW * 3, "extra.jsonl": b"2"},
    }
    server.hub["own/set"] = Repository({"main": OLD}, commits)
    downloads = [{"to": "toy/en.jsonl", "hub": "own/set", "path": "data/en.jsonl"}]
    return make_spec(fetch=[*downloads, {"to": "toy/extra.jsonl", "hub": "own/set"}])


def test_a_branch_is_pinned_at_the_first_fetch(on_hub, root, server):
    assert [one.commit for one in fetch(root, on_hub, language="en")[1]] == [OLD]
    assert records(root)["revisions"] == {"own/set@main": OLD}
    server.hub["own/set"].revisions["main"] = NEW
    assert fetch(root, on_hub)[1][0].commit == OLD  # the file that was not asked for before
    (root / "toy/en.jsonl").unlink()
    fetch(root, on_hub)
    assert (root / "toy/en.jsonl").read_bytes() == ROW
    assert [one.commit for one in fetch(root, on_hub, force=True)[1]] == [NEW, NEW]
    assert (root / "toy/en.jsonl").read_bytes() == ROW * 3
    assert records(root)["revisions"] == {"own/set@main": NEW}


def test_a_token_goes_to_the_hub_and_nowhere_else(on_hub, plain, root, server, monkeypatch):
    server.hub["own/set"].closed = (403, "GatedRepo")
    with pytest.raises(UserError, match=r"access denied: gated data set \(403\).*accept the terms on"):
        fetch(root, on_hub)
    root.joinpath("fetched.json").write_text(json.dumps({"revisions": {"own/set@main": OLD}}))
    with pytest.raises(UserError, match=r"access denied: gated data set \(403\).*HF_TOKEN"):
        fetch(root, on_hub)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(root, on_hub)
    fetch(root, plain)
    assert all("authorization" not in headers for headers in server.asked("/et.jsonl"))
    assert "hf_secret" not in (root / "fetched.json").read_text()


def test_a_missing_file_on_the_hub(on_hub, root, server):
    del server.hub["own/set"].commits[OLD]["data/en.jsonl"]
    with pytest.raises(UserError, match="no such file"):
        fetch(root, on_hub)


def test_a_damaged_file_in_the_hubs_cache_is_replaced_by_force(on_hub, root, tmp_path, monkeypatch):
    ship(monkeypatch, en=ROW)
    fetch(root, on_hub)
    (root / "toy/en.jsonl").unlink()
    (cached,) = (tmp_path / "hub-cache").rglob("en.jsonl")
    cached.resolve().write_bytes(b"damaged")
    with pytest.raises(UserError, match="not the official file"):
        fetch(root, on_hub)
    fetch(root, on_hub, force=True)
    assert (root / "toy/en.jsonl").read_bytes() == ROW


@pytest.mark.parametrize(
    ("source", "downloader"),
    [
        ({"url": "http://127.0.0.1:9/a"}, "download_url"),
        ({"hub": "own/set", "revision": OLD}, "download_hub_file"),
    ],
)
def test_a_host_that_cannot_be_reached_is_tried_once(
    make_spec, root, server, monkeypatch, source, downloader
):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the hub's library tries several times
    spec = make_spec(fetch=[{"to": "toy/en.jsonl", **source}])
    with open_fetcher(root) as fetcher:
        for _ in range(2):
            with pytest.raises(UserError, match=r"cannot reach 127\.0\.0\.1:9: .*refused"):
                list(fetcher.fetch("toy", spec.fetch))
            monkeypatch.setattr(f"metaxcr.data.fetcher.{downloader}", None)


def test_a_full_disk_is_one_line(plain, root, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("metaxcr.data.fetcher.download_url", full)
    with pytest.raises(UserError, match=r"the disk is full.*make room, then run the command again"):
        fetch(root, plain)


def test_the_hubs_cache_serves_when_the_hub_must_not_be_asked(on_hub, root, server, monkeypatch, tmp_path):
    from huggingface_hub import hf_hub_download

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    hf_hub_download(
        "own/set", "data/en.jsonl", repo_type="dataset", endpoint=server.url, cache_dir=tmp_path / "hub"
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = len(server.log)
    assert fetch(root, on_hub, language="en")[1][0].commit == OLD
    assert (root / "toy/en.jsonl").read_bytes() == ROW
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set and 'own/set' is not in the hub's cache"):
        fetch(root, on_hub)
    assert len(server.log) == asked


def test_files_of_the_hub_that_no_task_declares(on_hub, root, server):
    heard = []
    commit, paths = fetch_hub_files(
        "own/set", "main", ["data/en.jsonl"], root, lambda *what: heard.append(what)
    )
    assert commit == OLD and paths == [root / f"hub/own/set/{OLD[:12]}/data/en.jsonl"]
    assert paths[0].read_bytes() == ROW and heard[-1][1:] == (len(ROW), len(ROW))
    asked = len(server.log)
    assert fetch_hub_files("own/set", "main", ["data/en.jsonl"], root) == (commit, paths)
    assert len(server.log) == asked
    for bad in ("../x", "/x", "a//b"):
        with pytest.raises(UserError, match="is no path of a file"):
            fetch_hub_files("own/set", NEW, [bad], root)


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
    monkeypatch.setattr(module, "MEMBER_LIMIT", 1000)
    with pytest.raises(UserError, match=r"'data/a.jsonl' unpacks to more than 1000"):
        extract(archive, {"data/a.jsonl": tmp_path / "x"}, "here")
    assert not (tmp_path / "x").exists()
    extract(archive, {"data/b.jsonl": tmp_path / "x"}, "here")


def test_a_zip_that_understates_a_member(tmp_path, monkeypatch):
    path = pack(tmp_path / "archive", "zip")
    monkeypatch.setattr(module, "MEMBER_LIMIT", 1000)
    lied = path.read_bytes().replace((4000).to_bytes(4, "little"), (40).to_bytes(4, "little"))
    path.write_bytes(lied)
    with pytest.raises(UserError, match=r"cannot be read|more than"):
        extract(path, {"data/a.jsonl": tmp_path / "x"}, "here")


def test_a_tar_that_never_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ARCHIVE_LIMIT", 3000)
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
