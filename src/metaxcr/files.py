"""Atomic writes, temporary files and what killed processes left of them, and write errors as messages.

Temporary files have the name ``.NAME.PID-MACHINE-NUMBER.tmp``. A killed process leaves them behind;
:func:`remove_leftovers` removes them at the next start.
"""

import contextlib
import errno
import itertools
import json
import os
import platform
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from metaxcr.errors import UserError

if TYPE_CHECKING:
    from filelock import FileLock

STALE_SECONDS = 24 * 3600  # older temporary files are removed, whatever machine they are from
_STARTED = time.time()
_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
_NUMBERS = itertools.count()
# Earlier versions had the process only, or nothing.
_TEMPORARY = re.compile(
    r"\.(?P<name>.+?)(?:\.(?P<pid>\d{1,9})(?:-(?P<machine>[0-9a-f]{8}))?(?:[-.]\w+)?)?\.(?P<kind>tmp|old)"
)


def user_cache() -> Path:
    """The package's folder under the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metaxcr"


def cache_folder() -> Path:
    """Folder for what can be computed again: ``$METAXCR_CACHE``, or under the user's cache folder."""
    return Path(os.environ.get("METAXCR_CACHE") or user_cache())


def disk_is_full(error: BaseException) -> bool:
    """Whether a failed write means that the disk is full; safetensors says so only in its text."""
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)


def disk_error(
    error: Exception, path: Path, fix: str = "make room, then continue with --resume"
) -> UserError:
    """Turn a failed write into a message."""
    reason = "the disk is full" if disk_is_full(error) else str(error)
    return UserError(f"cannot write: {reason}", str(path), fix)


@contextmanager
def atomic_writer(path: Path) -> Iterator[TextIO]:
    """Open a text file for writing; it appears when the block ends without an error."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        yield stream


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path, which becomes ``path`` when the block ends without an error."""
    from safetensors import SafetensorError

    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        yield temporary
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise disk_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that is either complete or absent."""
    with atomic_writer(path) as stream:
        stream.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file; see :func:`write_atomically`."""
    write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def temporary_path(path: Path) -> Path:
    """A new name beside ``path``, for a file or folder that is then renamed to it."""
    return path.with_name(f".{path.name}.{_unique()}.tmp")


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """Make a folder in the system's temporary folder, as long as the block or the object lasts."""
    remove_leftovers(Path(tempfile.gettempdir()), "metaxcr")
    return tempfile.TemporaryDirectory(prefix=f".metaxcr.{_unique()}_", suffix=".tmp")


def _unique() -> str:
    return f"{os.getpid()}-{_MACHINE}-{next(_NUMBERS)}"


def lock_folder(folder: Path, message: str, name: str = ".lock") -> "FileLock":
    """Keep other processes out of a folder, which exists, until the lock is released or this process ends.

    Raises:
        UserError: With this message: another process has the lock.
        OSError: The lock file cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / name, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(message, str(folder), "wait for it, or stop it") from error
    return lock


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files and folders of ended processes; everything else stays.

    A process has ended if this machine has none of its number, or if its file is older than
    :data:`STALE_SECONDS` or, with this process's own number, older than this process. ``.NAME....old`` is a
    folder that was moved away for a new one: if the new one is missing, it is moved back. ``name`` limits
    this to leftovers of one file or folder; None is for folders of the package and includes inner folders.
    """
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            found = _TEMPORARY.fullmatch(entry.name)
            if found and name in (None, found["name"]) and _has_ended(entry, found):
                _remove(Path(entry.path), found)
            elif name is None and not found and entry.is_dir(follow_symlinks=False):
                remove_leftovers(Path(entry.path))


def _has_ended(entry: os.DirEntry[str], found: re.Match[str]) -> bool:
    try:
        made = entry.stat(follow_symlinks=False).st_mtime
    except OSError:  # removed meanwhile
        return False
    if time.time() - made > STALE_SECONDS:
        return True
    if found["pid"] is None or found["machine"] not in (None, _MACHINE):
        return False
    if int(found["pid"]) == os.getpid():  # in a container every process may have the same number
        return made < _STARTED
    with contextlib.suppress(OSError, OverflowError):  # another user's process
        try:
            os.kill(int(found["pid"]), 0)
        except ProcessLookupError:
            return True
    return False


def _remove(path: Path, found: re.Match[str]) -> None:
    with contextlib.suppress(OSError):
        if found["kind"] == "old" and not path.with_name(found["name"]).exists():
            os.rename(path, path.with_name(found["name"]))
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
