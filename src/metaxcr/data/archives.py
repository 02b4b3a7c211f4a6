"""Single files out of a zip or tar archive, without unpacking it."""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO

from metaxcr.errors import UserError

MEMBER_LIMIT = 8 << 30  # bytes of one member
ARCHIVE_LIMIT = 64 << 30  # bytes of a tar, unpacked: it is read until the members are found
CHUNK = 1 << 20
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


def extract(archive: Path, wanted: Mapping[str, Path], name: str) -> None:
    """Write members of an archive to files; names inside the archive never become paths.

    Args:
        archive: A zip or tar file; a tar may be compressed.
        wanted: Member -> the file to write.
        name: The archive's name in messages.

    Raises:
        UserError: It is no archive, is damaged, lacks a member, or a member is larger than any data set.
    """
    try:
        if zipfile.is_zipfile(archive):
            _extract_zip(archive, wanted, name)
        elif tarfile.is_tarfile(archive):
            _extract_tar(archive, wanted, name)
        else:
            raise UserError("the file is neither a zip nor a tar archive", name, "see the task's page")
    except BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the archive cannot be read: {reason}", name, "fetch again") from error


def _extract_zip(archive: Path, wanted: Mapping[str, Path], name: str) -> None:
    with zipfile.ZipFile(archive) as opened:
        entries = {entry.filename: entry for entry in opened.infolist() if not entry.is_dir()}
        for member, target in wanted.items():
            if member not in entries:
                raise _missing(member, entries, name)
            _check_size(member, entries[member].file_size, name)
            with opened.open(entries[member]) as stream:
                _copy(stream, target, member, name)


def _extract_tar(archive: Path, wanted: Mapping[str, Path], name: str) -> None:
    """Read up to the last wanted entry: a tar has no table of contents."""
    left, seen = dict(wanted), []
    with tarfile.open(archive) as opened:
        for entry in opened:
            if entry.offset_data + entry.size > ARCHIVE_LIMIT:
                raise UserError(f"the archive unpacks to more than {ARCHIVE_LIMIT} bytes", name)
            member = entry.name.removeprefix("./")
            seen.append(member)
            target = left.pop(member, None)
            if target is not None:
                stream = opened.extractfile(entry) if entry.isreg() else None  # a link may point anywhere
                if stream is None:
                    raise UserError(f"'{member}' in the archive is no plain file", name)
                _check_size(member, entry.size, name)
                with stream:
                    _copy(stream, target, member, name)
            if not left:
                return
    raise _missing(next(iter(left)), seen, name)


def _copy(stream: IO[bytes], target: Path, member: str, name: str) -> None:
    """Copy and count: a member may be larger than the archive says."""
    done = 0
    with target.open("wb") as file:
        while chunk := stream.read(CHUNK):
            done += len(chunk)
            _check_size(member, done, name)
            file.write(chunk)


def _check_size(member: str, size: int, name: str) -> None:
    if size > MEMBER_LIMIT:
        raise UserError(f"'{member}' unpacks to more than {MEMBER_LIMIT} bytes", name)


def _missing(member: str, entries: Collection[str], name: str) -> UserError:
    last = member.rsplit("/", 1)[-1]
    similar = [entry for entry in entries if entry.rsplit("/", 1)[-1] == last]
    found = f"it has '{similar[0]}'" if similar else f"it has {len(entries)} others"
    return UserError(f"there is no '{member}' in the archive", name, f"{found}; correct 'member'")
