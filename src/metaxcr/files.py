"""Files that are either whole or absent, what killed processes left of them, and failed writes as messages.

Whatever is written goes through a temporary name that says who writes it: ``.NAME.PID-MACHINE-NUMBER.tmp``. A
process that is killed leaves it behind; :func:`remove_leftovers` removes it at the next start.
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
from typing import Any, TextIO

from metaxcr.errors import UserError

STALE_SECONDS = 24 * 3600  # of this age a temporary file has no process any more, whatever the machine
_STARTED = time.time()
_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
_NUMBERS = itertools.count()
# Earlier versions named the process only, or nobody.
_TEMPORARY = re.compile(
    r"\.(?P<name>.+?)(?:\.(?P<pid>\d{1,9})(?:-(?P<machine>[0-9a-f]{8}))?(?:[-.]\w+)?)?\.(?P<kind>tmp|old)"
)


def user_cache() -> Path:
    """The package's folder under the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metaxcr"


def cache_folder() -> Path:
    """Where what can be computed again is kept: ``$METAXCR_CACHE``, or under the user's cache folder."""
    explicit = os.environ.get("METAXCR_CACHE")
    return Path(explicit) if explicit else user_cache()


def disk_is_full(error: BaseException) -> bool:
    """Whether a failed write means that the disk is full; safetensors says so only in its text."""
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)


def disk_error(error: Exception, path: Path) -> UserError:
    """Turn a failed write into a message; what was written before stays."""
    reason = "the disk is full" if disk_is_full(error) else str(error)
    return UserError(f"cannot write: {reason}", str(path), "make room, then continue with --resume")


def write_atomically(path: Path, text: str) -> None:
    """Write a text file through a temporary name, so that it is either whole or absent."""
    with atomic_writer(path) as stream:
        stream.write(text)


@contextmanager
def atomic_writer(path: Path) -> Iterator[TextIO]:
    """Open a text file for writing that appears, whole, when the block ends well, and not otherwise."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        yield stream


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to, which becomes ``path`` when the block ends well, and not otherwise."""
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


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file through a temporary name; see :func:`write_atomically`."""
    write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def temporary_path(path: Path) -> Path:
    """Name a file or folder beside ``path`` that is written, then renamed to it: a new one at each call."""
    return path.with_name(f".{path.name}.{os.getpid()}-{_MACHINE}-{next(_NUMBERS)}.tmp")


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """Make a folder in the system's own place for them, for as long as the block or the object lasts."""
    remove_leftovers(Path(tempfile.gettempdir()), "metaxcr")
    prefix = f".metaxcr.{os.getpid()}-{_MACHINE}-{next(_NUMBERS)}_"
    return tempfile.TemporaryDirectory(prefix=prefix, suffix=".tmp")


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove temporary files and folders of processes that are gone; whatever else is there stays.

    A process is gone when this machine has none of its number, or when its file is older than
    :data:`STALE_SECONDS`, or, of this process's own number, than this process. ``.NAME....old`` is what was
    moved out of the way of a new folder: where that has not come, it goes back.
    """
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            found = _TEMPORARY.fullmatch(entry.name)
            if found and name in (None, found["name"]) and _maker_is_gone(entry, found):
                _remove(Path(entry.path), found)
            elif name is None and not found and entry.is_dir(follow_symlinks=False):
                remove_leftovers(Path(entry.path))


def _maker_is_gone(entry: os.DirEntry[str], found: re.Match[str]) -> bool:
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
    try:
        os.kill(int(found["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # somebody else's process
        return False
    return False


def _remove(path: Path, found: re.Match[str]) -> None:
    with contextlib.suppress(OSError):
        if found["kind"] == "old" and not path.with_name(found["name"]).exists():
            os.rename(path, path.with_name(found["name"]))
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
