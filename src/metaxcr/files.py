"""Files that are either whole or absent, and failed writes as messages."""

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from metaxcr.errors import UserError


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
    """Write a text file through a temporary name, so that it is either whole or absent.

    Raises:
        UserError: It cannot be written.
    """
    with atomic_writer(path) as stream:
        stream.write(text)


@contextmanager
def atomic_writer(path: Path) -> Iterator[TextIO]:
    """Open a text file for writing that appears, whole, when the block ends well, and not otherwise.

    Raises:
        UserError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream
        os.replace(temporary, path)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file through a temporary name; see :func:`write_atomically`."""
    write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
