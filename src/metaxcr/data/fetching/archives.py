"""Single files out of an archive, without unpacking it."""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from metaxcr.errors import UserError

MEMBER_LIMIT = 8 << 30  # bytes of one member
ARCHIVE_LIMIT = 64 << 30  # bytes of a whole tar, unpacked: it is read until the members are found
CHUNK = 1 << 20
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


def extract(archive: Path, wanted: Mapping[str, Path], name: str) -> None:
    """Write members of an archive to files; names inside the archive never become paths.

    Args:
        archive: A zip or tar file; a tar may be compressed.
        wanted: Member -> the file to write.
        name: What messages call the archive.

    Raises:
        UserError: It is no archive, is broken, lacks a member, or a member is larger than any data set.
    """
    with _broken(name):
        if zipfile.is_zipfile(archive):
            _from_zip(archive, wanted, name)
        elif tarfile.is_tarfile(archive):
            _from_tar(archive, wanted, name)
        else:
            raise UserError("what came is neither a zip nor a tar archive", name, "see the task's page")


def _from_zip(archive: Path, wanted: Mapping[str, Path], name: str) -> None:
    with zipfile.ZipFile(archive) as opened:
        there = {entry.filename: entry for entry in opened.infolist() if not entry.is_dir()}
        for member, goal in wanted.items():
            if member not in there:
                raise _missing([member], there, name)
            _check_size(member, there[member].file_size, name)
            with opened.open(there[member]) as stream:
                _copy(stream, goal, member, name)


def _from_tar(archive: Path, wanted: Mapping[str, Path], name: str) -> None:
    """Read from the first entry to the last that is wanted: a tar has no table of contents."""
    left, seen = dict(wanted), []
    with tarfile.open(archive) as opened:
        for entry in opened:
            if entry.offset_data + entry.size > ARCHIVE_LIMIT:
                raise UserError(f"the archive unpacks to more than {ARCHIVE_LIMIT} bytes", name)
            seen.append(entry.name.removeprefix("./"))
            goal = left.pop(seen[-1], None)
            if goal is not None:
                stream = opened.extractfile(entry) if entry.isreg() else None  # a link may point anywhere
                if stream is None:
                    raise UserError(f"'{seen[-1]}' in the archive is no plain file", name)
                _check_size(seen[-1], entry.size, name)
                with stream:
                    _copy(stream, goal, seen[-1], name)
            if not left:
                return
    raise _missing(list(left), seen, name)


def _copy(stream: IO[bytes], goal: Path, member: str, name: str) -> None:
    """Copy what is really there, which may be more than the archive says."""
    done = 0
    with goal.open("wb") as file:
        while chunk := stream.read(CHUNK):
            done += len(chunk)
            _check_size(member, done, name)
            file.write(chunk)


def _check_size(member: str, size: int, name: str) -> None:
    if size > MEMBER_LIMIT:
        raise UserError(f"'{member}' unpacks to more than {MEMBER_LIMIT} bytes", name)


def _missing(members: list[str], there: Collection[str], name: str) -> UserError:
    last = members[0].rsplit("/", 1)[-1]
    near = [entry for entry in there if entry.rsplit("/", 1)[-1] == last]
    shown = f"it has '{near[0]}'" if near else f"it has {len(there)} others"
    return UserError(f"there is no '{members[0]}' in the archive", name, f"{shown}; mend 'member'")


@contextmanager
def _broken(name: str) -> Iterator[None]:
    """Turn what the archive libraries raise into a message."""
    try:
        yield
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the archive cannot be read: {reason}", name, "fetch again") from error
