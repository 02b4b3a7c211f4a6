"""Members out of archives, hostile ones included."""

import io
import tarfile
import zipfile

import pytest

from metaxcr.data import archives
from metaxcr.data.archives import extract
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
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 1000)
    with pytest.raises(UserError, match=r"'data/a.jsonl' unpacks to more than 1000"):
        extract(archive, {"data/a.jsonl": tmp_path / "x"}, "here")
    assert not (tmp_path / "x").exists()
    extract(archive, {"data/b.jsonl": tmp_path / "x"}, "here")


def test_a_zip_that_understates_a_member(tmp_path, monkeypatch):
    path = pack(tmp_path / "archive", "zip")
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 1000)
    lied = path.read_bytes().replace((4000).to_bytes(4, "little"), (40).to_bytes(4, "little"))
    path.write_bytes(lied)
    with pytest.raises(UserError, match=r"cannot be read|more than"):
        extract(path, {"data/a.jsonl": tmp_path / "x"}, "here")


def test_a_tar_that_never_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "ARCHIVE_LIMIT", 3000)
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
