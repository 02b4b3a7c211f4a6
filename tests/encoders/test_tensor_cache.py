"""A folder of chunks: what is read is what was written, or nothing. More in the tests of its two users."""

import errno
import os
from pathlib import Path

import pytest
import torch

from metaxcr.encoders import tensor_cache
from metaxcr.encoders.tensor_cache import Chunk, ChunkFolder


def test_what_was_written_is_read(tmp_path: Path) -> None:
    folder = ChunkFolder("toy", tmp_path / "new", 10**6)
    path = folder.path("name")
    assert folder.read(path) is None
    folder.write(path, {"b": torch.arange(3), "a": torch.ones(2, 2, dtype=torch.bfloat16)}, {"said": "so"})
    chunk = folder.read(path)
    assert chunk is not None
    assert chunk.metadata == {"said": "so"}
    assert chunk.tensors["b"].tolist() == [0, 1, 2]
    assert chunk.tensors["a"].dtype == torch.bfloat16
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["name.safetensors"]


@pytest.mark.parametrize("error", [ValueError, KeyError])
def test_what_the_reader_refuses_counts_as_damaged(tmp_path: Path, error: type[Exception]) -> None:
    def refuse(chunk: Chunk) -> None:
        raise error("not mine")

    lines: list[str] = []
    folder = ChunkFolder("toy", tmp_path, 10**6, lines.append)
    folder.write(folder.path("name"), {"a": torch.zeros(1)}, {})
    assert folder.read(folder.path("name"), refuse) is None
    assert "toy cache: name.safetensors is damaged" in lines[0]
    assert not folder.files("*")  # it would be read again and again


def test_exchanged_tensors_are_damage(tmp_path: Path) -> None:
    """The checksum covers the values in the order of their names, as in files of earlier versions."""
    folder = ChunkFolder("toy", tmp_path, 10**6)
    path = folder.path("name")
    folder.write(path, {"first": torch.tensor([1.0]), "other": torch.tensor([2.0])}, {})
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data.replace(b"first", b"third").replace(b"other", b"fifth"))
    assert folder.read(path) is None


def test_a_part_is_read_without_the_rest(tmp_path: Path) -> None:
    """The reader's own check is all that looks at it, and it does not count as used."""
    lines: list[str] = []
    folder = ChunkFolder("toy", tmp_path, 10**6, lines.append)
    path = folder.path("inner/name")
    folder.write(path, {"list": torch.arange(3), "zvalues": torch.ones(1000)}, {"said": "so"})
    assert list(folder.files("inner/*")) == [path] and not folder.files("other/*")
    data = bytearray(path.read_bytes())
    data[-5] ^= 16
    path.unlink()
    path.write_bytes(data)
    os.utime(path, (1000, 1000))
    chunk = folder.read(path, only=("list",))
    assert chunk is not None and list(chunk.tensors) == ["list"] and chunk.metadata == {"said": "so"}
    assert path.stat().st_mtime == 1000 and not lines
    assert folder.read(path) is None and len(lines) == 1


def test_an_error_that_may_pass_deletes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    lines: list[str] = []
    folder = ChunkFolder("toy", tmp_path, 10**6, lines.append)
    folder.write(folder.path("name"), {"a": torch.zeros(1)}, {})
    monkeypatch.setattr(tensor_cache, "safe_open", fail)
    assert folder.read(folder.path("name")) is None and len(lines) == 1
    monkeypatch.undo()
    assert folder.read(folder.path("name")) is not None


def test_a_chunk_that_goes_while_it_is_opened_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    folder = ChunkFolder("toy", tmp_path, 10**6, lines.append)
    path = folder.path("name")
    folder.write(path, {"a": torch.zeros(1)}, {})

    def gone(*args: object, **options: object) -> None:
        path.unlink()
        raise RuntimeError("unable to open file: No such file or directory (2)")

    monkeypatch.setattr(tensor_cache, "safe_open", gone)
    assert folder.read(path) is None and not lines
